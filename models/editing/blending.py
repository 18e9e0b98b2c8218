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
_MIN_SAMPLES, _MAX_SAMPLES = 64, 2**16


def carry_rim(painted: Plane, photo: Plane, inside: Marks) -> Plane:
    """Poisson blending: the painted gradients, and the photo's colours along the rim.

    What is added to the painting is the membrane that is the photo minus the painting on the rim: smooth within (its
    Laplacian is 0), free where the hole meets the border of the picture. OpenCV's `seamlessClone` solves a rectangle
    in place of the hole and erodes it by 3 px, so a seam stays where pixels outside may not change.

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
    return painted + _membrane(photo - painted, rim, inside)


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
    around = cv2.filter2D((known | inside).astype(np.float32), -1, _NEIGHBOURS, borderType=cv2.BORDER_CONSTANT)
    gain = np.where(inside, 1 / np.maximum(around, 1), np.float32(0)).astype(np.float32)[..., None]
    kept = np.where(known[..., None], values, np.float32(0))
    for _ in range(_SWEEPS if inside.size <= _MANY_PX else _FEWER_SWEEPS):
        field = cv2.filter2D(field, -1, _NEIGHBOURS, borderType=cv2.BORDER_CONSTANT) * gain + kept
    return field


def _halve(plane: Plane) -> Plane:
    return np.asarray(cv2.resize(plane, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.float32)


def add_grain(blended: Plane, photo: NDArray[np.uint8], inside: Marks, top: int, left: int) -> Plane:
    """Add what the hole lacks of the fine noise around it, octave by octave, the same in all channels.

    Args:
        blended: float32 (h, w, 3) grey levels, of the region around the hole.
        photo: uint8 (H, W, 3), all of it.
        inside: (h, w), the hole.
        top: of the region, px.
        left: of the region, px.

    Returns:
        float32 (h, w, 3); grain lies still at its place in the photo, whatever the hole is.
    """
    reach = int(max(8, 0.25 * np.sqrt(inside.sum())))
    rows, columns = (
        slice(max(0, top - reach), top + inside.shape[0] + reach),
        slice(max(0, left - reach), left + inside.shape[1] + reach),
    )
    around = photo[rows, columns]
    hole = np.zeros(around.shape[:2], np.uint8)
    hole[top - rows.start :, left - columns.start :][: inside.shape[0], : inside.shape[1]] = inside
    kernel = np.ones((3, 3), np.uint8)
    # A pixel's octaves reach 4 px far, and those at the rim would read the step there.
    beside = cv2.dilate(hole, kernel, iterations=reach) - cv2.dilate(hole, kernel, iterations=4) == 1
    within = cv2.erode(np.pad(inside.astype(np.uint8), 1), kernel, iterations=4)[1:-1, 1:-1] == 1
    if beside.sum() < _MIN_SAMPLES:
        return blended
    within = within if within.sum() >= _MIN_SAMPLES else inside
    noise = _noise(top, left, *inside.shape)
    grain = np.zeros(inside.shape, np.float32)
    for wanted, held, octave in zip(_octaves(_grey(around)), _octaves(_grey(blended)), _octaves(noise), strict=True):
        lack = _spread(wanted[beside]) ** 2 - _spread(held[within]) ** 2
        grain += octave * np.float32(min(_MAX_GRAIN, np.sqrt(max(0.0, lack))) / max(float(octave.std()), 1e-6))
    return blended + np.where(inside, grain, np.float32(0))[..., None]


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
