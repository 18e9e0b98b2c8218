"""The photo's own lines, to be erased and redrawn."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from dpsdata.hed import HED, load_hed
from dpsdata.sketch import simplify_edges
from models.app.engine import Placement

# The size that datasets are built at, whose lines the networks know.
_SIZE = 256
_SHIFT = 4


def find_own_lines(photo: NDArray[np.uint8], placement: Placement) -> NDArray[np.uint8]:
    """Detect the edges in the face square and thin them, as the dataset builder does.

    Args:
        photo: uint8 (H, W, 3).
        placement: where the face square is.

    Returns:
        uint8 (H, W), 1 = line, one pixel of the 256 px square wide.
    """
    frame = placement.frame(photo.shape[0], photo.shape[1], _SIZE)
    edges = torch.from_numpy(_detector().detect(frame.take_photo(photo)[None]))[:, None]
    return _enlarge(simplify_edges(edges)[0, 0].numpy() > 0, np.array(frame.matrix), photo.shape[:2], frame.scale)


@cache
def _detector() -> HED:
    return load_hed()


def _enlarge(
    lines: NDArray[np.bool_], matrix: NDArray[np.float64], size: tuple[int, ...], scale: float
) -> NDArray[np.uint8]:
    """Draw each line from pixel centre to pixel centre in the photo, so that it is smooth at any size."""
    marks = np.zeros(size[:2], np.uint8)
    back = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
    width = max(1, round(scale))
    segments = []
    for down, right in ((0, 0), (0, 1), (1, 0), (1, 1), (1, -1)):
        here = np.argwhere(lines)
        there = here + np.array([down, right])
        kept = ((there >= 0) & (there < len(lines))).all(axis=1)
        here, there = here[kept], there[kept]
        kept = lines[there[:, 0], there[:, 1]]
        pair = np.stack([here[kept], there[kept]], axis=1)[..., ::-1]
        segments.append(pair @ back[:2, :2].T + back[:2, 2])
    points = np.round(np.concatenate(segments) * 2**_SHIFT).astype(np.int32)
    cv2.polylines(marks, list(points), False, 1, width, cv2.LINE_8, _SHIFT)
    return marks
