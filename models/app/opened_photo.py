"""A photo that a person opened: its bytes as they came, its pixels upright, where the face is, and its own lines."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import PurePath

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from dpsdata.contracts import IMAGE_SUFFIXES, BrokenImageError, UsageError
from dpsdata.hed import HED, load_hed
from dpsdata.images.faces import find_face
from dpsdata.images.photo_file import PhotoFile, read_photo_file
from dpsdata.sketch import simplify_edges
from models.app.engine import Placement
from models.editing.photo_frame import NoFaceError, find_frame
from models.editing.request import INPUTS_FOLDER, InputFile

_SEARCH_PX, _MIN_FACE_PX = 400, 40
# Smaller faces than this share of the largest are people behind, or what the cascade takes for a face.
_SECOND_FACE = 0.5


@dataclass(frozen=True, eq=False)
class OpenedPhoto:
    """One photo.

    Attributes:
        file: its content byte for byte, under the name that it has in an edit folder.
        source: its pixels and what else it carries.
        stem: the file's name without its suffix, for the names of downloads.
        placement: the face square that is proposed.
        notes: sentences for the person.
    """

    file: InputFile
    source: PhotoFile
    stem: str
    placement: Placement
    notes: tuple[str, ...] = ()

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """uint8 (H, W, 3), upright RGB in the photo's own colour space."""
        return self.source.pixels

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, px."""
        return self.pixels.shape[0], self.pixels.shape[1]


def open_photo(data: bytes, name: str, resolution: int) -> OpenedPhoto:
    """Decode a photo and find its face.

    Args:
        data: content of the file.
        name: of the file.
        resolution: side of the model's images, px.

    Raises:
        UsageError: the file is no photo that can be read; the sentence is for the page.
    """
    shown = PurePath(name).name[:80]
    try:
        source = read_photo_file(data)
    except BrokenImageError as error:
        raise UsageError(f"{shown} cannot be opened as a photo: {_sentence(str(error))}") from None
    placement, notes = place_face(source.pixels, resolution)
    said = tuple(f"{note[:1].upper()}{note[1:]}." for note in source.notes)
    return OpenedPhoto(named_file("photo", data, name), source, clean_stem(name), placement, (*said, *notes))


def _sentence(reason: str) -> str:
    """A reason, with what helps behind it where it does not say so itself."""
    return f"{reason}." if "; " in reason else f"{reason}. Choose a JPEG or PNG photo."


def named_file(role: str, data: bytes, name: str) -> InputFile:
    """A file under the name that an edit folder gives it."""
    suffix = PurePath(name).suffix.lower()
    return InputFile(f"{INPUTS_FOLDER}/{role}{suffix if suffix in IMAGE_SUFFIXES else '.img'}", data)


def clean_stem(name: str) -> str:
    """The name of a file without suffix, as letters that every file system takes."""
    stem = "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in PurePath(name).stem)
    return stem.strip("-")[:60] or "photo"


def place_face(pixels: NDArray[np.uint8], resolution: int) -> tuple[Placement, tuple[str, ...]]:
    """The face square to propose, and what to say of it.

    Args:
        pixels: uint8 (H, W, 3), upright.
        resolution: side of the model's images, px.
    """
    height, width = pixels.shape[:2]
    try:
        frame = find_frame(pixels, resolution)
    except NoFaceError:
        side = min(height, width)
        placement = Placement((float((width - side) // 2), float((height - side) // 2), float(side), float(side)))
        note = "No face was found. Move the dashed square over it, from the hair to the shoulders."
        return (Placement() if height == width else placement), (note,)
    if frame.is_whole:
        return Placement(), ()
    left, top, side, _ = (float(round(value)) for value in frame.box)
    notes: tuple[str, ...] = ()
    if _has_second_face(pixels):
        notes = ("More than one face was found, and the largest is taken. Move the dashed square for another one.",)
    return Placement((left, top, side, side)), notes


def pick_face(pixels: NDArray[np.uint8], x: float, y: float, resolution: int) -> list[float]:
    """Left, top and side of the square of the face at a point, px.

    Args:
        pixels: uint8 (H, W, 3), upright.
        x: px.
        y: px.
        resolution: side of the model's images, px.

    Raises:
        UsageError: no face was found there.
    """
    height, width = pixels.shape[:2]
    for share in (0.15, 0.25, 0.4, 0.6, 1.0):
        reach = max(height, width) * share
        rows, columns = slice(max(0, int(y - reach)), int(y + reach) + 1), slice(max(0, int(x - reach)), int(x + reach))
        part = pixels[rows, columns]
        if min(part.shape[:2]) < _MIN_FACE_PX:
            continue
        try:
            left, top, side, _ = find_frame(part, resolution).box
        except NoFaceError:
            continue
        left, top = left + columns.start, top + rows.start
        if left <= x <= left + side and top <= y <= top + side:
            return [float(round(value)) for value in (left, top, side)]
    raise UsageError("No face was found there. Press on the nose of another one, or drag the dashed square over it.")


def _has_second_face(pixels: NDArray[np.uint8]) -> bool:
    height, width = pixels.shape[:2]
    shrink = max(1.0, max(height, width) / _SEARCH_PX)
    size = (max(1, round(width / shrink)), max(1, round(height / shrink)))
    small = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    first = find_face(small, _MIN_FACE_PX)
    if first is None:
        return False
    x, y, side = first
    rows = slice(max(0, int(y - side * 0.6)), int(y + side * 0.6) + 1)
    columns = slice(max(0, int(x - side * 0.6)), int(x + side * 0.6) + 1)
    small[rows, columns] = 128
    second = find_face(small, _MIN_FACE_PX)
    return second is not None and second[2] >= _SECOND_FACE * side


# The size that datasets are built at, whose lines the networks know.
LINES_PX = 256
_SHIFT = 4


def find_own_lines(photo: NDArray[np.uint8], placement: Placement) -> NDArray[np.uint8]:
    """Detect the edges in the face square and thin them, as the dataset builder does.

    Args:
        photo: uint8 (H, W, 3).
        placement: where the face square is.

    Returns:
        uint8 (H, W), 1 = line, one pixel of the 256 px square wide.
    """
    frame = placement.frame(photo.shape[0], photo.shape[1], LINES_PX)
    edges = torch.from_numpy(_detector().detect(frame.take_photo(photo)[None]))[:, None]
    return _enlarge(simplify_edges(edges)[0, 0].numpy() > 0, np.array(frame.matrix), photo.shape[:2], frame.scale)


@cache
def _detector() -> HED:
    return load_hed()


def _enlarge(
    lines: NDArray[np.bool_], matrix: NDArray[np.float64], size: tuple[int, ...], scale: float
) -> NDArray[np.uint8]:
    """Draw each line from pixel centre to pixel centre in the photo, so that it is smooth at any size."""
    marks = np.zeros(size[:2], np.uint8)
    back = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
    width = max(1, round(scale))
    segments = []
    for down, right in ((0, 0), (0, 1), (1, 0), (1, 1), (1, -1)):
        here = np.argwhere(lines)
        there = here + np.array([down, right])
        kept = ((there >= 0) & (there < len(lines))).all(axis=1)
        here, there = here[kept], there[kept]
        kept = lines[there[:, 0], there[:, 1]]
        pair = np.stack([here[kept], there[kept]], axis=1)[..., ::-1]
        segments.append(pair @ back[:2, :2].T + back[:2, 2])
    points = np.round(np.concatenate(segments) * 2**_SHIFT).astype(np.int32)
    cv2.polylines(marks, list(points), False, 1, width, cv2.LINE_8, _SHIFT)
    return marks
