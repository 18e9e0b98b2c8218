"""Masks from a folder: `files:DIR` pairs its images with photos by name, `pool:DIR` deals them out by chance."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from dpsdata.contracts import IMAGE_SUFFIXES, BrokenImageError, UsageError, sample_id
from dpsdata.images.codec import crop_square, resize_nearest
from dpsdata.masks.canvas import Mask
from dpsdata.masks.reading import MASK_ERROR, describe_hole, looks_inverted, read_mask_file

FILES, POOL = "files:", "pool:"
_SEPARATOR = "__"


@dataclass(frozen=True)
class MaskFolder:
    """The mask files of a folder and its subfolders, without hidden ones.

    Attributes:
        root: the folder.
        paths: of all files, sorted by their names below the root.
        by_id: by the id of a photo of the same name: `a/b.png` is the mask of `a__b`.
        by_tail: by the name without one or more of its folders.
    """

    root: Path
    paths: tuple[Path, ...]
    by_id: dict[str, tuple[Path, ...]]
    by_tail: dict[str, tuple[Path, ...]]

    def candidates(self, identifier: str) -> tuple[Path, ...]:
        """Files that may be the mask of a photo: those of its whole name, else those that lack or add a folder."""
        exact = self.by_id.get(identifier, ())
        if exact:
            return exact
        parts = identifier.split(_SEPARATOR)
        shorter = [
            path for start in range(1, len(parts)) for path in self.by_id.get(_SEPARATOR.join(parts[start:]), ())
        ]
        return (*shorter, *self.by_tail.get(identifier, ()))

    def find(self, identifier: str) -> Path:
        """The mask of one photo.

        Raises:
            UsageError: there is none, or more than one.
        """
        found = self.candidates(identifier)
        if len(found) == 1:
            return found[0]
        raise UsageError(
            f"masks: files:{self.root}: {self._describe_gap(identifier)}; name each mask as its photo, or assign "
            f"them at random with pool:{self.root}"
        )

    def check(self, wanted: Sequence[str], known: Iterable[str]) -> None:
        """Raise UsageError unless each photo has one mask of its own.

        Args:
            wanted: ids of the photos that need one.
            known: ids of all photos, to tell whether a name without folders fits one alone.
        """
        users: dict[Path, list[str]] = {}
        for name in known:
            for path in self.candidates(name):
                users.setdefault(path, []).append(name)
        found = {name: self.candidates(name) for name in wanted}
        lacking = [name for name in wanted if not found[name]]
        doubled = [name for name in wanted if len(found[name]) > 1]
        shared = [name for name in wanted if len(found[name]) == 1 and len(users.get(found[name][0], ())) > 1]
        if lacking:
            reason = f"{len(lacking):,} of {len(wanted):,} photos have no mask: {self._describe_gap(lacking[0])}"
        elif doubled:
            reason = (
                f"{len(doubled):,} of {len(wanted):,} photos have more than one mask: {self._describe_gap(doubled[0])}"
            )
        elif shared:
            path = found[shared[0]][0]
            first, second = users[path][:2]
            reason = f"{self._name(path)} may be the mask of {len(users[path])} photos, such as {first} and {second}"
        else:
            return
        raise UsageError(
            f"masks: files:{self.root}: {reason}; name each mask as its photo, or assign them at random with "
            f"pool:{self.root}"
        )

    def content_key(self) -> str:
        """Hash of the names and bytes of all files: the same wherever the folder lies and whenever it was copied."""
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            digests = list(pool.map(_hash_file, self.paths))
        names = [sample_id(self._name(path)) + path.suffix.lower() for path in self.paths]
        text = "\n".join(f"{name}\t{digest}" for name, digest in zip(names, digests, strict=True))
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()[:24]}"

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _describe_gap(self, identifier: str) -> str:
        found = self.candidates(identifier)
        if found:
            return f"{identifier} has {', '.join(map(self._name, found[:3]))}"
        example = f", such as {self._name(self.paths[0])}" if self.paths else ""
        count = len(self.paths)
        return (
            f"{identifier} would be {identifier.replace(_SEPARATOR, '/')}.png, and the folder holds {count:,}{example}"
        )


def open_mask_folder(family: str) -> MaskFolder:
    """The folder of `files:DIR` or `pool:DIR`, listed again where a file came, went or was renamed.

    Raises:
        UsageError: no such folder, or no image file in it.
    """
    word, _, folder = family.partition(":")
    root = Path(folder)
    if not root.is_dir():
        raise UsageError(f"masks: {family}: expected a folder of mask images, but there is none")
    listed = _list_masks(root, _folder_times(root))
    if not listed.paths:
        raise UsageError(f"masks: {word}:{folder}: no image file there; expected PNG or another kind of image")
    return listed


def load_mask_file(
    family: str,
    height: int,
    width: int,
    identifier: str,
    generator: np.random.Generator,
    photo_size: tuple[int, int] | None = None,
) -> tuple[Mask, tuple[str, ...]]:
    """The mask of a photo from `files:DIR`, or one of all in `pool:DIR` by chance.

    Args:
        family: `files:DIR` or `pool:DIR`; the folder is searched with its subfolders.
        height: px.
        width: px.
        identifier: id of the sample.
        generator: source of the choice, made among the files in the order of their paths.
        photo_size: height and width in px of the photo before it was cropped and resized, where that is known; a mask
            of `files:DIR` must have the same shape, or be square.

    Returns:
        uint8 (height, width), hole = 1, resized without mixing values, cropped to its middle square first where a
        square is asked for, as photos are; and what a person should know.

    Raises:
        UsageError: no such folder, no image file in it, or none or several of this photo.
        BrokenImageError: the file cannot be read, is no mask, has no hole, or has another shape than the photo.
    """
    listed = open_mask_folder(family)
    is_pool = family.startswith(POOL)
    path = listed.paths[int(generator.integers(len(listed.paths)))] if is_pool else listed.find(identifier)
    try:
        read = read_mask_file(path)
    except BrokenImageError as error:
        raise BrokenImageError(f"{MASK_ERROR}{path.name}: {error}") from None
    mask = (read.pixels > 127).astype(np.uint8)
    rows, columns = mask.shape
    if rows != columns and not is_pool and photo_size is not None:
        high, wide = photo_size
        if abs(rows * wide - columns * high) > max(rows, columns, high, wide):  # more than a pixel of rounding
            raise BrokenImageError(
                f"{MASK_ERROR}{path.name}: {columns} x {rows} px, another shape than its photo of {wide} x {high} px; "
                "save both at one size"
            )
    notes = [*read.notes, *describe_hole(mask == 1)]
    if looks_inverted(read.pixels):
        notes.append("the mask looks inverted: white all around a black island; white is the hole")
    if not mask.any():
        raise BrokenImageError(f"{MASK_ERROR}{path.name}: it has no hole; paint white what should change")
    if height == width and rows != columns:
        mask = crop_square(mask)
    if mask.shape != (height, width):
        mask = resize_nearest(mask, height, width)
    if not mask.any():
        raise BrokenImageError(f"{MASK_ERROR}{path.name}: nothing of its hole is left at {width} x {height} px")
    return mask, tuple(notes)


def _hash_file(path: Path) -> str:
    if not path.exists() or path.is_file():  # opening a pipe would wait for a writer
        try:
            return hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise UsageError(f"masks: {path}: cannot be read ({error.strerror})") from None
    raise UsageError(f"masks: {path}: not an ordinary file but a pipe, a socket or a device; take it away")


def _folder_times(root: Path) -> tuple[tuple[str, int], ...]:
    return tuple(sorted((folder, Path(folder).stat().st_mtime_ns) for folder, _, _ in os.walk(root)))


@lru_cache(maxsize=8)
def _list_masks(root: Path, times: tuple[tuple[str, int], ...]) -> MaskFolder:
    """The listing; the times of the last change of each folder are a part of the cache's key."""
    found: list[tuple[str, Path]] = []
    for folder, names, files in os.walk(root):
        names[:] = [name for name in names if not name.startswith(".") and name != "__MACOSX"]
        for name in files:
            if Path(name).suffix.lower() in IMAGE_SUFFIXES and not name.startswith("."):
                path = Path(folder, name)
                found.append((path.relative_to(root).as_posix(), path))
    found.sort()
    by_id: dict[str, tuple[Path, ...]] = {}
    by_tail: dict[str, tuple[Path, ...]] = {}
    for name, path in found:
        identifier = sample_id(name)
        by_id[identifier] = (*by_id.get(identifier, ()), path)
        parts = identifier.split(_SEPARATOR)
        for start in range(1, len(parts)):
            tail = _SEPARATOR.join(parts[start:])
            by_tail[tail] = (*by_tail.get(tail, ()), path)
    return MaskFolder(root, tuple(path for _, path in found), by_id, by_tail)
