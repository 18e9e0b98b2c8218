"""What the mask families draw on: a uint8 array, hole = 1, with whole-pixel strokes.

Nothing is smoothed at its rim, so a mask has the same bytes on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.uint8]


def scale_of(height: int, width: int) -> float:
    """Factor for constants in px that are given for a 256 px image: the shorter side over 256."""
    return min(height, width) / 256


def draw_stroke(mask: Mask, points: Sequence[tuple[int, int]], width_px: int) -> None:
    """Draw connected lines with round joints and ends into `mask`.

    Args:
        mask: uint8 (H, W), changed in place.
        points: corners as (x, y); may are outside the image.
        width_px: width of the line, at least 1.
    """
    if len(points) <= 2:
        cv2.line(mask, points[0], points[-1], (1.0,), max(1, width_px))
    else:
        cv2.polylines(mask, [np.array(points, np.int32)[:, None]], False, (1.0,), max(1, width_px))


def draw_center(height: int, width: int) -> Mask:
    """The middle box with half of the height and half of the width: 128 x 128 at 256 px."""
    mask = np.zeros((height, width), np.uint8)
    top, left = (height - height // 2) // 2, (width - width // 2) // 2
    mask[top : top + height // 2, left : left + width // 2] = 1
    return mask


def draw_full(height: int, width: int) -> Mask:
    """All hole: synthesis from the sketch alone."""
    return np.ones((height, width), np.uint8)
