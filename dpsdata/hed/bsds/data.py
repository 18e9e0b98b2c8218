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
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
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


@dataclass(frozen=True)
class LabelledPhoto:
    """A photo and what its annotators marked.

    Attributes:
        photo: uint8 (H, W, 3) RGB.
        boundaries: bool (A, H, W), one map for each annotator.
    """

    photo: NDArray[np.uint8]
    boundaries: NDArray[np.bool_]


class CropSampler:
    """Draws scaled, rotated, flipped crops with labels 1 (edge), 0 (background) and 0.5 (ignored).

    Boundary pixels are moved as points and not as pixels: resampling a one-pixel line loses or thickens it.
    """

    def __init__(self, photos: Sequence[LabelledPhoto], positive_votes: int) -> None:
        self.photos = [item.photo for item in photos]
        self.positive_votes = positive_votes
        self.points = [
            [np.argwhere(boundary)[:, ::-1].astype(np.float32) for boundary in item.boundaries] for item in photos
        ]

    def crop(
        self, generator: np.random.Generator, crop_px: int, scale_low: float, scale_high: float
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """One crop.

        Args:
            generator: all that is random comes from it.
            crop_px: side of the crop.
            scale_low: smallest scale of the photo; drawn uniformly in the logarithm.
            scale_high: largest scale.

        Returns:
            uint8 (crop_px, crop_px, 3) RGB and float32 (crop_px, crop_px) labels.
        """
        index = int(generator.integers(len(self.photos)))
        photo: NDArray[Any] = self.photos[index]
        matrix = self._transform(generator, photo.shape[:2], crop_px, scale_low, scale_high)
        scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
        if scale < 0.7:  # bilinear sampling alone would alias
            photo = cv2.GaussianBlur(photo, (0, 0), 0.4 / scale)
        size = (crop_px, crop_px)
        image = cv2.warpAffine(photo, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        inside: NDArray[Any] = np.ones(photo.shape[:2], np.uint8)
        inside = cv2.warpAffine(inside, matrix, size, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)
        votes = self._votes(index, matrix, crop_px, scale)
        labels = np.where(votes >= self.positive_votes, 1.0, np.where(votes > 0, 0.5, 0.0)).astype(np.float32)
        labels[inside == 0] = 0.5
        return _recolour(generator, image), labels

    @staticmethod
    def _transform(
        generator: np.random.Generator, shape: tuple[int, ...], crop_px: int, scale_low: float, scale_high: float
    ) -> NDArray[np.float64]:
        scale = float(np.exp(generator.uniform(np.log(scale_low), np.log(scale_high))))
        turned = generator.random() < 0.4
        angle = generator.uniform(0, 360) if turned else generator.uniform(-12, 12)
        radians = np.deg2rad(angle)
        linear = scale * np.array([[np.cos(radians), -np.sin(radians)], [np.sin(radians), np.cos(radians)]])
        if generator.random() < 0.5:
            linear[:, 0] *= -1
        reach = crop_px / scale / 2
        centre = [
            generator.uniform(min(reach, length / 2), max(length - reach, length / 2)) for length in reversed(shape)
        ]
        offset = np.array([(crop_px - 1) / 2] * 2) - linear @ np.array(centre)
        return np.column_stack([linear, offset])

    def _votes(self, index: int, matrix: NDArray[np.float64], crop_px: int, scale: float) -> NDArray[np.uint8]:
        votes = np.zeros(crop_px * crop_px, np.uint8)
        # Above full scale neighbouring points fall more than a pixel apart: four points for each close the gaps.
        offsets = [(0.0, 0.0)] if scale <= 1 else [(-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25)]
        linear = matrix[:, :2].astype(np.float32)
        for points in self.points[index]:
            marked = np.zeros(crop_px * crop_px, bool)
            for offset in offsets:
                shift = (matrix[:, :2] @ np.array(offset) + matrix[:, 2]).astype(np.float32)
                moved = np.rint(points @ linear.T + shift).astype(np.int32)
                keep = ((moved >= 0) & (moved < crop_px)).all(axis=1)
                marked[moved[keep, 1] * crop_px + moved[keep, 0]] = True
            votes += marked
        return votes.reshape(crop_px, crop_px)


def _recolour(generator: np.random.Generator, image: NDArray[Any]) -> NDArray[np.uint8]:
    """Vary contrast, brightness and colour balance; one photo in ten turns grey."""
    pixels = image.astype(np.float32)
    if generator.random() < 0.1:
        pixels = np.repeat(pixels.mean(axis=2, keepdims=True), 3, axis=2)
    gain = generator.uniform(0.75, 1.25) * generator.uniform(0.94, 1.06, size=3)
    pixels = (pixels - 128) * gain.astype(np.float32) + 128 + np.float32(generator.uniform(-20, 20))
    recoloured: NDArray[np.uint8] = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    return recoloured
