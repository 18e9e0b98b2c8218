"""Mask families by name, and the one function that draws any of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dpsdata.contracts import UsageError, did_you_mean
from dpsdata.runtime.device import keyed_generator

MASK_FAMILIES = (
    "dps",
    "deepfillv2",
    "deepfillv2-brush",
    "scfegan",
    "lama-thin",
    "lama-medium",
    "lama-thick",
    "pconv-01-10",
    "pconv-10-20",
    "pconv-20-30",
    "pconv-30-40",
    "pconv-40-50",
    "pconv-50-60",
    "center",
    "full",
)
LEAST_SIDE = 16
_FILE_WORDS = ("files:", "pool:")


def is_from_files(family: str) -> bool:
    """Whether masks are read from a folder: `files:DIR` or `pool:DIR`."""
    return family.startswith(_FILE_WORDS)


def check_family(family: str) -> str:
    """Return `family`; raise UsageError unless it is in MASK_FAMILIES or reads `files:DIR` or `pool:DIR`."""
    if family in MASK_FAMILIES or (is_from_files(family) and family not in _FILE_WORDS):
        return family
    hint = did_you_mean(family, MASK_FAMILIES)
    raise UsageError(f"masks: {hint}expected one of {', '.join(MASK_FAMILIES)}, files:DIR or pool:DIR, got {family!r}")


def mask_source_key(family: str) -> str:
    """What the masks of a folder depend on besides their key: a hash of its files; empty for drawn families.

    Raises:
        UsageError: unknown family, no such folder, or no image file in it.
    """
    if not is_from_files(check_family(family)):
        return ""
    from dpsdata.masks.files import open_mask_folder

    return open_mask_folder(family).content_key()


def check_mask_files(family: str, wanted: Sequence[str], known: Iterable[str]) -> None:
    """Raise UsageError where a photo has not one mask of its own in the folder of `files:DIR`.

    Args:
        family: any; only `files:DIR` is looked at.
        wanted: ids of the photos that need a mask.
        known: ids of all photos of the source.
    """
    if family.startswith("files:"):
        from dpsdata.masks.files import open_mask_folder

        open_mask_folder(family).check(wanted, known)


def mask_folders(families: Sequence[str], keys: Mapping[str, str]) -> dict[str, str]:
    """Name of the folder of a built dataset for the masks of each family.

    A drawn family has its own name, `files:.../NAME` the name `files-NAME`. Where two folders of masks would share it,
    the first digits of their content tell them apart.

    Args:
        families: of one build.
        keys: what `mask_source_key` says of each.

    Raises:
        UsageError: two of them are the same masks.
    """
    plain = {family: _plain_folder(family) for family in families}
    names = [name.casefold() for name in plain.values()]
    folders = {
        family: name if names.count(name.casefold()) == 1 else f"{name}-{keys[family][-8:]}"
        for family, name in plain.items()
    }
    seen: dict[str, str] = {}
    for family, folder in folders.items():
        if folder.casefold() in seen:
            raise UsageError(f"masks: {seen[folder.casefold()]} and {family} hold the same masks; keep one")
        seen[folder.casefold()] = family
    return folders


def _plain_folder(family: str) -> str:
    if not is_from_files(check_family(family)):
        return family
    word, _, folder = family.partition(":")
    return f"{word}-" + re.sub(r"[^\w.-]", "_", Path(folder).resolve().name or "root")


def make_mask(family: str, height: int, width: int, seed: int, sample_id: str = "") -> npt.NDArray[np.uint8]:
    """Draw the mask of one sample, or read it.

    Args:
        family: one of MASK_FAMILIES, `files:DIR` (the file of the sample's name) or `pool:DIR` (any of the files).
        height: px, at least 16.
        width: px, at least 16.
        seed: seed of the whole set.
        sample_id: id of the sample; with the seed and the family it decides the mask, and nothing else does.

    Returns:
        uint8 (height, width), known = 0, hole = 1. Never empty.

    Raises:
        UsageError: unknown family, too small a size, no such folder, or no file or several of this sample.
        BrokenImageError: the file cannot be read, is no mask or has no hole.
    """
    return read_or_draw_mask(family, height, width, seed, sample_id)[0]


def read_or_draw_mask(
    family: str,
    height: int,
    width: int,
    seed: int,
    sample_id: str = "",
    photo_size: tuple[int, int] | None = None,
) -> tuple[npt.NDArray[np.uint8], tuple[str, ...]]:
    """The same, with what a person should know about how a file was read.

    Args:
        family: see `make_mask`.
        height: see `make_mask`.
        width: see `make_mask`.
        seed: see `make_mask`.
        sample_id: see `make_mask`.
        photo_size: height and width in px of the photo as it came, to compare the shape of a mask file with.

    Returns:
        The mask and the notes.

    Raises:
        UsageError: see `make_mask`.
        BrokenImageError: see `make_mask`.
    """
    # Here, so that a command line can name the families without loading OpenCV.
    from dpsdata.masks import brush_box, canvas, files, polyline_box, ratio_bins, rotated_rectangle, scribble

    check_family(family)
    if height < LEAST_SIDE or width < LEAST_SIDE:
        raise UsageError(f"masks: expected sides of at least {LEAST_SIDE} px, got {height} x {width}")
    # The folder is no part of the key: the same masks at another place give the same choice.
    generator = keyed_generator(seed, sample_id, "mask files" if is_from_files(family) else f"mask {family}")
    if is_from_files(family):
        return files.load_mask_file(family, height, width, sample_id, generator, photo_size)
    if family == "dps":
        mask = rotated_rectangle.draw_rotated_rectangle(height, width, generator)
    elif family == "deepfillv2":
        mask = brush_box.draw_brush_or_box(height, width, generator)
    elif family == "deepfillv2-brush":
        mask = brush_box.draw_brush(height, width, generator)
    elif family == "scfegan":
        mask = scribble.draw_scribbles(height, width, generator)
    elif family.startswith("lama-"):
        mask = polyline_box.draw_polylines_or_boxes(family, height, width, generator)
    elif family.startswith("pconv-"):
        mask = ratio_bins.draw_ratio_bin(family, height, width, generator)
    else:
        mask = canvas.draw_center(height, width) if family == "center" else canvas.draw_full(height, width)
    return mask, ()
