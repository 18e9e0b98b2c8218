"""A mask or a sketch that a person uploaded, brought to 0 and 1, with words for what is odd about it."""

from __future__ import annotations

import numpy as np

from dpsdata.contracts import BrokenImageError, UsageError
from dpsdata.masks.reading import looks_inverted, read_mask_file
from dpsdata.sketch.reading import read_sketch_file
from models.app.drawn_edit import Marks


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
