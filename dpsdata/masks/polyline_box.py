"""LaMa's masks: random polylines, or random boxes.

Each mask is of one kind: polylines with probability 1 / 1.3 and boxes with 0.3 / 1.3 (narrow masks: polylines
alone). As in LaMa's test sets, a mask with more than half of the image as hole is drawn anew. LaMa has one table
for 256 px and one for 512 px: sizes up to 384 px take the first, larger ones the second, scaled by the shorter
side over 256 or 512, so that both are met exactly. LaMa's own masks have no fixed seed; these have.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dpsdata.masks.canvas import Mask, draw_stroke

_MAX_HOLE = 0.5
_TRIES = 100
_BOX_SHARE = 0.3 / 1.3


@dataclass(frozen=True)
class PolylineBox:
    """Constants of one family at one size.

    Attributes:
        line_counts: least and most polylines.
        line_width: the width is 5 px plus an integer below this.
        line_length: the length of a piece is 10 px plus an integer below this.
        box_margin: px that boxes stay away from the border.
        box_sides: least side, and the bound that sides stay below, px; None: no boxes.
        box_counts: least and most boxes.
    """

    line_counts: tuple[int, int]
    line_width: int
    line_length: int
    box_margin: int = 0
    box_sides: tuple[int, int] | None = None
    box_counts: tuple[int, int] = (0, 0)


FAMILIES = {
    ("lama-thin", 256): PolylineBox((4, 50), 10, 40),
    ("lama-medium", 256): PolylineBox((4, 5), 50, 100, 0, (10, 50), (1, 5)),
    ("lama-thick", 256): PolylineBox((1, 5), 100, 200, 10, (30, 150), (1, 3)),
    ("lama-thin", 512): PolylineBox((4, 70), 20, 100),
    ("lama-medium", 512): PolylineBox((4, 10), 100, 200, 0, (30, 150), (1, 5)),
    ("lama-thick", 512): PolylineBox((1, 5), 250, 450, 10, (30, 300), (1, 4)),
}
_MAX_PIECES = 5
_MAX_ANGLE = 4
_LEAST_WIDTH, _LEAST_LENGTH = 5, 10


def draw_polylines_or_boxes(family: str, height: int, width: int, generator: np.random.Generator) -> Mask:
    """One mask of `lama-thin`, `lama-medium` or `lama-thick`.

    Args:
        family: one of the three names.
        height: px.
        width: px.
        generator: source of all choices.

    Returns:
        uint8 (height, width), hole = 1; never empty, and at most half of the image, or, should 100 masks in a
        row be larger, the smallest of them.

    Source:
        Suvorov et al., "Resolution-robust Large Mask Inpainting with Fourier Convolutions", WACV 2022, as in
        the official code (advimman/lama, saicinpainting/evaluation/masks and its configs).
    """
    side = 256 if min(height, width) <= 384 else 512
    constants = FAMILIES[family, side]
    scale = min(height, width) / side
    smallest: Mask | None = None
    for _ in range(_TRIES):
        boxes = constants.box_sides is not None and generator.random() < _BOX_SHARE
        draw = _draw_boxes if boxes else _draw_polylines
        mask = draw(constants, height, width, scale, generator)
        if smallest is None or int(mask.sum()) < int(smallest.sum()):
            smallest = mask
        if mask.mean() <= _MAX_HOLE:
            return mask
    return np.ones((height, width), np.uint8) if smallest is None else smallest


def _draw_polylines(
    constants: PolylineBox, height: int, width: int, scale: float, generator: np.random.Generator
) -> Mask:
    mask = np.zeros((height, width), np.uint8)
    least, most = constants.line_counts
    line_count = int(generator.integers(least, most + 1))
    shape = (line_count, _MAX_PIECES)  # all at once: a call of the generator for each piece takes most of the time
    starts = zip(generator.integers(0, width, line_count), generator.integers(0, height, line_count), strict=True)
    piece_counts = generator.integers(1, _MAX_PIECES + 1, line_count)
    angles = 0.01 + generator.integers(0, _MAX_ANGLE, shape)  # radians, as in the source
    angles[::2] = 2 * math.pi - angles[::2]
    lengths = scale * (_LEAST_LENGTH + generator.integers(0, constants.line_length, shape))
    widths = (scale * (_LEAST_WIDTH + generator.integers(0, constants.line_width, shape))).astype(int).tolist()
    steps = np.stack([lengths * np.sin(angles), lengths * np.cos(angles)], 2).tolist()
    for line, ((start_x, start_y), piece_count) in enumerate(zip(starts, piece_counts, strict=True)):
        x, y = int(start_x), int(start_y)
        for piece in range(piece_count):
            step_x, step_y = steps[line][piece]
            end = (min(max(int(x + step_x), 0), width), min(max(int(y + step_y), 0), height))
            draw_stroke(mask, [(x, y), end], widths[line][piece])
            x, y = end
    return mask


def _draw_boxes(constants: PolylineBox, height: int, width: int, scale: float, generator: np.random.Generator) -> Mask:
    mask = np.zeros((height, width), np.uint8)
    least, most = constants.box_sides or (1, 2)
    margin = int(constants.box_margin * scale)
    for _ in range(generator.integers(constants.box_counts[0], constants.box_counts[1] + 1)):
        spans = []
        for length in (width, height):
            room = length - 2 * margin
            side = min(max(1, int(scale * generator.integers(least, most))), room)
            start = margin + int(generator.integers(room - side + 1))
            spans.append(slice(start, start + side))
        mask[spans[1], spans[0]] = 1
    return mask
