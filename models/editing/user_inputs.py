"""Masks and sketches as people have them, brought to the contract on disk: white hole, black line on white."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from dpsdata.contracts import BrokenImageError, UsageError
from dpsdata.images.codec import read_alpha, read_grey, read_photo
from dpsdata.images.photo_file import PhotoFile, read_photo_file

Grey = NDArray[np.uint8]
_T = TypeVar("_T")

# Half-covered pixels of an anti-aliased line between two pixels are as light as this many grey levels under paper.
_INK_CONTRAST = 64
_FLAT_SPREAD = 96
_SAVE_AGAIN = "save it again as PNG or JPEG"
_BLACK, _WHITE = 64, 191


class ReadInput(NamedTuple):
    """Pixels, and what a person should know about how they were read."""

    pixels: Grey
    notes: tuple[str, ...] = ()


class EditInputs(NamedTuple):
    """What one edit reads.

    Attributes:
        file: the photo with all that its file carries.
        sketch: uint8 (H, W), black line on white.
        mask: uint8 (H, W), white = hole.
        notes: what a person should know about how they were read.
    """

    file: PhotoFile
    sketch: Grey
    mask: Grey
    notes: tuple[str, ...]

    @property
    def photo(self) -> NDArray[np.uint8]:
        """uint8 (H, W, 3), upright RGB in the photo's own colour space."""
        return self.file.pixels


def read_edit_inputs(
    photo: bytes, sketch: bytes | None, mask: bytes | None, invert_mask: bool = False, name: str = "the photo"
) -> EditInputs:
    """Read the three files of an edit, or the published three-panel picture (photo | sketch | mask) in one.

    Args:
        photo: content of the photo's file.
        sketch: content of the sketch's file; None for three panels.
        mask: content of the mask's file; None for three panels.
        invert_mask: the black or opaque part is the hole, other than usual.
        name: what to call the photo in errors.

    Raises:
        UsageError: one of sketch and mask is missing, or the sizes differ.
        BrokenImageError: a file is no image.
    """
    file = _named(name, read_photo_file, photo)
    if sketch is None and mask is None:
        panel, lines, hole = split_panels(file.pixels, name)
        file = file.cut(slice(None), slice(0, panel.shape[1]))
        sketch_read, mask_read = ReadInput(lines), ReadInput(255 - hole if invert_mask else hole)
    elif sketch is None or mask is None:
        raise UsageError(f"an edit needs both --mask and --sketch; --{'mask' if mask is None else 'sketch'} is missing")
    else:
        sketch_read = _named("the sketch", read_sketch_input, sketch)
        mask_read = _named("the mask", lambda data: read_mask_input(data, invert_mask), mask)
    check_same_size(file.pixels, sketch_read.pixels, mask_read.pixels)
    notes = [*file.notes, *sketch_read.notes, *mask_read.notes]
    if not invert_mask and looks_inverted(mask_read.pixels):
        notes.append(
            "the mask looks inverted: white all around a black island; white is edited as always, "
            "pass --invert-mask if you mean the black part"
        )
    return EditInputs(file, sketch_read.pixels, mask_read.pixels, tuple(notes))


def read_sketch_input(source: bytes) -> ReadInput:
    """Read a sketch file: drawn on paper, or in any one colour on a transparent ground."""
    grey, alpha = read_grey(source), read_alpha(source)
    opaque = alpha > 127
    if opaque.all():
        return ReadInput(grey)
    if not opaque.any():
        return ReadInput(np.full_like(grey, 255), ("the sketch is transparent all over, so there are no lines",))
    # Strokes that shine through tell nothing of their colour over white, so the strokes' colour is not asked for.
    is_flat = np.ptp(np.percentile(grey[opaque], (2, 98))) < _FLAT_SPREAD
    if is_flat and opaque.mean() < 0.5:
        return ReadInput((255 - alpha).astype(np.uint8), ("the sketch's opaque pixels are taken as lines",))
    return ReadInput(grey)


def read_mask_input(source: bytes, invert: bool = False) -> ReadInput:
    """Read a mask file: white on black, painted on a transparent ground, or a hole cut into something opaque.

    Args:
        source: content of the file.
        invert: swap hole and known.

    Returns:
        uint8 (H, W), 255 = hole, 0 = known.
    """
    rgb, alpha = read_photo(source), read_alpha(source)
    opaque = alpha > 127
    grey = read_grey(source)
    notes: tuple[str, ...] = ()
    hole = grey > 127
    if opaque.any() and not opaque.all():
        tone = grey[opaque]
        is_flat = max(np.ptp(np.percentile(channel, (2, 98))) for channel in rgb[opaque].T) < _FLAT_SPREAD
        is_poles = bool(((tone < _BLACK) | (tone > _WHITE)).mean() > 0.95)
        if is_flat and np.median(tone) >= _BLACK:
            hole, notes = opaque, ("the mask's painted pixels are taken as the hole, its transparent ones are kept",)
        elif is_poles and not is_flat:
            hole = hole & opaque
        else:
            hole, notes = ~opaque, ("the mask's transparent pixels are taken as the hole, its opaque ones are kept",)
    elif not opaque.any():
        hole = np.zeros_like(hole)
    if invert:
        hole, notes = ~hole, (*notes, "the mask is inverted, as --invert-mask asks")
    return ReadInput(np.where(hole, np.uint8(255), np.uint8(0)), notes)


def split_panels(rgb: NDArray[np.uint8], name: str = "the photo") -> tuple[NDArray[np.uint8], Grey, Grey]:
    """Photo, sketch and mask of the published three-panel picture.

    Raises:
        UsageError: the picture is not three squares side by side.
    """
    height, width = rgb.shape[:2]
    if width != 3 * height:
        raise UsageError(
            f"{name} has {width} x {height} px and no --mask and --sketch beside it; pass both, or one picture of "
            "three squares (photo, sketch, mask)"
        )
    photo, sketch, mask = (np.ascontiguousarray(rgb[:, start : start + height]) for start in range(0, width, height))
    return photo, np.ascontiguousarray(sketch[..., 0]), np.ascontiguousarray(mask[..., 0])


def check_same_size(photo: NDArray[np.uint8], sketch: Grey, mask: Grey) -> None:
    """Raise UsageError unless photo, sketch and mask have one size."""
    sizes = {name: f"{item.shape[1]} x {item.shape[0]}" for name, item in _pairs(photo, sketch, mask)}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise UsageError(f"photo, sketch and mask must have one size (px, upright), got {listed}; save all at one size")


def find_lines(sketch: Grey) -> tuple[Grey, tuple[str, ...]]:
    """The ink of a sketch as it is drawn, thick or thin.

    What most pixels have is the paper; ink is clearly darker, or on dark paper clearly lighter.

    Args:
        sketch: uint8 (H, W).

    Returns:
        uint8 (H, W), 1 = ink; and notes.

    Raises:
        UsageError: not such an array.
    """
    check_grey("sketch", sketch, "black line on white")
    counts = np.bincount(sketch.reshape(-1), minlength=256).cumsum()
    paper = int(np.searchsorted(counts, (sketch.size + 1) // 2))
    is_light = paper > 127
    contrast = paper - sketch.astype(np.int16) if is_light else sketch.astype(np.int16) - paper
    lines = (contrast >= _INK_CONTRAST).astype(np.uint8)
    return lines, () if is_light else ("the sketch has light lines on dark, and is read so",)


def find_hole(mask: Grey) -> Grey:
    """The hole of a mask (grey over 127) as uint8 (H, W), 1 = hole.

    Raises:
        UsageError: not such an array, or one of 0 and 1.
    """
    check_grey("mask", mask, "white hole on black")
    return (mask > 127).astype(np.uint8)


def check_grey(name: str, pixels: Grey, meaning: str) -> None:
    """Raise UsageError unless `pixels` is uint8 (H, W) in grey levels, with at least one pixel."""
    if not isinstance(pixels, np.ndarray) or pixels.ndim != 2 or pixels.dtype != np.uint8 or not pixels.size:
        got = f"{pixels.dtype} of shape {pixels.shape}" if isinstance(pixels, np.ndarray) else type(pixels).__name__
        raise UsageError(f"{name}: expected uint8 (H, W), {meaning}, got {got}")
    if pixels.max() == 1:
        raise UsageError(f"{name}: expected grey levels up to 255, {meaning}, got 0 and 1 only; multiply it by 255")


def looks_inverted(mask: Grey) -> bool:
    """Whether white runs along the whole border of a mask and covers the most of it, but not all."""
    hole = mask > 127
    rim = (hole[0], hole[-1], hole[:, 0], hole[:, -1])
    return bool(all(side.all() for side in rim) and 0.5 < hole.mean() < 1)


def _pairs(*items: NDArray[np.uint8]) -> list[tuple[str, NDArray[np.uint8]]]:
    return list(zip(("photo", "sketch", "mask"), items, strict=True))


def _named(name: str, read: Callable[[bytes], _T], data: bytes) -> _T:
    try:
        return read(data)
    except BrokenImageError as error:
        reason = str(error)  # some say by themselves what helps
        raise BrokenImageError(f"{name}: {reason if '; ' in reason else f'{reason}; {_SAVE_AGAIN}'}") from None
