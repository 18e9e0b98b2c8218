"""Where an edge map has its ridges: orientation, non-maximum suppression, border fade, threshold.

Every step gives the same bits on every CPU and with any number of threads: orientations come from sums of integers
(exact in float64, so their order does not matter) and need no arctangent, and all that is rounded is rounded by
single IEEE operations in a fixed order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from dpsdata.sketch.simplify import SimplifyConfig

FloatArray = NDArray[np.float64]
BitArray = NDArray[np.uint8]

_FLATNESS = 1e-5  # keeps the orientation of flat areas defined
_BLOCK_PX = 8192  # so many pixels at a time keep the temporary arrays in the cache


def find_ridges(strength: FloatArray, config: SimplifyConfig) -> BitArray:
    """Pixels that reach the threshold after the fade and are maxima across their line.

    Args:
        strength: (H, W) float64 in [0, 1], edge = 1, at least 3x3 px, contiguous.
        config: the constants.

    Returns:
        (H, W) uint8 in {0, 1}.

    Source: edgesNms of the structured edge detector, as described in hed_and_dataset.md section 2.
    """
    height, width = strength.shape
    smoothed = _smooth_for_orientation(strength, config.triangle_radius)
    fade_x, fade_y = fade_weights(width, config.border_px), fade_weights(height, config.border_px)
    # The fade and the suppression only take away: a pixel under the threshold needs no orientation.
    strong = np.flatnonzero(strength >= config.threshold)
    lines = np.zeros(height * width, np.uint8)
    for start in range(0, strong.size, _BLOCK_PX):
        pixel = strong[start : start + _BLOCK_PX]
        y = pixel // width
        x = pixel - y * width
        value = strength.take(pixel)
        kept = np.flatnonzero(value * fade_x.take(x) * fade_y.take(y) >= config.threshold)
        pixel, y, x, limit = pixel.take(kept), y.take(kept), x.take(kept), value.take(kept) * config.nms_multiplier
        cosine, sine = _directions(smoothed, y, x)
        for distance in range(1, config.nms_radius + 1):
            for step in (distance, -distance):
                beside = _sample(strength, y + step * sine, x + step * cosine)
                kept = np.flatnonzero(limit >= beside)
                pixel, y, x, limit = pixel.take(kept), y.take(kept), x.take(kept), limit.take(kept)
                cosine, sine = cosine.take(kept), sine.take(kept)
        lines[pixel] = 1
    return lines.reshape(height, width)


def fade_weights(length: int, border_px: int) -> FloatArray:
    """Weights of one row or column: 0, 1/border, 2/border, ... from both ends, 1 between."""
    position = np.arange(length)
    to_edge = np.minimum(position, position[::-1])
    return np.minimum(to_edge, border_px) / border_px if border_px else np.ones(length)


@dataclass(frozen=True)
class _Smoothed:
    """The triangle-filtered map times `scale`, whole numbers, with a margin of 2 px on all sides."""

    values: FloatArray
    scale: float


def _smooth_for_orientation(strength: FloatArray, radius: int) -> _Smoothed:
    weights = np.concatenate([np.arange(1, radius + 2), np.arange(radius, 0, -1)]).astype(np.float64)
    # Fixed point, with as many bits as keep second differences of the weighted sums exact in float64.
    unit = 2.0 ** (50 - math.ceil(4 * math.log2(radius + 1)))
    fixed = strength * unit
    np.rint(fixed, out=fixed)
    height, width = strength.shape
    values = np.empty((height + 4, width + 4))
    inner = values[2:-2, 2:-2]
    inner[:] = cv2.sepFilter2D(fixed, cv2.CV_64F, weights, weights, borderType=cv2.BORDER_REFLECT)
    # With these margins central differences, taken twice, equal the published ones, which are one-sided at borders.
    for rows in (values[:, 2:-2], values[::-1, 2:-2], values.T, values.T[::-1]):
        rows[1] = 2 * rows[2] - rows[3]
        rows[0] = rows[4] - 4 * rows[3] + 4 * rows[2]
    return _Smoothed(values, (radius + 1) ** 4 * unit)


def _directions(smoothed: _Smoothed, y: NDArray[np.intp], x: NDArray[np.intp]) -> tuple[FloatArray, FloatArray]:
    """Cosine and sine of the direction across the line (up to a common sign).

    The published angle is atan(Oyy * sign(-Oxy) / (Oxx + 1e-5)); its cosine and sine need no trigonometry.
    """
    values, row = smoothed.values, smoothed.values.shape[1]
    here = (y + 2) * row + (x + 2)
    twice = 2 * values.take(here)
    oxx = values.take(here + 2) + values.take(here - 2) - twice
    oyy = values.take(here + 2 * row) + values.take(here - 2 * row) - twice
    diagonal = values.take(here + (row + 1)) + values.take(here - (row + 1))
    oxy = diagonal - values.take(here + (row - 1)) - values.take(here - (row - 1))
    across = oxx + 4 * smoothed.scale * _FLATNESS
    along = oyy * np.sign(-oxy)
    length = np.sqrt(across * across + along * along)
    undefined = length == 0
    across[undefined], length[undefined] = 1.0, 1.0
    return across / length, along / length


def _sample(image: FloatArray, y: FloatArray, x: FloatArray) -> FloatArray:
    """Bilinear samples; coordinates are clamped to [0, size - 1.001], so that a right neighbour always exists."""
    height, width = image.shape
    np.clip(y, 0.0, height - 1.001, out=y)
    np.clip(x, 0.0, width - 1.001, out=x)
    top, left = y.astype(np.intp), x.astype(np.intp)
    fy, fx = y - top, x - left
    corner = top * width + left
    upper = image.take(corner) * (1 - fx) + image.take(corner + 1) * fx
    corner += width
    lower = image.take(corner) * (1 - fx) + image.take(corner + 1) * fx
    between: FloatArray = upper * (1 - fy) + lower * fy
    return between
