"""Read BSDS500 as it was converted for this project: photos, and one 16-bit PNG of boundaries per photo.

    FOLDER/index.csv                 split, id, height, width, annotators
    FOLDER/{train,val,test}/ID.jpg   the photo
    FOLDER/{train,val,test}/ID.png   16 bit; bit i is set where annotator i marks a boundary

The photos are for research and teaching only, by the terms of the Berkeley Computer Vision Group.
"""

from __future__ import annotations

import csv
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dpsdata.contracts import BrokenImageError, MissingError, UsageError
from dpsdata.images.codec import read_edges, read_photo

SPLITS = ("train", "val", "test")
_COLUMNS = ("split", "id", "height", "width", "annotators")
_MAX_INDEX_BYTES = 2**20


@dataclass(frozen=True)
class BsdsSample:
    """One photo and its boundaries, still on disk.

    Attributes:
        id: name of the files without their suffix.
        path: the photo.
        height: height in pixels.
        width: width in pixels.
        annotator_count: how many people marked the boundaries of this photo.
    """

    id: str
    path: Path
    height: int
    width: int
    annotator_count: int

    def photo(self) -> NDArray[np.uint8]:
        """Read the photo.

        Returns:
            (H, W, 3) uint8, RGB.

        Raises:
            MissingError: the file is missing, damaged, or of another size than the index says.
        """
        try:
            photo = read_photo(self.path)
        except BrokenImageError as error:
            raise MissingError(f"{self.path}: the BSDS500 photo cannot be read ({error})") from error
        self._check_size(self.path, photo.shape[:2])
        return photo

    def boundaries(self) -> NDArray[np.bool_]:
        """Read the boundaries that each annotator marked.

        Returns:
            (A, H, W) bool.

        Raises:
            MissingError: the file is missing, damaged, or does not agree with the index.
        """
        path = self.path.with_suffix(".png")
        try:
            codes = read_edges(path)
        except BrokenImageError as error:
            raise MissingError(f"{path}: the BSDS500 boundaries cannot be read ({error})") from error
        self._check_size(path, codes.shape)
        if int(codes.max()) >> self.annotator_count:
            raise MissingError(
                f"{path}: expected a 16-bit PNG with the bits of {self.annotator_count} annotators, "
                f"got the value {int(codes.max())}; convert BSDS500 again"
            )
        bits = np.arange(self.annotator_count, dtype=np.uint16)[:, None, None]
        return (codes >> bits & 1).astype(np.bool_)

    def _check_size(self, path: Path, shape: tuple[int, ...]) -> None:
        if shape != (self.height, self.width):
            raise MissingError(
                f"{path}: expected {self.height} x {self.width} pixels (height x width) as in index.csv, "
                f"got {shape[0]} x {shape[1]}; convert BSDS500 again"
            )


def read_bsds(folder: str | os.PathLike[str], split: str) -> list[BsdsSample]:
    """List the samples of one split, in the order of the index.

    Args:
        folder: the folder that holds `index.csv`.
        split: `train` (200 photos), `val` (100) or `test` (200).

    Returns:
        The samples; their files are read when they are asked for.

    Raises:
        UsageError: there is no split of that name.
        MissingError: the folder, the index or a file of the split is missing, or the index is damaged.
    """
    if split not in SPLITS:
        raise UsageError(f"split: expected train, val or test, got {split!r}")
    root = Path(folder)
    samples = [sample for row_split, sample in _read_index(root) if row_split == split]
    if not samples:
        raise MissingError(f"{root / 'index.csv'}: no sample of the split {split} is listed")
    for sample in samples:
        for path in (sample.path, sample.path.with_suffix(".png")):
            if not path.is_file():
                raise MissingError(f"{path} is missing: index.csv lists it; copy the BSDS500 folder again")
    return samples


def _read_index(root: Path) -> list[tuple[str, BsdsSample]]:
    index = root / "index.csv"
    if not index.is_file():
        raise MissingError(
            f"{index} is missing: expected the BSDS500 folder with index.csv ({','.join(_COLUMNS)}) and "
            "train/, val/, test/ holding ID.jpg and ID.png (16 bit, bit i = annotator i)"
        )
    if index.stat().st_size > _MAX_INDEX_BYTES:
        raise MissingError(f"{index}: expected the list of 500 photos, got a file of {index.stat().st_size} bytes")
    try:
        with index.open(encoding="utf-8", newline="") as lines:
            rows = csv.DictReader(lines)
            if tuple(rows.fieldnames or ()) != _COLUMNS:
                raise MissingError(f"{index}: expected the columns {','.join(_COLUMNS)}, got {rows.fieldnames}")
            return [_parse_row(root, row) for row in rows]
    except (OSError, csv.Error, UnicodeDecodeError, ValueError, TypeError) as error:
        raise MissingError(f"{index}: the index cannot be read ({error}); copy the BSDS500 folder again") from error


def _parse_row(root: Path, row: dict[str, str]) -> tuple[str, BsdsSample]:
    height, width, annotator_count = (int(row[name]) for name in _COLUMNS[2:])
    if row["split"] not in SPLITS or not re.fullmatch(r"[\w-]{1,100}", row["id"]):
        raise ValueError(f"no split and ID: {row['split']!r}, {row['id']!r}")
    if min(height, width) < 1 or not 1 <= annotator_count <= 16:
        raise ValueError(f"size or number of annotators out of range at {row['id']}")
    path = root / row["split"] / f"{row['id']}.jpg"
    return row["split"], BsdsSample(row["id"], path, height, width, annotator_count)
