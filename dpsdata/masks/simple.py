"""The two masks without chance: the middle box, and the whole image."""

from __future__ import annotations

import numpy as np

from dpsdata.masks.canvas import Mask


def draw_center(height: int, width: int) -> Mask:
    """The middle box with half of the height and half of the width: 128 x 128 at 256 px."""
    mask = np.zeros((height, width), np.uint8)
    top, left = (height - height // 2) // 2, (width - width // 2) // 2
    mask[top : top + height // 2, left : left + width // 2] = 1
    return mask


def draw_full(height: int, width: int) -> Mask:
    """All hole: synthesis from the sketch alone."""
    return np.ones((height, width), np.uint8)
