"""Small pictures for the page, as text that an <img> takes; what is saved never comes from here."""

from __future__ import annotations

import base64
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dpsdata.images.codec import encode_jpeg, encode_png
from dpsdata.images.color_profile import ColorSpace

CANVAS_PX = 1600
Region = tuple[slice, slice]


def photo_url(rgb: NDArray[np.uint8], most_px: int = CANVAS_PX, colors: ColorSpace | None = None) -> str:
    """A photo (H, W, 3) uint8 as a data URL, at most `most_px` wide and high, and in sRGB whatever its `colors` are."""
    small = shrink(rgb, most_px)
    shown = small if colors is None else colors.to_srgb(small)
    return "data:image/jpeg;base64," + base64.b64encode(encode_jpeg(shown, 92)).decode()


def grey_url(grey: NDArray[np.uint8], most_px: int = CANVAS_PX) -> str:
    """A picture (H, W) uint8 as a data URL, at most `most_px` wide and high."""
    return "data:image/png;base64," + base64.b64encode(encode_png(shrink(grey, most_px))).decode()


def shrink(pixels: NDArray[Any], most_px: int) -> NDArray[np.uint8]:
    """Make the longer side at most `most_px`; smaller pictures stay as they are."""
    height, width = pixels.shape[:2]
    scale = most_px / max(height, width)
    if scale >= 1:
        return np.ascontiguousarray(pixels)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def hole_region(hole: NDArray[np.uint8]) -> Region:
    """Rows and columns that hold the whole hole of (H, W), 0 and 1, with a hole."""
    rows, columns = (np.flatnonzero(hole.any(axis=axis)) for axis in (1, 0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
