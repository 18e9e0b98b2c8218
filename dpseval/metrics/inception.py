"""The Inception network behind FID and KID: the TensorFlow one of December 2015, with its published weights.

Batch normalisation is folded into the convolutions and the images lie channel by channel in memory on the CPU, which
runs about a third faster than the published form and moves features by about 1e-6 of their size.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dpsdata import weights
from dpsdata.contracts import UsageError
from dpsdata.images.arrays import photos_to_planes
from dpsdata.runtime.device import choose_device
from dpsdata.weights.known.inception import (
    BLOCKS,
    FEATURE_COUNT,
    INCEPTION,
    NORM_EPSILON,
    STEM,
    Conv,
    Step,
    check_inception_state,
    hash_state,
    named_convs,
)
from dpsdata.weights.reading import read_state
from dpseval.metrics.names import check_prep

INPUT_SIZE_PX = 299


def prepare(photos: npt.NDArray[Any], prep: str, device: str | torch.device = "cpu") -> Tensor:
    """Resize and scale photos for `FidInception`, as one of four tools does it.

    | name           | resize to 299 x 299                                    | scale              |
    |----------------|--------------------------------------------------------|--------------------|
    | pytorch-fid    | bilinear, half-pixel centres, no antialiasing          | 2 (x / 255) - 1    |
    | torch-fidelity | bilinear as TensorFlow 1: corner-aligned, no antialias | (x - 128) / 128    |
    | torchmetrics   | bilinear with antialiasing (its default since 1.9)     | (x - 128) / 128    |
    | clean          | bicubic with antialiasing, clipped to 0..255           | (x - 128) / 128    |

    Two of them set the same photos as far apart as a method and the truth are.

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
    pixels = photos_to_planes(photos, device).contiguous()
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


def _module_key(name: str) -> str:
    return name.replace(".", "/")  # a ModuleDict takes no dots


class FidInception(nn.Module):
    """The network up to its last average pool; without weights until `load_inception` fills them in.

    Attributes:
        name: `inception-fid`.
        weights_id: SHA-256 of the tensors, for cache keys and `run.json`; empty without weights.
        dtype: `float32`, for cache keys.
    """

    name = INCEPTION
    dtype = "float32"

    def __init__(self) -> None:
        super().__init__()
        self.weights_id = ""
        # Random values would be overwritten, and take longer to draw than the weights take to load.
        with torch.device("meta"):
            convs = {
                _module_key(name): nn.Conv2d(
                    conv.before, conv.after, conv.kernel, stride=conv.stride, padding=conv.padding
                )
                for name, conv in named_convs()
            }
        self.convs = nn.ModuleDict(convs).to_empty(device="cpu")
        self.requires_grad_(False)
        self.eval()

    def load_published(self, state: Mapping[str, Any], label: str = "state dict") -> None:
        """Take the published weights in, batch normalisation folded into the convolutions (in float64).

        Args:
            state: the state dict of pytorch-fid or torch-fidelity.
            label: what to call it in messages.

        Raises:
            MissingError: another network, or tensors that are missing, misshapen or not finite.
        """
        tensors = check_inception_state(state, label)
        folded: dict[str, Tensor] = {}
        for name, _ in named_convs():
            mean, variance, gain, bias = (
                tensors[f"{name}.bn.{part}"].double() for part in ("running_mean", "running_var", "weight", "bias")
            )
            scale = gain / torch.sqrt(variance + NORM_EPSILON)
            key = f"convs.{_module_key(name)}"
            folded[f"{key}.weight"] = tensors[f"{name}.conv.weight"].double() * scale[:, None, None, None]
            folded[f"{key}.bias"] = bias - mean * scale
        self.load_state_dict(folded)
        self.weights_id = hash_state(tensors)

    def forward(self, prepared: Tensor) -> Tensor:
        """Features of prepared images.

        Args:
            prepared: (N, 3, 299, 299) float32, as `prepare` gives them.

        Returns:
            (N, 2048) float32.

        Raises:
            UsageError: another shape.
        """
        if prepared.ndim != 4 or tuple(prepared.shape[1:]) != (3, INPUT_SIZE_PX, INPUT_SIZE_PX):
            raise UsageError(f"inception: expected (N, 3, 299, 299), got {tuple(prepared.shape)}")
        x = prepared
        if x.device.type == "cpu":
            x = x.contiguous(memory_format=torch.channels_last)
        x = self._run(STEM, "", x)
        for block, paths in BLOCKS.items():
            x = torch.cat([self._run(path, f"{block}/", x) for path in paths], dim=1)
        return x.mean(dim=(2, 3))

    def _run(self, steps: tuple[Step, ...], prefix: str, x: Tensor) -> Tensor:
        for step in steps:
            if isinstance(step, Conv):
                x = F.relu(self.convs[prefix + step.name](x), inplace=True)
            elif isinstance(step, tuple):
                x = torch.cat([F.relu(self.convs[prefix + conv.name](x), inplace=True) for conv in step], dim=1)
            elif step == "average":
                x = F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
            elif step == "maximum":
                x = F.max_pool2d(x, 3, stride=1, padding=1)
            else:
                x = F.max_pool2d(x, 3, stride=2)
        return x

    def extract(self, photos: npt.NDArray[Any], prep: str, batch_size: int = 8) -> npt.NDArray[np.float32]:
        """Features of photos, in batches, without gradients and without TF32.

        Args:
            photos: (N, H, W, 3) uint8 RGB.
            prep: one of `dpseval.metrics.inception.PREPS`.
            batch_size: images at a time.

        Returns:
            (N, 2048) float32.
        """
        device = next(self.parameters()).device
        rows = np.empty((len(photos), FEATURE_COUNT), dtype=np.float32)
        # TF32 keeps 10 bits of a product: CPU and GPU features under one cache key would differ by 1e-3.
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            for start in range(0, len(photos), batch_size):
                batch = prepare(photos[start : start + batch_size], prep, device)
                rows[start : start + batch_size] = self(batch).cpu().numpy()
        return rows


def load_inception(
    source: str | os.PathLike[str] | Mapping[str, Any] = INCEPTION, *, device: str = "cpu"
) -> FidInception:
    """Load the FID network.

    Args:
        source: `inception-fid` (what `dps weights get` or `import` installed, hash checked), the path of a file, or
            the published state dict.
        device: `auto`, `cpu`, `cuda`, `cuda:N`.

    Raises:
        MissingError: not installed (names the command that gets it), damaged, or another network.
        UsageError: unknown device.
    """
    target = choose_device(device)
    network = FidInception()
    if isinstance(source, Mapping):
        network.load_published(source)
    else:
        path = weights.weights_path(INCEPTION) if source == INCEPTION else Path(source)
        network.load_published(read_state(path)[0], str(path))
    if target.type == "cpu":
        network = network.to(memory_format=torch.channels_last)
    return network.to(target)
