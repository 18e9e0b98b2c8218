"""Masks and sketches as people have them, brought to the contract on disk: white hole, black line on white."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from dpsdata.contracts import BrokenImageError, UsageError
from dpsdata.images.codec import read_layer
from dpsdata.images.photo_file import PhotoFile, read_photo_file
from dpsdata.masks.reading import (
    ReadMask,
    describe_hole,
    is_filled_shape,
    is_line_drawing,
    looks_inverted,
    read_mask_file,
    read_mask_pixels,
)
from dpsdata.sketch.reading import ReadSketch, find_ink, read_sketch_file, read_sketch_pixels

Grey = NDArray[np.uint8]
_S = TypeVar("_S")
_T = TypeVar("_T")
SWAPPED = "the mask is a line drawing and the sketch a filled shape, so that the two look swapped"
SAME = "the sketch is the filled shape of the mask and no drawing"
_SAVE_AGAIN = "save it again as PNG or JPEG"


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
    photo: bytes,
    sketch: bytes | None,
    mask: bytes | None,
    invert_mask: bool = False,
    names: tuple[str, str, str] = ("the photo", "the sketch", "the mask"),
) -> EditInputs:
    """Read the three files of an edit, or the published three-panel picture (photo | sketch | mask) in one.

    Args:
        photo: content of the photo's file.
        sketch: content of the sketch's file; None for three panels.
        mask: content of the mask's file; None for three panels.
        invert_mask: the black or opaque part is the hole, other than usual.
        names: what to call photo, sketch and mask in errors.

    Raises:
        UsageError: one of sketch and mask is missing, or the sizes differ.
        BrokenImageError: a file is no image.
    """
    name = names[0]
    file = _named(name, read_photo_file, photo)
    if sketch is None and mask is None:
        panel, sketch_read, mask_read = split_panels(*read_layer(photo), invert_mask, name)
        order = "the order is photo, sketch, mask"
        file = file.cut(slice(None), slice(0, panel.shape[1]))
    elif sketch is None or mask is None:
        raise UsageError(f"an edit needs both --mask and --sketch; --{'mask' if mask is None else 'sketch'} is missing")
    else:
        order = "pass the filled shape as --mask and the drawing as --sketch"
        for role, data in (("--mask", mask), ("--sketch", sketch)):
            if data == photo:
                raise UsageError(f"{name} and {role} are the same file; pass the photo and a {role[2:]} made for it")
        try:
            sketch_read = _named(names[1], read_sketch_file, sketch)
            mask_read = _named(names[2], lambda data: read_mask_file(data, invert_mask), mask)
        except BrokenImageError:
            if _would_fit_swapped(mask, sketch):
                raise UsageError(f"{SWAPPED}; {order}") from None
            raise
    check_same_size(file.pixels, sketch_read.pixels, mask_read.pixels)
    fault = find_mix_up(mask_read.pixels > 127, sketch_read.pixels < 128)
    if fault:
        raise UsageError(f"{fault}; {order}")
    if mask is not None and mask == sketch and not invert_mask:
        raise UsageError("--mask and --sketch are the same file; paint the hole in one and draw its lines in another")
    notes = [*file.notes, *sketch_read.notes, *mask_read.notes]
    if not invert_mask and looks_inverted(mask_read.pixels):
        notes.append(
            "the mask looks inverted: white all around a black island; white is edited as always, "
            "pass --invert-mask if you mean the black part"
        )
    notes += describe_hole(mask_read.pixels > 127)
    return EditInputs(file, sketch_read.pixels, mask_read.pixels, tuple(notes))


def find_mix_up(hole: NDArray[np.bool_], lines: NDArray[np.bool_]) -> str:
    """Why a hole and the lines beside it, both (H, W), are not what they were passed as; an empty text where they may.

    Thin holes and dense drawings are what they are; lines that are a filled shape, beside a hole that is a drawing or
    that same shape, are not.
    """
    if not is_filled_shape(lines):
        return ""
    if is_line_drawing(hole) or (hole.mean() > 0.5 and is_line_drawing(~hole)):
        return SWAPPED
    shared = float((hole & lines).sum() / max(1, (hole | lines).sum()))
    return SAME if shared > 0.95 or (shared < 0.05 and bool((hole | lines).mean() > 0.95)) else ""


def _would_fit_swapped(mask: bytes, sketch: bytes) -> bool:
    """Whether the mask's file is a line drawing, and the sketch's file a filled shape."""
    try:
        lines, hole = read_sketch_file(mask).pixels < 128, read_mask_file(sketch).pixels > 127
    except BrokenImageError:
        return False
    return is_line_drawing(lines) and is_filled_shape(hole)


def split_panels(
    pixels: NDArray[np.uint8], alpha: NDArray[np.uint8], invert_mask: bool = False, name: str = "the photo"
) -> tuple[NDArray[np.uint8], ReadSketch, ReadMask]:
    """Photo, sketch and mask of the published three-panel picture, each read as a file of its own would be.

    Args:
        pixels: uint8 (H, 3H) or (H, 3H, 3) RGB as painted.
        alpha: uint8 (H, 3H), 255 = opaque.
        invert_mask: the black or opaque part is the hole, other than usual.
        name: what to call the picture in errors.

    Raises:
        UsageError: the picture is not three squares side by side.
        BrokenImageError: the second is no sketch, or the third no mask.
    """
    height, width = pixels.shape[:2]
    if width != 3 * height:
        raise UsageError(
            f"{name} has {width} x {height} px and no --mask and --sketch beside it; pass both, or one picture of "
            "three squares (photo, sketch, mask)"
        )
    rgb = pixels if pixels.ndim == 3 else np.stack([pixels] * 3, axis=2)
    panels = [
        (np.ascontiguousarray(rgb[:, start : start + height]), np.ascontiguousarray(alpha[:, start : start + height]))
        for start in range(0, width, height)
    ]
    photo, opacity = panels[0][0], panels[0][1][..., None].astype(np.uint32)
    return (
        ((photo * opacity + 255 * (255 - opacity) + 127) // 255).astype(np.uint8),
        _named("the sketch in the middle", lambda panel: read_sketch_pixels(panel[0], panel[1]), panels[1]),
        _named("the mask on the right", lambda panel: read_mask_pixels(panel[0], panel[1], invert_mask), panels[2]),
    )


def check_same_size(photo: NDArray[np.uint8], sketch: Grey, mask: Grey) -> None:
    """Raise UsageError unless photo, sketch and mask have one size."""
    sizes = {name: f"{item.shape[1]} x {item.shape[0]}" for name, item in _pairs(photo, sketch, mask)}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise UsageError(f"photo, sketch and mask must have one size (px, upright), got {listed}; save all at one size")


def find_lines(sketch: Grey) -> tuple[Grey, tuple[str, ...]]:
    """The ink of a sketch as it is drawn, thick or thin.

    Found as `dpsdata.sketch.reading.find_ink` says.

    Args:
        sketch: uint8 (H, W).

    Returns:
        uint8 (H, W), 1 = ink; and notes.

    Raises:
        UsageError: not such an array.
    """
    check_grey("sketch", sketch, "black line on white")
    lines, notes, _ = find_ink(sketch)
    return lines.astype(np.uint8), notes


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


def _pairs(*items: NDArray[np.uint8]) -> list[tuple[str, NDArray[np.uint8]]]:
    return list(zip(("photo", "sketch", "mask"), items, strict=True))


def _named(name: str, read: Callable[[_S], _T], data: _S) -> _T:
    try:
        return read(data)
    except BrokenImageError as error:
        reason = str(error)  # some say by themselves what helps
        raise BrokenImageError(f"{name}: {reason if '; ' in reason else f'{reason}; {_SAVE_AGAIN}'}") from None
