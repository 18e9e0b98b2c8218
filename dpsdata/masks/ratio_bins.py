"""Free-form masks whose hole-to-image ratio lies in a named bin, as PConv's test set sorts them.

NVIDIA's 12,000 test masks come from occlusions in video and cannot be redrawn; use `files:DIR` for them. This
generator is our own: strokes and blobs of random width are laid on until a ratio drawn from the bin is reached,
and what would leave the bin is taken back and drawn smaller. As in the test set, half of the masks keep
away from the border (by 50 px at 512 px).
"""

from __future__ import annotations

import cv2
import numpy as np

from dpsdata.masks.canvas import Mask, draw_stroke

RATIO_BINS = {f"pconv-{low:02d}-{low // 10 * 10 + 10}": (low, low // 10 * 10 + 10) for low in (1, 10, 20, 30, 40, 50)}
_ATTEMPTS = 60
_INNER_CHANCE = 0.5
_BORDER_SHARE = 50 / 512


def draw_ratio_bin(family: str, height: int, width: int, generator: np.random.Generator) -> Mask:
    """One mask with a hole ratio in (low, high] of the bin `pconv-LOW-HIGH` (percent).

    Args:
        family: one of the six names.
        height: px.
        width: px.
        generator: source of all choices.

    Returns:
        uint8 (height, width), hole = 1; always inside of the bin.

    Source:
        Bins and border rule of Liu et al., "Image Inpainting for Irregular Holes Using Partial
        Convolutions", ECCV 2018.
    """
    low, high = RATIO_BINS[family]
    area = height * width
    least, most = low * area // 100 + 1, high * area // 100
    border = round(min(height, width) * _BORDER_SHARE) if generator.random() < _INNER_CHANCE else 0
    if (height - 2 * border) * (width - 2 * border) < least:
        border = 0
    most = min(most, (height - 2 * border) * (width - 2 * border))
    target = int(generator.integers(least, most + 1))
    mask = np.zeros((height, width), np.uint8)
    inner = mask[border : height - border, border : width - border]
    count, size = 0, 1.0
    for _ in range(_ATTEMPTS):
        if count >= target:
            return mask
        tried = inner.copy()
        draw = _draw_blob if generator.random() < 0.3 else _draw_walk
        draw(tried, size * (target / area) ** 0.5, generator)
        tried_count = cv2.countNonZero(tried)
        if tried_count <= most:
            inner[:], count = tried, tried_count
        else:
            size *= 0.7
    _grow(inner, target, generator)
    return mask


def _draw_walk(mask: Mask, size: float, generator: np.random.Generator) -> None:
    """A stroke that wanders: each piece turns by up to 60 degrees from the one before."""
    height, width = mask.shape
    side = min(height, width)
    count = int(generator.integers(3, 11))
    angles = generator.uniform(0, 2 * np.pi) + np.cumsum(generator.uniform(-np.pi / 3, np.pi / 3, count))
    lengths = generator.uniform(0.1, 0.4, count) * side * size
    x = generator.integers(width) + np.concatenate([[0.0], np.cumsum(lengths * np.cos(angles))])
    y = generator.integers(height) + np.concatenate([[0.0], np.cumsum(lengths * np.sin(angles))])
    points = [(int(px), int(py)) for px, py in zip(x, y, strict=True)]
    draw_stroke(mask, points, int(generator.uniform(0.05, 0.35) * side * size))


def _draw_blob(mask: Mask, size: float, generator: np.random.Generator) -> None:
    """A filled, turned ellipse."""
    height, width = mask.shape
    middle = (int(generator.integers(width)), int(generator.integers(height)))
    axes = generator.uniform(0.1, 0.45, 2) * min(height, width) * size
    cv2.ellipse(mask, middle, (int(axes[0]), int(axes[1])), int(generator.integers(180)), 0, 360, (1.0,), -1)


def _grow(mask: Mask, target: int, generator: np.random.Generator) -> None:
    """Widen the hole, in the last ring by pixels picked at random, until it has exactly `target` pixels."""
    if not mask.any():
        mask[mask.shape[0] // 2, mask.shape[1] // 2] = 1
    while (missing := target - cv2.countNonZero(mask)) > 0:
        ring = np.flatnonzero(cv2.dilate(mask, np.ones((3, 3), np.uint8)) != mask)
        if len(ring) > missing:
            ring = generator.choice(ring, missing, replace=False)
        mask[np.unravel_index(ring, mask.shape)] = 1
