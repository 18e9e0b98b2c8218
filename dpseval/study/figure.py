"""One picture of what the methods paint, of photos that may be shown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dpsdata.contracts import level_folder
from dpsdata.dataset.torch_dataset import EditDataset
from dpsdata.images.codec import encode_jpeg, read_photo, tensor_to_photo
from dpsdata.sketch.reading import read_sketch_file

_SIDE_PX = 160
_GAP_PX = 4
_CAPTION_PX = 22
_HOLE_RGB = (255, 214, 102)

Panel = tuple[str, float | None]


def draw_figure(
    dataset: EditDataset, outputs: Path, sketches: Path | None, ids: Sequence[str], panels: Sequence[Panel]
) -> bytes:
    """Draw one row for each photo: the photo, hole and sketch over it, then each method's result.

    Args:
        dataset: photos and masks.
        outputs: folder of outputs.
        sketches: folder of ID.png; None for the stored ones.
        ids: of the photos.
        panels: method and level of each result.

    Returns:
        A JPEG file.
    """
    labels = ["photo", "hole, sketch", *(name if at is None else f"{name} {at:g}" for name, at in panels)]
    rows = [_captions(labels)]
    for name in ids:
        sample = dataset[dataset.ids.index(name)]
        photo, hole = tensor_to_photo(sample["photo"][None])[0], sample["mask"][0].numpy() > 0
        stored = sample["sketch"][0].numpy() > 0
        lines = stored if sketches is None else read_sketch_file(sketches / f"{name}.png").pixels < 128
        drawn = photo.copy()
        drawn[hole] = _HOLE_RGB
        drawn[hole & lines] = 0
        results = [read_photo(outputs / method / _folder(at) / f"{name}.png") for method, at in panels]
        rows.append(np.hstack([_enlarge(picture) for picture in (photo, drawn, *results)]))
    return encode_jpeg(np.vstack(rows), 88)


def _folder(level: float | None) -> str:
    return "none" if level is None else level_folder(level)


def _enlarge(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    large = cv2.resize(picture, (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_CUBIC)
    return np.pad(large, ((0, _GAP_PX), (0, _GAP_PX), (0, 0)), constant_values=255)


def _captions(labels: Sequence[str]) -> NDArray[np.uint8]:
    row = np.full((_CAPTION_PX, len(labels) * (_SIDE_PX + _GAP_PX), 3), 255, np.uint8)
    for index, label in enumerate(labels):
        place = (index * (_SIDE_PX + _GAP_PX) + 2, _CAPTION_PX - 8)
        cv2.putText(row, label, place, cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
    return row
