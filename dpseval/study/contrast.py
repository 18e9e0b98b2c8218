"""How much contrast an output keeps in the hole: grey or constant holes have none."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dpsdata.contracts import level_folder
from dpsdata.dataset.torch_dataset import EditDataset
from dpsdata.images.codec import read_photo, tensor_to_photo

_FLAT = 2.0  # grey levels; a share of less says nothing


def hole_contrasts(dataset: EditDataset, outputs: Path, method: str, level: float) -> NDArray[np.float64]:
    """Standard deviation of the luminance in the hole, of the output and of the truth, for each photo.

    Args:
        dataset: photos and masks.
        outputs: folder of outputs.
        method: folder of the method.
        level: refinement level.

    Returns:
        (N, 2) in grey levels of 255, of the photos whose truth is not flat in the hole.
    """
    found = []
    for index, name in enumerate(dataset.ids):
        sample = dataset[index]
        hole = sample["mask"][0].numpy() > 0
        if not hole.any():
            continue
        truth = _luminance(tensor_to_photo(sample["photo"][None])[0])[hole].std()
        if truth > _FLAT:
            output = read_photo(outputs / method / level_folder(level) / f"{name}.png")
            found.append((_luminance(output)[hole].std(), truth))
    return np.array(found, np.float64).reshape(-1, 2)


def _luminance(photo: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.asarray(cv2.cvtColor(photo.astype(np.float32), cv2.COLOR_RGB2GRAY), np.float32)
