"""Photo, sketch and mask brought to the size that a network runs at, and its photo brought back."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dpsdata.sketch import smooth_sketch
from dpsdata.sketch.simplify import thin_lines

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
    fitted = _resample_known(photo, mask, size, "bicubic")
    lines = F.adaptive_max_pool2d((sketch > 0.5).float(), size).cpu().numpy().astype(np.uint8)
    thin = np.stack([thin_lines(np.ascontiguousarray(plane[0]))[None] for plane in lines])
    return fitted, torch.from_numpy(thin).to(sketch), F.adaptive_max_pool2d(mask, size)


def draw_lines(sketch: Tensor, soft: bool, threshold: float) -> Tensor:
    """Draw one-pixel lines as a network was trained on them.

    Args:
        sketch: (N, 1, H, W) in [0, 1].
        soft: by `smooth_sketch`, as our trainings do it.
        threshold: what a line is over otherwise, as published.
    """
    return smooth_sketch(sketch) if soft else (sketch > threshold).float()


def enlarge_edit(photo: Tensor, lines: Tensor, mask: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Enlarge as our trainings do it: bilinear, the mask by nearest neighbour; nothing of the hole leaks out.

    Args:
        photo: (N, 3, H, W) in [-1, 1].
        lines: (N, 1, H, W) in [0, 1], drawn already.
        mask: (N, 1, H, W) in {0, 1}, hole = 1.
        size: height and width, px; at that size already, all are returned as they are.
    """
    if tuple(photo.shape[2:]) == size:
        return photo, lines, mask
    grown = F.interpolate(lines, size, mode="bilinear", align_corners=False)
    return _resample_known(photo, mask, size, "bilinear"), grown, F.interpolate(mask, size, mode="nearest")


def fit_photo(photo: Tensor, size: tuple[int, int]) -> Tensor:
    """Resample (N, 3, H, W) in [-1, 1] by a bicubic filter; at that size already, it is returned as it is."""
    return photo if tuple(photo.shape[2:]) == size else _resample(photo, size).clamp(-1, 1)


def fit_plane(plane: Tensor, size: tuple[int, int]) -> Tensor:
    """The same for (N, 1, H, W) in [0, 1], such as a refined sketch."""
    return plane if tuple(plane.shape[2:]) == size else _resample(plane, size).clamp(0, 1)


def _resample_known(photo: Tensor, mask: Tensor, size: tuple[int, int], mode: Literal["bicubic", "bilinear"]) -> Tensor:
    known = 1 - mask
    weight = _resample(known, size, mode).clamp_min(_LEAST_KNOWN)
    return (_resample(photo * known, size, mode) / weight).clamp(-1, 1)


def _resample(photo: Tensor, size: tuple[int, int], mode: Literal["bicubic", "bilinear"] = "bicubic") -> Tensor:
    return F.interpolate(photo, size, mode=mode, align_corners=False, antialias=True)
