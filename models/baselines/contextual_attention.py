"""Contextual attention: the hole borrows patches from the known part, chosen by what surrounds them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from dpsdata.contracts import UsageError
from models.baselines.tensorflow.operators import resize_nearest

_RATE = 2
_KEY_PX = 3
_VALUE_PX = 2 * _RATE
_SHARPNESS = 10.0
_MIN_NORM = 1e-4
# A 512 px sample has 2^24 scores; about three maps of this many floats are alive at once, 0.4 GB.
_SCORES_AT_ONCE = 2**25


def attend(features: Tensor, mask: Tensor, fuse: bool = True) -> Tensor:
    """Rebuild feature maps from patches of their known part.

    The published code takes the mask of the first sample for the whole batch; here each sample has its own.

    Args:
        features: (N, C, H, W), H and W even; query, key and value in one.
        mask: (N, 1, H', W') or (1, 1, H', W') float32 in {0, 1}, hole = 1, of the photo or of the feature maps' size.
        fuse: whether scores are summed along both diagonals, so that neighbours borrow from neighbours.

    Returns:
        (N, C, H, W).

    Raises:
        UsageError: a size is odd, or the masks are neither one nor one for each sample.

    Source: baselines.md section 2.6 and traps 6 to 8 of section 0.
    """
    count, _, height, width = features.shape
    if height % 2 or width % 2:
        raise UsageError(f"features: expected an even height and width for attention, got {height} x {width}")
    if mask.shape[0] not in (1, count):
        raise UsageError(f"mask: expected 1 or {count} of them for attention, got {mask.shape[0]}")
    valid = _find_valid_keys(mask, height, width).expand(count, -1, -1)
    group = max(1, _SCORES_AT_ONCE // valid.shape[2] ** 2)
    parts = [
        _attend_group(some, known, fuse)
        for some, known in zip(torch.split(features, group), torch.split(valid, group), strict=True)
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _find_valid_keys(mask: Tensor, height: int, width: int) -> Tensor:
    """(N, 1, L): 1 where the 3x3 patch around a key holds no hole; what lies beyond the border counts as known."""
    # In two steps, since one step from the photo's size picks other pixels.
    coarse = resize_nearest(resize_nearest(mask, height, width), height // _RATE, width // _RATE)
    return (F.max_pool2d(coarse, _KEY_PX, stride=1, padding=1) == 0).to(mask.dtype).flatten(2)


def _attend_group(features: Tensor, valid: Tensor, fuse: bool) -> Tensor:
    height, width = features.shape[2] // _RATE, features.shape[3] // _RATE
    queries = F.unfold(resize_nearest(features, height, width), _KEY_PX, padding=1)
    norms = torch.linalg.vector_norm(queries, dim=1, keepdim=True).clamp_min(_MIN_NORM)
    scores = queries.transpose(1, 2) @ (queries / norms)
    values = F.unfold(features, _VALUE_PX, stride=_RATE, padding=_RATE // 2)
    if fuse:
        # The second sum runs column by column. Keys and queries stay in that order up to the small output.
        scores = _sum_diagonals(_by_columns(_sum_diagonals(scores), height, width))
        valid = _transpose_plane(valid, height, width)
        values = _transpose_plane(values, height, width)
    weights = torch.softmax(scores * (valid * _SHARPNESS), dim=2) * valid
    patches = (weights @ values.transpose(1, 2)).transpose(1, 2)
    if fuse:
        patches = _transpose_plane(patches, width, height)
    size = (features.shape[2], features.shape[3])
    return F.fold(patches, size, _VALUE_PX, stride=_RATE, padding=_RATE // 2) / 4.0


def _sum_diagonals(scores: Tensor) -> Tensor:
    """Add to each (query, key) its neighbours on the diagonal; line ends wrap, as published."""
    total = scores.clone()
    total[:, 1:, 1:] += scores[:, :-1, :-1]
    total[:, :-1, :-1] += scores[:, 1:, 1:]
    return total


def _by_columns(scores: Tensor, height: int, width: int) -> Tensor:
    """(N, L, L) with both axes row by row to the same column by column."""
    grid = scores.view(-1, height, width, height, width)
    return grid.permute(0, 2, 1, 4, 3).reshape(scores.shape)


def _transpose_plane(rows: Tensor, height: int, width: int) -> Tensor:
    """(N, C, L) of a height x width plane to that of its transpose."""
    return rows.reshape(*rows.shape[:2], height, width).transpose(2, 3).flatten(2)
