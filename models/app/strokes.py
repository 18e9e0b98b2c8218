"""What the page sends: strokes of the hole and of the line, in px of the photo, painted here at the photo's own size.

Strokes, not pictures, travel from the page, so no display size can cost resolution, and the hole's list and the line's
list never meet. The text comes from a browser, so it is read as something that anybody may have written.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dpsdata.contracts import UsageError

Marks = NDArray[np.uint8]
_MAX_TEXT = 32 * 2**20
_MAX_STEPS, _MAX_POINTS = 5_000, 1_000_000
_MAX_PX = 60_000.0
# Fractional bits of OpenCV's coordinates.
_SHIFT = 4
_UNREADABLE = "the drawing could not be read; reload the page and draw it again"


@dataclass(frozen=True)
class Step:
    """One step of a layer's history.

    Attributes:
        kind: `stroke`, `fill` (the closed outline around a point is filled), `file` (an uploaded picture takes the
            place of all before), `clear` or `invert`.
        points: (N, 2) float64 x, y in px of the photo, measured from its top left corner.
        width_px: of the pen, px of the photo.
        erases: the stroke is one of the eraser.
        file_id: of the uploaded picture.
    """

    kind: str
    points: NDArray[np.float64]
    width_px: float = 0.0
    erases: bool = False
    file_id: str = ""


@dataclass(frozen=True)
class DrawnLayers:
    """The history of both layers, and the face square where it was moved.

    Attributes:
        mask: steps of the hole.
        sketch: steps of the line.
        box: left, top, width and height in px; None where the proposed square stands.
    """

    mask: tuple[Step, ...]
    sketch: tuple[Step, ...]
    box: tuple[float, float, float, float] | None


def read_layers(text: str) -> DrawnLayers:
    """Read what the page sent.

    Raises:
        UsageError: it is no such text, or larger than any drawing.
    """
    if not isinstance(text, str) or len(text) > _MAX_TEXT:
        raise UsageError(_UNREADABLE)
    try:
        stored = json.loads(text)
        steps = {role: tuple(_read_step(entry) for entry in stored[role]) for role in ("mask", "sketch")}
        box = None if stored.get("box") is None else _numbers(stored["box"], 3)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UsageError(_UNREADABLE) from None
    if max(map(len, steps.values())) > _MAX_STEPS:
        raise UsageError(f"the drawing has more than {_MAX_STEPS:,} strokes; download it, clear it and upload it again")
    if sum(len(step.points) for step in (*steps["mask"], *steps["sketch"])) > _MAX_POINTS:
        raise UsageError("the drawing has too many points; download it, clear it and upload it again")
    if box is not None and not 1 <= box[2] <= _MAX_PX:
        raise UsageError("the face square must be at least 1 px wide; give it a larger size")
    square = None if box is None else (float(box[0]), float(box[1]), float(box[2]), float(box[2]))
    return DrawnLayers(steps["mask"], steps["sketch"], square)


def paint_layer(steps: tuple[Step, ...], height: int, width: int, files: Mapping[str, Marks]) -> Marks:
    """Paint the steps of one layer.

    Args:
        steps: its history, oldest first.
        height: of the photo, px.
        width: of the photo, px.
        files: uploaded pictures of this layer by their ID, uint8 (H, W) of 0 and 1.

    Returns:
        uint8 (H, W), 1 = painted.

    Raises:
        UsageError: an uploaded picture is no longer there.
    """
    marks = np.zeros((height, width), np.uint8)
    for step in steps:
        if step.kind == "stroke":
            _paint_stroke(marks, step)
        elif step.kind == "fill":
            _fill_outline(marks, step)
        elif step.kind == "clear":
            marks[:] = 0
        elif step.kind == "invert":
            np.subtract(1, marks, out=marks)
        elif step.file_id in files and files[step.file_id].shape == marks.shape:
            marks[:] = files[step.file_id]
        else:
            raise UsageError("an uploaded picture is no longer here; upload it again")
    return marks


def _paint_stroke(marks: Marks, step: Step) -> None:
    color = 0 if step.erases else 1
    width_px = round(step.width_px)
    # With fractional coordinates OpenCV draws 1 as it is, and from 2 on one or two pixels more than it is asked for.
    thickness = 1 if width_px <= 1 else max(2, width_px - 1)
    # A pixel's centre is a whole number for OpenCV and a half one for a browser.
    points = np.round((step.points - 0.5) * 2**_SHIFT).astype(np.int32)
    if len(points) == 1:
        points = np.concatenate([points, points])
    cv2.polylines(marks, [points], False, color, thickness, cv2.LINE_8, _SHIFT)


def _fill_outline(marks: Marks, step: Step) -> None:
    """Fill what is enclosed around a point; an outline with a gap is refused, as all of the photo would be filled."""
    x, y = (int(value) for value in np.floor(step.points[0]))
    height, width = marks.shape
    if not (0 <= x < width and 0 <= y < height) or marks[y, x]:
        return
    filled = marks.copy()
    _, _, _, (left, top, wide, high) = cv2.floodFill(filled, None, (x, y), 1, flags=4)
    if left == 0 or top == 0 or left + wide == width or top + high == height:
        raise UsageError("The outline is not closed, so filling it would fill the photo. Undo, close it, fill again.")
    marks[:] = filled


def _read_step(entry: Any) -> Step:
    none = np.zeros((0, 2))
    if entry["kind"] in ("clear", "invert"):
        return Step(entry["kind"], none)
    if entry["kind"] == "fill":
        return Step("fill", np.array(_numbers(entry["points"], 2)).reshape(1, 2))
    if entry["kind"] == "file":
        return Step("file", none, file_id=str(entry["id"])[:64])
    if entry["kind"] != "stroke" or not isinstance(entry["erase"], bool):
        raise ValueError("no step")
    points = np.array(_numbers(entry["points"])).reshape(-1, 2)
    width_px = _numbers([entry["width"]], 1)[0]
    if not len(points) or not 0 < width_px <= 32_000:
        raise ValueError("no stroke")
    return Step("stroke", points, width_px, entry["erase"])


def _numbers(values: Any, count: int | None = None) -> list[float]:
    """Finite numbers that OpenCV's coordinates hold."""
    if not isinstance(values, list) or count not in (None, len(values)):
        raise ValueError("no numbers")
    if not all(type(value) in (int, float) and math.isfinite(value) and abs(value) <= _MAX_PX for value in values):
        raise ValueError("no numbers")
    return values
