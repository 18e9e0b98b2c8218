"""DeepFillv2's training masks: brush strokes, and brush strokes or one rectangle.

Upstream computes two random flips of the brush mask and throws them away; there are none here either, so
the distribution is the published one. Upstream also swaps height and width where it draws the start of a
stroke, which leaves a part of a non-square image without starts; here the start covers all of it.
Upstream's width of the brush is in px at any size; here it grows with the shorter side (the step of the
brush follows the diagonal upstream already), and so does the rectangle.
"""

from __future__ import annotations

import math

import numpy as np

from dpsdata.masks.canvas import Mask, draw_stroke, scale_of

_MEAN_ANGLE = 2 * math.pi / 5
_ANGLE_RANGE = 2 * math.pi / 15
_MAX_STROKES = 3
_VERTEX_COUNTS = (4, 12)
_WIDTHS_PX = (12.0, 40.0)


def draw_brush(height: int, width: int, generator: np.random.Generator) -> Mask:
    """1 to 3 zigzag brush strokes.

    Args:
        height: px.
        width: px.
        generator: source of all choices.

    Returns:
        uint8 (height, width), hole = 1; never empty.

    Source:
        Free-form mask of Yu et al., "Free-Form Image Inpainting with Gated Convolution", 2019, as in the
        official code (JiahuiYu/generative_inpainting, inpaint_ops.py).
    """
    mask = np.zeros((height, width), np.uint8)
    mean_step = math.hypot(height, width) / 8
    for _ in range(generator.integers(1, _MAX_STROKES + 1)):
        count = int(generator.integers(*_VERTEX_COUNTS))
        low = _MEAN_ANGLE - generator.uniform(0, _ANGLE_RANGE)
        high = _MEAN_ANGLE + generator.uniform(0, _ANGLE_RANGE)
        angles = generator.uniform(low, high, count)
        angles[::2] = 2 * math.pi - angles[::2]
        steps = np.clip(generator.normal(mean_step, mean_step // 2, count), 0, 2 * mean_step)
        points = [(int(generator.integers(width)), int(generator.integers(height)))]
        for step_x, step_y in zip(steps * np.cos(angles), steps * np.sin(angles), strict=True):
            x, y = points[-1]
            points.append((int(np.clip(x + step_x, 0, width)), int(np.clip(y + step_y, 0, height))))
        brush_width = int(generator.uniform(*_WIDTHS_PX) * scale_of(height, width))
        draw_stroke(mask, points, brush_width - 1)  # OpenCV's lines are up to 1 px wider than upstream's Pillow's
    return mask


def draw_box(height: int, width: int, generator: np.random.Generator) -> Mask:
    """One rectangle with sides from 3/8 to 1/2 of the image's: 96 to 128 px at 256.

    Args:
        height: px.
        width: px.
        generator: source of all choices.

    Returns:
        uint8 (height, width), hole = 1; never empty.
    """
    mask = np.zeros((height, width), np.uint8)
    spans = []
    for side in (height, width):
        start = int(generator.integers(side - side // 2))
        margin = int(generator.integers(side // 16 + 1))
        spans.append(slice(start + margin, start + side // 2 - margin))
    mask[spans[0], spans[1]] = 1
    return mask


def draw_brush_or_box(height: int, width: int, generator: np.random.Generator) -> Mask:
    """The union of `draw_brush` and `draw_box`: what DeepFillv2 is trained with."""
    return draw_brush(height, width, generator) | draw_box(height, width, generator)
