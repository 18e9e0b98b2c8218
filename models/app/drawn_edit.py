"""A drawing that can be run, and the result of one level of it; layers as files, pictures as text for the page."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dpsdata.contracts import BrokenImageError, UsageError
from dpsdata.images.codec import encode_jpeg, encode_png
from dpsdata.images.color_profile import ColorSpace
from dpsdata.masks.reading import looks_inverted, read_mask_file
from dpsdata.sketch.reading import read_sketch_file
from models.app.engine import AnyEngine, Pasting, Placement
from models.app.opened_photo import OpenedPhoto

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


Marks = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class DrawnEdit:
    """One drawing over one photo, ready to run.

    Attributes:
        engine: the method that runs it.
        photo: what is edited.
        placement: where the face square lies.
        hole: uint8 (H, W), 1 = hole.
        lines: uint8 (H, W), 1 = line.
        pasting: how results are put into the photo.
        key: the same for the same method, drawing, square and pasting.
        notes: sentences for the person.
    """

    engine: AnyEngine
    photo: OpenedPhoto
    placement: Placement
    hole: Marks
    lines: Marks
    pasting: Pasting
    key: str
    notes: tuple[str, ...]

    @property
    def mask(self) -> Marks:
        """As on disk: white hole on black."""
        return self.hole * np.uint8(255)

    @property
    def sketch(self) -> Marks:
        """As on disk: black line on white."""
        return (1 - self.lines) * np.uint8(255)


@dataclass(frozen=True, eq=False)
class LevelPatch:
    """A result where it can differ from the photo.

    Attributes:
        level: in [0, 1]; None of a method without one.
        where: rows and columns of the photo.
        photo: uint8 (h, w, 3).
        refined: uint8 (h, w), the refined sketch, black line on white; None of a method that refines none.
    """

    level: float | None
    where: Region
    photo: NDArray[np.uint8]
    refined: Marks | None

    @property
    def byte_count(self) -> int:
        """What it takes in memory, bytes."""
        return self.photo.nbytes + (0 if self.refined is None else self.refined.nbytes)

    def whole_photo(self, ground: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The result at the photo's own size."""
        whole = ground.copy()
        whole[self.where] = self.photo
        return whole


def read_layer(role: str, data: bytes, name: str, size: tuple[int, int]) -> tuple[Marks, tuple[str, ...]]:
    """Read an uploaded mask or sketch.

    Args:
        role: `mask` or `sketch`.
        data: content of the file.
        name: of the file.
        size: height and width of the photo, px.

    Returns:
        uint8 (H, W), 1 = hole or line; and sentences for the person.

    Raises:
        UsageError: it cannot be read, or has another size than the photo.
    """
    shown = name[:80]
    try:
        read = read_mask_file(data) if role == "mask" else read_sketch_file(data)
    except BrokenImageError as error:
        raise UsageError(f"{shown} cannot be opened as a {role}: {error}.") from None
    height, width = read.pixels.shape
    if (height, width) != size:
        raise UsageError(
            f"The {role} {shown} has {width} x {height} px, but the photo has {size[1]} x {size[0]} px. "
            "Save both at one size."
        )
    notes = [_sentence(note) for note in read.notes]
    if role == "mask":
        marks = (read.pixels > 127).astype(np.uint8)
        if looks_inverted(read.pixels):
            notes.append("The mask looks inverted: white all around a black island. Press Invert to swap them.")
    else:
        marks = (read.pixels < 128).astype(np.uint8)
    if not marks.any():
        notes.append(f"The {role} {shown} is empty all over.")
    return marks, tuple(notes)


def _sentence(note: str) -> str:
    return note[:1].upper() + note[1:].rstrip(".") + "."
