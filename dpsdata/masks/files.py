"""Masks from a folder of image files, white = hole: the family `files:DIR`."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from dpsdata.contracts import BrokenImageError, UsageError, sample_id
from dpsdata.images.codec import read_mask, resize_nearest
from dpsdata.masks.canvas import Mask

_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")


def load_mask_file(folder: str, height: int, width: int, identifier: str, generator: np.random.Generator) -> Mask:
    """The mask of `folder` with the sample's id, or, where there is none, one of all of them by chance.

    Args:
        folder: folder of image files, searched with its subfolders; `a/b.png` has the id `a__b`.
        height: px.
        width: px.
        identifier: id of the sample.
        generator: source of the choice, made among the files in the order of their paths.

    Returns:
        uint8 (height, width), hole = 1, resized without mixing values; empty where the file is all black or
        where its hole is thinner than a pixel of the smaller size.

    Raises:
        UsageError: no such folder, or no image file in it.
        BrokenImageError: the chosen file cannot be read.
    """
    root = Path(folder)
    if not root.is_dir():
        raise UsageError(f"masks: files:{folder}: expected a folder of mask images, and there is none")
    by_id = _list_masks(root, root.stat().st_mtime_ns)
    if not by_id:
        raise UsageError(f"masks: files:{folder}: no image file there; expected {', '.join(_SUFFIXES)}")
    names = list(by_id)
    path = by_id[identifier if identifier in by_id else names[int(generator.integers(len(names)))]]
    try:
        mask = read_mask(path)
    except BrokenImageError as error:
        raise BrokenImageError(f"mask {path.name}: {error}") from None
    return mask if mask.shape == (height, width) else resize_nearest(mask, height, width)


@lru_cache(maxsize=8)
def _list_masks(root: Path, changed_ns: int) -> dict[str, Path]:
    """Paths by id, in the order of the paths; the time of the last change is a part of the cache's key."""
    paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in _SUFFIXES)
    return {sample_id(path.relative_to(root).as_posix()): path for path in paths}
