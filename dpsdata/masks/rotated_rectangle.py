"""Deep Plastic Surgery's editing mask: one rectangle, rotated about the middle of the image.

The paper's code keeps a pool of 1,024 to 4,096 such masks; here each sample has one of its own. The direction
of the rotation, which the texts leave open, is counter-clockwise on the screen; what turns out of the image is cut.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from dpsdata.masks.canvas import Mask

_ANGLE_COUNT = 45
_TRIES = 20


def draw_rotated_rectangle(height: int, width: int, generator: np.random.Generator) -> Mask:
    """A rectangle with sides from 1/4 to 3/4 of the image's, rotated by 0 to 44 whole degrees.

    Args:
        height: px.
        width: px.
        generator: source of all choices.

    Returns:
        uint8 (height, width), hole = 1; never empty: a rectangle that turned out of a long and narrow
        image is drawn anew, and after 20 tries left unturned.

    Source:
        Yang et al., "Deep Plastic Surgery", ECCV 2020, official code: sides uniform in [64, 192) at 256 px,
        any place where it fits, bilinear rotation, threshold 0.5.
    """
    for attempt in range(_TRIES + 1):
        sides = [int(generator.integers(side // 4, 3 * side // 4)) for side in (height, width)]
        starts = [
            int(generator.integers(side - length + 1)) for side, length in zip((height, width), sides, strict=True)
        ]
        degrees = int(generator.integers(_ANGLE_COUNT)) if attempt < _TRIES else 0
        mask = _rotate(height, width, starts, sides, degrees)
        if mask.any():
            break
    return mask


def _rotate(height: int, width: int, starts: list[int], sides: list[int], degrees: int) -> Mask:
    """Sample the rectangle bilinearly at each pixel's place before the rotation.

    A rectangle is a product of two spans, so its bilinear sample is the product of two trapezoids.
    """
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    y, x = np.arange(height) - (height - 1) / 2, np.arange(width) - (width - 1) / 2
    from_middle = [
        start + (side - 1) / 2 - (length - 1) / 2
        for start, side, length in zip(starts, sides, (height, width), strict=True)
    ]
    rows = _trapezoid(y * cosine - from_middle[0], x * sine, sides[0])
    columns = _trapezoid(-y * sine - from_middle[1], x * cosine, sides[1])
    return (np.multiply(rows, columns, out=rows) >= 0.5).astype(np.uint8)


def _trapezoid(
    by_row: npt.NDArray[np.floating], by_column: npt.NDArray[np.floating], length: int
) -> npt.NDArray[np.float32]:
    """1 where |by_row + by_column| lies within `length` pixels about 0, and the straight line to 0 a pixel on."""
    # In place and in single precision, since this is all of the time that a mask takes.
    place = by_row[:, None].astype(np.float32) + by_column[None, :].astype(np.float32)
    np.abs(place, out=place)
    np.subtract(np.float32((length + 1) / 2), place, out=place)
    np.maximum(place, 0, out=place)
    return np.minimum(place, 1, out=place)
