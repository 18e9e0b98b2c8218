"""Mask families by name, and the one function that draws any of them."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dpsdata.contracts import UsageError
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
_FILES = "files:"


def check_family(family: str) -> str:
    """Return `family`; raise UsageError unless it is in MASK_FAMILIES or reads `files:DIR`."""
    if family in MASK_FAMILIES or (family.startswith(_FILES) and family != _FILES):
        return family
    raise UsageError(f"masks: expected one of {', '.join(MASK_FAMILIES)} or files:DIR, got {family!r}")


def mask_folder(family: str) -> str:
    """Name of the folder that holds the masks of a family: the family, or `files-NAME` for `files:.../NAME`."""
    check_family(family)
    if not family.startswith(_FILES):
        return family
    return "files-" + re.sub(r"[^\w.-]", "_", Path(family.removeprefix(_FILES)).resolve().name or "root")


def mask_source_key(family: str) -> str:
    """What the masks of `files:DIR` depend on besides their key: a hash of its listing; empty for drawn families.

    Raises:
        UsageError: unknown family, or no such folder.
    """
    check_family(family)
    if not family.startswith(_FILES):
        return ""
    root = Path(family.removeprefix(_FILES))
    if not root.is_dir():
        raise UsageError(f"masks: {family}: expected a folder of mask images, white = hole")
    listing = sorted(
        (path.relative_to(root).as_posix(), path.stat().st_size, path.stat().st_mtime_ns)
        for path in root.rglob("*")
        if path.is_file()
    )
    return hashlib.sha256(repr(listing).encode()).hexdigest()[:24]


def make_mask(family: str, height: int, width: int, seed: int, sample_id: str = "") -> npt.NDArray[np.uint8]:
    """Draw the mask of one sample.

    Args:
        family: one of MASK_FAMILIES, or `files:DIR`.
        height: px, at least 16.
        width: px, at least 16.
        seed: seed of the whole set.
        sample_id: id of the sample; with the seed and the family it decides the mask, and nothing else does.

    Returns:
        uint8 (height, width), known = 0, hole = 1. Never empty, but for `files:DIR` where the file is.

    Raises:
        UsageError: unknown family or too small a size.
        BrokenImageError: `files:DIR` and the file cannot be read.
    """
    # Here, so that a command line can name the families without loading OpenCV.
    from dpsdata.masks import brush_box, files, polyline_box, ratio_bins, rotated_rectangle, scribble, simple

    check_family(family)
    if height < LEAST_SIDE or width < LEAST_SIDE:
        raise UsageError(f"masks: expected sides of at least {LEAST_SIDE} px, got {height} x {width}")
    # The folder is no part of the key: the same masks at another place give the same choice.
    generator = keyed_generator(seed, sample_id, "mask files" if family.startswith(_FILES) else f"mask {family}")
    if family.startswith(_FILES):
        return files.load_mask_file(family.removeprefix(_FILES), height, width, sample_id, generator)
    if family == "dps":
        return rotated_rectangle.draw_rotated_rectangle(height, width, generator)
    if family == "deepfillv2":
        return brush_box.draw_brush_or_box(height, width, generator)
    if family == "deepfillv2-brush":
        return brush_box.draw_brush(height, width, generator)
    if family == "scfegan":
        return scribble.draw_scribbles(height, width, generator)
    if family.startswith("lama-"):
        return polyline_box.draw_polylines_or_boxes(family, height, width, generator)
    if family.startswith("pconv-"):
        return ratio_bins.draw_ratio_bin(family, height, width, generator)
    return simple.draw_center(height, width) if family == "center" else simple.draw_full(height, width)
