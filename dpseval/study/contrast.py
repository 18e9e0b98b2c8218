"""How much contrast an output keeps in the hole: grey or constant holes have none."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dpsdata.contracts import level_folder
from dpsdata.dataset import EditDataset
from dpsdata.image_io import read_photo, tensor_to_photo

_FLAT = 1e-6


def contrast_ratios(dataset: EditDataset, outputs: Path, method: str, level: float) -> list[float]:
    """Standard deviation of the luminance in the hole, as a share of the truth's, for each photo.

    Args:
        dataset: photos and masks.
        outputs: folder of outputs.
        method: folder of the method.
        level: refinement level.

    Returns:
        One number for each photo whose truth is not flat in the hole.
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
            found.append(float(_luminance(output)[hole].std() / truth))
    return found


def _luminance(photo: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.asarray(cv2.cvtColor(photo.astype(np.float32), cv2.COLOR_RGB2GRAY), np.float32)
