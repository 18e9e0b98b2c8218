"""Pasting that does not show: colours carried over from the rim of the hole, and grain like the photo's own."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
Marks = NDArray[np.bool_]

# The membrane is smooth, so its finest levels want few.
_SWEEPS, _FEWER_SWEEPS, _MANY_PX = 24, 8, 2**18
_MIN_PX = 4
_NEIGHBOURS = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.float32)
# Octaves of the grain, as widths of Gaussians in px: what lies between two of them. What is wider is the picture.
_GRAIN_WIDTHS = (0.0, 0.7, 1.4)
_MAX_GRAIN = 8.0
# A little less than the ring has, since there are hairs and folds in it.
_GRAIN_SHARE = 0.93
_MIN_SAMPLES, _MAX_SAMPLES = 64, 2**16


def carry_rim(painted: Plane, photo: Plane, inside: Marks) -> Plane:
    """Poisson blending: the painted gradients, and the photo's colours along the rim.

    What is added to the painting is the membrane that is the photo minus the painting on the rim: smooth within (its
    Laplacian is 0), free where the hole meets the border of the picture. OpenCV's `seamlessClone` solves a rectangle
    in place of the hole and erodes it by 3 px, so a seam stays where pixels outside may not change. The gradient
    across the rim counts half: networks paint steps there, above all in small photos.

    Args:
        painted: float32 (H, W, 3) grey levels, beside the hole too.
        photo: float32 (H, W, 3).
        inside: (H, W), the hole.

    Returns:
        float32 (H, W, 3), to be read inside alone.

    Source: Perez et al., Poisson image editing, SIGGRAPH 2003, equation 7; the pyramid as in cascadic multigrid.
    """
    rim = (cv2.dilate(inside.astype(np.uint8), _NEIGHBOURS.astype(np.uint8)) == 1) & ~inside
    if not rim.any():
        return painted
    held = np.where(inside[..., None], painted, np.float32(0))
    near = _sum_neighbours(held) / np.maximum(_sum_neighbours(inside.astype(np.float32)), 1)[..., None]
    return painted + _membrane((photo - (painted + near) / 2).astype(np.float32), rim, inside)


def _membrane(values: Plane, known: Marks, inside: Marks) -> Plane:
    height, width = inside.shape
    if min(height, width) <= _MIN_PX or not inside.any():
        field = np.broadcast_to(values[known].mean(axis=0), values.shape)
    else:
        pad = ((0, height % 2), (0, width % 2))
        share = _halve(np.pad(known.astype(np.float32), pad))
        coarse = _halve(np.pad(np.where(known[..., None], values, np.float32(0)), (*pad, (0, 0))))
        coarse /= np.maximum(share, np.float32(0.25))[..., None]
        is_inside = (_halve(np.pad(inside.astype(np.float32), pad)) > 0) & (share == 0)
        field = _membrane(coarse, share > 0, is_inside).repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
    field = np.where(known[..., None], values, np.where(inside[..., None], field, np.float32(0))).astype(np.float32)
    around = _sum_neighbours((known | inside).astype(np.float32))
    gain = np.where(inside, 1 / np.maximum(around, 1), np.float32(0)).astype(np.float32)[..., None]
    kept = np.where(known[..., None], values, np.float32(0))
    for _ in range(_SWEEPS if inside.size <= _MANY_PX else _FEWER_SWEEPS):
        field = _sum_neighbours(field) * gain + kept
    return field


def _sum_neighbours(plane: Plane) -> Plane:
    return np.asarray(cv2.filter2D(plane, -1, _NEIGHBOURS, borderType=cv2.BORDER_CONSTANT), np.float32)


def _halve(plane: Plane) -> Plane:
    return np.asarray(cv2.resize(plane, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.float32)


def add_grain(blended: Plane, photo: NDArray[np.uint8], inside: Marks, top: int, left: int) -> Plane:
    """Add what the hole lacks of the fine noise around it, octave by octave, the same in all channels.

    How much is wanted is read block by block along the rim and carried into the hole, so that skin beside a knitted
    collar stays skin; nowhere is it more than the median of the whole ring.

    Args:
        blended: float32 (h, w, 3) grey levels, of the region around the hole.
        photo: uint8 (H, W, 3), all of it.
        inside: (h, w), the hole.
        top: of the region, px.
        left: of the region, px.

    Returns:
        float32 (h, w, 3); grain lies still at its place in the photo, whatever the hole is.
    """
    (height, width), size = inside.shape, float(np.sqrt(inside.sum()))
    reach, block = int(max(8, 0.25 * size)), int(max(8, 0.1 * size))
    rows, columns = (
        slice(max(0, top - reach), top + height + reach),
        slice(max(0, left - reach), left + width + reach),
    )
    around = _grey(photo[rows, columns])
    spot = (
        slice(top - rows.start, top - rows.start + height),
        slice(left - columns.start, left - columns.start + width),
    )
    hole, mixed = np.zeros(around.shape, np.uint8), around.copy()
    hole[spot] = inside
    mixed[spot] = np.where(inside, _grey(blended), around[spot])
    kernel = np.ones((3, 3), np.uint8)
    # A pixel's octaves reach 4 px far, and those at the rim would read the step there.
    beside = cv2.dilate(hole, kernel, iterations=reach) - cv2.dilate(hole, kernel, iterations=4) == 1
    within = cv2.erode(hole, kernel, iterations=4) == 1
    if beside.sum() < _MIN_SAMPLES:
        return blended
    within = within if within.sum() >= _MIN_SAMPLES else hole == 1
    wanted, held = _octaves(around), _octaves(mixed)
    most = np.array([_spread(octave[beside]) for octave in wanted], np.float32)
    lack = (_GRAIN_SHARE * np.minimum(_spread_map(wanted, beside, block), most)) ** 2
    amount = np.minimum(np.sqrt(np.maximum(lack - _spread_map(held, within, block) ** 2, 0)), _MAX_GRAIN)
    noise = _octaves(_noise(rows.start, columns.start, *around.shape))
    grain = sum(octave * amount[..., at] / max(float(octave.std()), 1e-6) for at, octave in enumerate(noise))
    return blended + np.where(inside, np.asarray(grain)[spot], np.float32(0))[..., None]


def _spread_map(octaves: list[Plane], where: Marks, block: int) -> Plane:
    """Spread of each octave in blocks, carried over blocks that have too few pixels: (H, W, octaves)."""
    height, width = where.shape
    shape = -(-height // block), -(-width // block)
    values, known = np.zeros((*shape, len(octaves)), np.float32), np.zeros(shape, np.bool_)
    for y, x in np.ndindex(shape):
        part = slice(y * block, (y + 1) * block), slice(x * block, (x + 1) * block)
        chosen = where[part]
        known[y, x] = chosen.sum() >= _MIN_SAMPLES
        values[y, x] = [_spread(octave[part][chosen]) if known[y, x] else 0 for octave in octaves]
    if not known.any():
        return np.broadcast_to(
            np.array([_spread(octave[where]) for octave in octaves], np.float32), (height, width, len(octaves))
        )
    field = _membrane(values, known, ~known)
    whole = (shape[1] * block, shape[0] * block)
    return np.asarray(cv2.resize(field, whole, interpolation=cv2.INTER_LINEAR)[:height, :width], np.float32)


def grain_of(grey: Plane, where: Marks) -> float:
    """Spread of the finest octaves of (H, W) grey levels at some pixels, whatever lines and shades there are."""
    return _spread(sum(_octaves(grey))[where])  # type: ignore[index]


def _octaves(plane: Plane) -> list[Plane]:
    levels = [plane if not width else cv2.GaussianBlur(plane, (0, 0), width) for width in _GRAIN_WIDTHS]
    return [np.asarray(fine - wide, np.float32) for fine, wide in pairwise(levels)]


def _spread(values: Plane) -> float:
    """Standard deviation by the median, which edges do not move."""
    values = values[:: max(1, values.size // _MAX_SAMPLES)]
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def _grey(rgb: NDArray[np.uint8] | Plane) -> Plane:
    return np.asarray(cv2.cvtColor(rgb.astype(np.float32), cv2.COLOR_RGB2GRAY), np.float32)


def _noise(top: int, left: int, height: int, width: int) -> Plane:
    """Nearly normal numbers by the place of a pixel in the photo: sums of hashed integers, the same on any machine."""
    y, x = np.arange(top, top + height, dtype=np.uint32)[:, None], np.arange(left, left + width, dtype=np.uint32)
    total = np.zeros((height, width), np.float32)
    for turn in range(4):
        mixed = (x * np.uint32(0x9E3779B1)) ^ (y * np.uint32(0x85EBCA77)) ^ np.uint32((turn * 0xC2B2AE3D) % 2**32)
        for multiplier in (0x7FEB352D, 0x846CA68B):
            mixed = (mixed ^ (mixed >> np.uint32(16))) * np.uint32(multiplier)
        total += (mixed ^ (mixed >> np.uint32(15))).astype(np.float32) / np.float32(2**32)
    return total - 2
