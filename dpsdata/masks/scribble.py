"""SC-FEGAN's free-form masks: scribbles on the face, and a line from an eye.

The paper names four constants (maxDraw, maxLine, maxAngle, maxLength) without their values and adds the hair
of a face parsing; the values below are this project's own, and there is no hair as there is no parsing here.
All are in px of a 256 px image in the CelebA-HQ frame and grow with the shorter side; the places (face box,
eyes) grow with height and width.
"""

from __future__ import annotations

import math

import numpy as np

from dpsdata.contracts import EYE_CENTRES
from dpsdata.masks.canvas import Mask, draw_stroke, scale_of

_FACE_BOX = (56.0, 64.0, 200.0, 232.0)  # left, top, right, bottom
_MAX_SCRIBBLES = 4
_SEGMENT_COUNTS = (6, 17)
_MAX_SLANT = math.radians(15)
_LENGTHS = (24.0, 72.0)
_WIDTHS = (14.0, 26.0)
_EYE_LINE_CHANCE = 0.5


def draw_scribbles(height: int, width: int, generator: np.random.Generator) -> Mask:
    """1 to 4 back-and-forth scribbles inside the face box; in half of the masks also a line from an eye.

    A scribble starts anywhere in the box in any direction and has 6 to 16 straight pieces of 24 to 72 px;
    each odd piece turns back by 180 degrees, and each is slanted by up to 15 degrees. Pens are 14 to 26 px wide.

    Args:
        height: px.
        width: px.
        generator: source of all choices.

    Returns:
        uint8 (height, width), hole = 1; never empty.

    Source:
        Jo and Park, "SC-FEGAN: Face Editing Generative Adversarial Network with User's Sketch and Color",
        ICCV 2019, algorithm 1; the values are ours.
    """
    mask = np.zeros((height, width), np.uint8)
    scale = scale_of(height, width)
    stretch = np.array([width, height]) / 256
    low, high = np.array(_FACE_BOX[:2]) * stretch, np.array(_FACE_BOX[2:]) * stretch
    strokes: list[list[tuple[float, float]]] = []
    for _ in range(generator.integers(1, _MAX_SCRIBBLES + 1)):
        count = int(generator.integers(*_SEGMENT_COUNTS))
        angles = generator.uniform(0, 2 * math.pi) + generator.uniform(-_MAX_SLANT, _MAX_SLANT, count)
        angles[1::2] += math.pi
        lengths = generator.uniform(*_LENGTHS, count) * scale
        x, y = generator.uniform(low, high)
        stroke = [(x, y)]
        for step_x, step_y in zip(lengths * np.cos(angles), lengths * np.sin(angles), strict=True):
            x, y = min(max(x + step_x, low[0]), high[0]), min(max(y + step_y, low[1]), high[1])
            stroke.append((x, y))
        strokes.append(stroke)
    if generator.random() < _EYE_LINE_CHANCE:
        x, y = np.array(EYE_CENTRES[generator.integers(2)]) * stretch
        angle, length = generator.uniform(0, 2 * math.pi), generator.uniform(*_LENGTHS) * scale
        strokes.append([(x, y), (x + length * math.cos(angle), y + length * math.sin(angle))])
    for stroke in strokes:
        points = [(int(x), int(y)) for x, y in stroke]
        draw_stroke(mask, points, round(generator.uniform(*_WIDTHS) * scale))
    return mask
