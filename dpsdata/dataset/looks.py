"""How a photo looks, in a few numbers: a perceptual hash, and how many colours it has."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_SIDE = 16
_GRID_PX = 64
LOOK_BITS = _SIDE * _SIDE


def hash_look(image: NDArray[np.uint8]) -> str:
    """A perceptual hash of uint8 (S, S, 3), 64 hex digits: where brightness rises from left to right, 16 x 16 times."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_SIDE + 1, _SIDE), interpolation=cv2.INTER_AREA).astype(np.int16)
    return np.packbits(small[:, 1:] > small[:, :-1]).tobytes().hex()


def measure_colors(photo: NDArray[np.uint8]) -> tuple[int, float]:
    """Number of colours, and the share of the most frequent, of uint8 (H, W, 3) at 64 x 64 points."""
    rows = np.linspace(0, photo.shape[0] - 1, min(_GRID_PX, photo.shape[0])).astype(int)
    columns = np.linspace(0, photo.shape[1] - 1, min(_GRID_PX, photo.shape[1])).astype(int)
    points = photo[rows[:, None], columns[None, :]].reshape(-1, 3).astype(np.int32)
    counts = np.unique(points @ np.array([65536, 256, 1], np.int32), return_counts=True)[1]
    return len(counts), float(counts.max() / counts.sum())
