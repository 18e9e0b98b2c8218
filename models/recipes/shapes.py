"""Holes and lines as a hand draws them: a few points, joined by smooth curves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dpsdata.contracts import UsageError

Marks = NDArray[np.uint8]
SIZE_PX = 256
PEN_PX = 3
# The vertical line half-way between the eye centres of the CelebA-HQ frame.
AXIS_PX = 126.05
_STEPS = 16
_SHIFT_BITS = 4


@dataclass(frozen=True)
class Curve:
    """A smooth line through points, or with `is_closed` around an area.

    Attributes:
        points: (x, y) in px of the CelebA-HQ frame of 256 px, whose eye centres are `EYE_CENTRES`.
        is_closed: whether the last point is joined to the first.
    """

    points: tuple[tuple[float, float], ...]
    is_closed: bool = False

    def __post_init__(self) -> None:
        if len(self.points) < (3 if self.is_closed else 2):
            raise UsageError(f"a curve needs two points, an area three; got {len(self.points)}")

    def mirrored(self) -> Curve:
        """The same on the other side of the face."""
        return Curve(tuple((2 * AXIS_PX - x, y) for x, y in self.points), self.is_closed)


def line(*points: tuple[float, float]) -> Curve:
    """A line through points."""
    return Curve(points)


def area(*points: tuple[float, float]) -> Curve:
    """An area with points on its border."""
    return Curve(points, is_closed=True)


def ellipse(x: float, y: float, half_width: float, half_height: float) -> Curve:
    """An ellipse around (x, y), px."""
    turns = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    places = [(x + half_width * np.cos(turn), y + half_height * np.sin(turn)) for turn in turns]
    return Curve(tuple((float(px), float(py)) for px, py in places), is_closed=True)


def both(*curves: Curve) -> tuple[Curve, ...]:
    """Curves, and each mirrored."""
    return tuple(side for curve in curves for side in (curve, curve.mirrored()))


def fill_areas(areas: Iterable[Curve]) -> Marks:
    """uint8 (256, 256), 1 in the areas."""
    marks = np.zeros((SIZE_PX, SIZE_PX), np.uint8)
    for curve in areas:
        cv2.fillPoly(marks, [_fixed_point(curve)], 1, shift=_SHIFT_BITS)
    return marks


def draw_lines(curves: Iterable[Curve], width_px: int = PEN_PX) -> Marks:
    """uint8 (256, 256), 1 on lines `width_px` wide, an odd number."""
    marks = np.zeros((SIZE_PX, SIZE_PX), np.uint8)
    for curve in curves:
        cv2.polylines(marks, [_fixed_point(curve)], curve.is_closed, 1, shift=_SHIFT_BITS)
    # OpenCV's own thick lines are up to 2 px wider where short pieces meet.
    nib = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width_px, width_px))
    return np.asarray(cv2.dilate(marks, nib), np.uint8)


def _fixed_point(curve: Curve) -> NDArray[np.int32]:
    return np.asarray(np.rint(_smooth(curve) * 2**_SHIFT_BITS), np.int32)[:, None]


def _smooth(curve: Curve) -> NDArray[Any]:
    """Points every 16th of the way along a Catmull-Rom spline."""
    points = np.array(curve.points, np.float64)
    if curve.is_closed:
        padded = np.concatenate([points[-1:], points, points[:2]])
    else:
        padded = np.concatenate([points[:1], points, points[-1:]])
    along = (np.arange(_STEPS) / _STEPS)[:, None]
    parts = []
    for first, start, end, last in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        bend = 2 * first - 5 * start + 4 * end - last
        twist = 3 * start - first - 3 * end + last
        parts.append(start + 0.5 * (along * (end - first) + along**2 * bend + along**3 * twist))
    return np.concatenate(parts if curve.is_closed else [*parts, points[-1:]])
