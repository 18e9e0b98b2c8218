"""How photos become the input of the FID network: four published ways, each equal to its tool's.

| name           | resize to 299 x 299                                    | scale              |
|----------------|--------------------------------------------------------|--------------------|
| pytorch-fid    | bilinear, half-pixel centres, no antialiasing          | 2 (x / 255) - 1    |
| torch-fidelity | bilinear as TensorFlow 1: corner-aligned, no antialias | (x - 128) / 128    |
| torchmetrics   | bilinear with antialiasing (its default since 1.9)     | (x - 128) / 128    |
| clean          | bicubic with antialiasing, clipped to 0..255           | (x - 128) / 128    |

The same photos under two of them are as far apart as a method and the truth, so that a number without the name of
its preprocessing says nothing.

Source: evaluation.md, section 2; pytorch-fid `fid_score.py` and `inception.py`; torch-fidelity
`interpolate_compat_tensorflow.py`; torchmetrics `image/fid.py`; clean-fid `resize.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from dpsdata.contracts import UsageError
from dpseval.metrics.prep_names import check_prep

INPUT_SIZE_PX = 299


def prepare(photos: npt.NDArray[Any], prep: str, device: str | torch.device = "cpu") -> Tensor:
    """Resize and scale photos for `FidInception`.

    Args:
        photos: (N, H, W, 3) uint8 RGB.
        prep: one of `PREPS`.
        device: where to compute.

    Returns:
        (N, 3, 299, 299) float32 in about [-1, 1].

    Raises:
        UsageError: another shape or dtype, or an unknown preprocessing.
    """
    check_prep(prep)
    if photos.dtype != np.uint8 or photos.ndim != 4 or photos.shape[3] != 3 or photos.size == 0:
        raise UsageError(f"photos: expected uint8 (N, H, W, 3), got {photos.dtype} {photos.shape}")
    pixels = torch.from_numpy(np.ascontiguousarray(photos)).to(device).permute(0, 3, 1, 2).float().contiguous()
    size = (INPUT_SIZE_PX, INPUT_SIZE_PX)
    if prep == "pytorch-fid":
        return 2 * F.interpolate(pixels / 255, size=size, mode="bilinear", align_corners=False) - 1
    if prep == "torch-fidelity":
        resized = _resize_like_tensorflow_1(pixels)
    elif prep == "torchmetrics":
        resized = F.interpolate(pixels, size=size, mode="bilinear", align_corners=False, antialias=True)
    else:
        resized = F.interpolate(pixels, size=size, mode="bicubic", align_corners=False, antialias=True).clamp(0, 255)
    return (resized - 128) / 128


def _resize_like_tensorflow_1(pixels: Tensor) -> Tensor:
    """Bilinear with pixel i of the output at i * (size in / size out): the corners meet, the centres do not."""
    for axis in (3, 2):  # columns first, as the original does: the order shows in the last bit
        size = pixels.shape[axis]
        place = torch.arange(INPUT_SIZE_PX, dtype=torch.float32) * torch.tensor(size / INPUT_SIZE_PX)
        low = place.long().clamp_max(size - 1)
        weight = (place - low).view((-1, 1) if axis == 2 else (-1,)).to(pixels.device)
        low = low.to(pixels.device)
        before, after = pixels.index_select(axis, low), pixels.index_select(axis, (low + 1).clamp_max(size - 1))
        pixels = before + (after - before) * weight
    return pixels
