"""The one place where contract tensors become what the published networks read, and back.

| what   | contract           | published                                  |
|--------|--------------------|--------------------------------------------|
| sketch | line 1, paper 0    | line -1, paper +1, three channels          |
| mask   | hole 1, known 0    | hole +1, known -1                          |
| photo  | RGB in [-1, 1]     | the same                                   |
| filler |                    | 0 (mid grey): sketch outside, photo inside |
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

_SPECKLED_PX = 64
_MIN_WEIGHT = 1e-7  # less is lost beside -1 in float32


def resize(images: Tensor, size: int) -> Tensor:
    """(N, C, H, W) images or sketches at `size` px: bilinear with aligned corners and no antialiasing, as published."""
    if images.shape[-2:] == (size, size):
        return images
    return F.interpolate(images, size=(size, size), mode="bilinear", align_corners=True)


def shrink_mask(mask: Tensor, size: int) -> Tensor:
    """A (N, 1, H, W) mask at `size` px, where a pixel that the hole touches at all is hole; still 0 and 1 only.

    At 64 px and below some fixed pixels are hole wherever the hole lies, see `_rounding_specks`.

    Source: VITA-Group/DeepPS@3079d46 src/models.py and utils.py; measured on the reference arrays.
    """
    if mask.shape[-2:] == (size, size):
        return mask
    touched = resize(mask, size) > _MIN_WEIGHT
    if size <= _SPECKLED_PX:
        touched = touched | _rounding_specks(mask.shape[-2], mask.shape[-1], size, mask.device)
    return touched.to(mask.dtype)


@lru_cache(maxsize=32)
def _rounding_specks(height: int, width: int, size: int, device: torch.device) -> Tensor:
    """Pixels whose four float32 interpolation weights add up to less than 1, (size, size) bool.

    The published test is "greater than -1" on a mask of -1 and +1. PyTorch on a CPU adds four weighted neighbours at
    64 px and below, and where the weights round down, four known pixels (-1) give -0.99999994: hole. 42 of 4096
    pixels are so at 64 px, the reference networks have seen them, and results without them differ visibly. They are
    worked out here, so that every device and PyTorch version has the same ones.
    """
    low_y, high_y = _interpolation_weights(height, size)
    low_x, high_x = _interpolation_weights(width, size)
    total = np.outer(low_y, low_x) + np.outer(low_y, high_x)
    total = total + np.outer(high_y, low_x)
    total = total + np.outer(high_y, high_x)
    return torch.from_numpy(total < 1).to(device)


def _interpolation_weights(length: int, size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    positions = np.float32(length - 1) / np.float32(size - 1) * np.arange(size, dtype=np.float32)
    high = (positions - np.floor(positions)).astype(np.float32)
    return (np.float32(1) - high).astype(np.float32), high


def network_input(sketch: Tensor, photo: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
    """What G and F read at one resolution.

    Args:
        sketch: (N, 1, S, S) in [0, 1], line = 1.
        photo: (N, 3, S, S) RGB in [-1, 1]; None for synthesis.
        mask: (N, 1, S, S) in {0, 1}, hole = 1; None for synthesis.

    Returns:
        (N, 3, S, S), or with photo and mask (N, 7, S, S): sketch x3 in the hole, photo around it, mask.

    Source: VITA-Group/DeepPS@3079d46 src/models.py and utils.py.
    """
    lines = _published_sketch(sketch, mask)
    if photo is None or mask is None:
        return lines
    return torch.cat([lines, photo * (1 - mask), _published_mask(mask)], dim=1)


def refiner_inputs(
    sketch: Tensor, photo: Tensor | None, mask: Tensor | None, resolutions: Sequence[int]
) -> dict[int, Tensor]:
    """What G reads at each resolution, all from full-size tensors; arguments as in `network_input`.

    Sketch and photo are made smaller first and masked then, so nothing bleeds over the rim of the hole.
    """
    inputs = {}
    for size in resolutions:
        small_photo = None if photo is None else resize(photo, size)
        small_mask = None if mask is None else shrink_mask(mask, size)
        inputs[size] = network_input(resize(sketch, size), small_photo, small_mask)
    return inputs


def discriminator_input(sketch: Tensor, photo: Tensor, mask: Tensor | None = None) -> Tensor:
    """What D reads: (N, 6, S, S), or with a mask (N, 7, S, S).

    Args:
        sketch: (N, 1, S, S) in [0, 1], line = 1.
        photo: (N, 3, S, S) RGB in [-1, 1], the full frame, not composited.
        mask: (N, 1, S, S) in {0, 1}, hole = 1; None for synthesis.
    """
    lines = _published_sketch(sketch, mask)
    return torch.cat([lines, photo] if mask is None else [lines, photo, _published_mask(mask)], dim=1)


def split_output(output: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Refined sketch and photo from one output of G.

    Args:
        output: (N, 4, S, S) as G gives it.
        mask: (N, 1, S, S) in {0, 1}, hole = 1; None for synthesis.

    Returns:
        (N, 1, S, S) in [0, 1], line = 1, 0 outside of the hole; and (N, 3, S, S) RGB in [-1, 1].
    """
    sketch = (1 - output[:, :1]) / 2
    return sketch if mask is None else sketch * mask, output[:, 1:]


def _published_sketch(sketch: Tensor, mask: Tensor | None) -> Tensor:
    lines = 1 - 2 * sketch
    return (lines if mask is None else lines * mask).expand(-1, 3, -1, -1)


def _published_mask(mask: Tensor) -> Tensor:
    return 2 * mask - 1
