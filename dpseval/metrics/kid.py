"""Kernel Inception Distance: the unbiased squared MMD with the kernel (x.y / D + 1)^3.

Unlike the Frechet distance it does not depend on the number of images, so that small sets can be compared; values
slightly below zero are right and mean that the sets cannot be told apart.

Source: Binkowski et al., Demystifying MMD GANs, ICLR 2018; torch-fidelity `metric_kid.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dpsdata.contracts import UsageError
from dpseval.metrics.frechet import check_features

_Matrix = npt.NDArray[np.float64]
_BLOCK_ROWS = 512  # a block of kernel values stays in tens of megabytes, however many images there are


def kid(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> float:
    """Squared kernel distance of two whole sets: the U-statistic over all pairs, with no subsets and no chance.

    Args:
        first: (N, D), N of at least 2, any real dtype.
        second: (M, D), M of at least 2; N and M may differ.

    Returns:
        The unbiased estimate, which may be slightly negative.

    Raises:
        UsageError: another shape, a single image, or values that are not finite.
    """
    a, b = check_features(first, second)
    within = sum((_sums(x, x)[0].sum() - _diagonal(x, x).sum()) / (len(x) * (len(x) - 1)) for x in (a, b))
    return float(within - 2 * _sums(a, b)[0].sum() / (len(a) * len(b)))


def kid_with_error(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> tuple[float, float]:
    """`kid` and its standard error, by leaving out one photo at a time.

    Args:
        first: (N, D), N of at least 3, any real dtype.
        second: (N, D), row i of the same photo, so that both go together.

    Returns:
        (the U-statistic over all pairs, the jackknife's standard error).

    Raises:
        UsageError: as `kid`, sets of unequal size, or fewer than 3 images.
    """
    a, b = check_features(first, second)
    count = len(a)
    if count != len(b) or count < 3:
        raise UsageError(f"features: expected two sets of one size of at least 3, got {count} and {len(b)}")
    rows, columns = _sums(a, b)
    own = [_sums(x, x)[0] - _diagonal(x, x) for x in (a, b)]
    value = sum(sums.sum() for sums in own) / (count * (count - 1)) - 2 * rows.sum() / count**2
    within_a, within_b = (sums.sum() - 2 * sums for sums in own)
    between = rows.sum() - rows - columns + _diagonal(a, b)
    left = (within_a + within_b) / ((count - 1) * (count - 2)) - 2 * between / (count - 1) ** 2
    error = np.sqrt((count - 1) / count * np.square(left - left.mean()).sum())
    return float(value), float(error)


def cmmd(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> float:
    """CMMD: 1000 times the squared MMD of unit vectors under a Gaussian kernel of sigma 10, over all pairs.

    Each mean has its diagonal in it, as in the published code, so that equal sets give 0 and no value is negative.

    Args:
        first: (N, D) image embeddings of CLIP, of any length.
        second: (M, D).

    Raises:
        UsageError: as `kid`.

    Source: Jayasumana et al., Rethinking FID, CVPR 2024; google-research/google-research cmmd/distance.py.
    """
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in check_features(first, second))
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise UsageError("features: an embedding is 0; check the images and the weights")

    def mean(x: _Matrix, y: _Matrix) -> float:
        # |x - y|^2 = 2 - 2 x.y; minus 1, since all three means are close to it
        return float(np.mean([np.expm1((x[i] @ y.T - 1) / 100).mean() for i in range(len(x))]))

    return max(0.0, 1000 * (mean(a, a) + mean(b, b) - 2 * mean(a, b)))


def _sums(x: _Matrix, y: _Matrix) -> tuple[_Matrix, _Matrix]:
    """Sums of the kernel of each row of x over all rows of y, (N,), and of each row of y over x, (M,)."""
    rows, columns = np.zeros(len(x)), np.zeros(len(y))
    for start in range(0, len(x), _BLOCK_ROWS):
        end = min(start + _BLOCK_ROWS, len(x))
        first = start if x is y else 0  # of one set with itself, half of the pairs tell all
        kernel = x[start:end] @ y[first:].T
        kernel /= x.shape[1]
        kernel += 1
        kernel *= kernel * kernel
        rows[start:end] += kernel.sum(axis=1)
        if x is y:
            rows[end:] += kernel[:, end - start :].sum(axis=0)
        else:
            columns += kernel.sum(axis=0)
    return rows, rows if x is y else columns


def _diagonal(x: _Matrix, y: _Matrix) -> _Matrix:
    return np.asarray((np.einsum("nd,nd->n", x, y) / x.shape[1] + 1) ** 3)
