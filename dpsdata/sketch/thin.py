"""Thinning by neighbourhood codes and look-up tables."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

BitArray = NDArray[np.uint8]


def _thinning_tables() -> tuple[BitArray, BitArray]:
    """Which pixels the two Guo-Hall sub-iterations keep, by the 8 neighbours as bits (E first, then NE, N, ...)."""
    tables = (np.ones(256, np.uint8), np.ones(256, np.uint8))
    for code in range(256):
        n = [bool(code >> bit & 1) for bit in range(8)]
        ring = [*n, n[0]]
        crossings = sum(not ring[i] and (ring[i + 1] or ring[(i + 2) % 8]) for i in range(0, 8, 2))
        pairs_a = sum(n[i] or n[i + 1] for i in range(0, 8, 2))
        pairs_b = sum(n[i] or n[(i + 1) % 8] for i in range(1, 8, 2))
        if crossings != 1 or not 2 <= min(pairs_a, pairs_b) <= 3:
            continue
        tables[0][code] = (n[1] or n[2] or not n[7]) and n[0]
        tables[1][code] = (n[5] or n[6] or not n[3]) and n[4]
    return tables


_KEEP_FIRST, _KEEP_SECOND = _thinning_tables()
_NEIGHBOUR_BITS = np.array([[8, 4, 2], [16, 0, 1], [32, 64, 128]], np.float32)


def thin_lines(lines: BitArray) -> BitArray:
    """Thin lines to one pixel, until nothing changes; everything off the image is paper.

    Args:
        lines: (H, W) uint8 in {0, 1}, line = 1.

    Returns:
        (H, W) uint8 in {0, 1}.

    Source: Guo and Hall 1989, as in MATLAB's `bwmorph thin` and scikit-image's `thin`.
    """
    thin = lines.copy()
    before, count = -1, cv2.countNonZero(thin)
    while count != before:
        before = count
        for keep in (_KEEP_FIRST, _KEEP_SECOND):
            code = cv2.filter2D(thin, cv2.CV_8U, _NEIGHBOUR_BITS, borderType=cv2.BORDER_CONSTANT)
            cv2.bitwise_and(thin, cv2.LUT(code, keep), dst=thin)
        count = cv2.countNonZero(thin)
    return thin
