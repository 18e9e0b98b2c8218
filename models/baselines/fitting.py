"""Photo, sketch and mask brought to the size that a network runs at, and its photo brought back."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dpsdata.sketch.thin import thin_lines

# Of the known part under a pixel of a resampled photo: less than this is never all that a known pixel reads.
_LEAST_KNOWN = 0.25


def round_up(length: int, multiple: int) -> int:
    """The next multiple that is not shorter."""
    return -(-length // multiple) * multiple


def fit_edit(photo: Tensor, sketch: Tensor, mask: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Bring the inputs of an edit to another size; at that size already, they are returned as they are.

    The photo is resampled by a bicubic filter over its known pixels alone, so that nothing of the hole leaks out. A
    pixel is hole, or line, where it touches one at all; lines are then thinned to one pixel.

    Args:
        photo: (N, 3, H, W) in [-1, 1].
        sketch: (N, 1, H, W) in [0, 1].
        mask: (N, 1, H, W) in {0, 1}, hole = 1.
        size: height and width, px.

    Returns:
        The three at the new size; the sketch in {0, 1}.
    """
    if tuple(photo.shape[2:]) == size:
        return photo, sketch, mask
    known = 1 - mask
    weight = _resample(known, size).clamp_min(_LEAST_KNOWN)
    fitted = (_resample(photo * known, size) / weight).clamp(-1, 1)
    lines = F.adaptive_max_pool2d((sketch > 0.5).float(), size).cpu().numpy().astype(np.uint8)
    thin = np.stack([thin_lines(np.ascontiguousarray(plane[0]))[None] for plane in lines])
    return fitted, torch.from_numpy(thin).to(sketch), F.adaptive_max_pool2d(mask, size)


def fit_photo(photo: Tensor, size: tuple[int, int]) -> Tensor:
    """Resample (N, 3, H, W) in [-1, 1] by a bicubic filter; at that size already, it is returned as it is."""
    return photo if tuple(photo.shape[2:]) == size else _resample(photo, size).clamp(-1, 1)


def _resample(photo: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(photo, size, mode="bicubic", align_corners=False, antialias=True)
