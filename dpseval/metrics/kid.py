"""Kernel Inception Distance: the unbiased squared MMD with the kernel (x.y / D + 1)^3.

Unlike the Frechet distance it does not depend on the number of images, so that small sets can be compared; values
slightly below zero are right and mean that the sets cannot be told apart.

Source: Binkowski et al., Demystifying MMD GANs, ICLR 2018; evaluation.md, section 2; torch-fidelity `metric_kid.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dpsdata.contracts import UsageError
from dpsdata.runtime.device import keyed_generator

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
    a, b = _check(first, second)
    return float(_distances(a, b, np.ones((len(a), 1)), np.ones((len(b), 1)))[0])


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
    a, b = _check(first, second)
    count = len(a)
    if count != len(b) or count < 3:
        raise UsageError(f"features: expected two sets of one size of at least 3, got {count} and {len(b)}")
    kernels = [_rows(x, y) for x, y in ((a, a), (b, b), (a, b), (b, a))]  # sums over the other set, by image
    own = [_diagonal(x, y) for x, y in ((a, a), (b, b), (a, b))]
    within_a, within_b = (
        rows.sum() - diagonal.sum() - 2 * (rows - diagonal) for rows, diagonal in zip(kernels[:2], own[:2], strict=True)
    )
    between = kernels[2].sum() - kernels[2] - kernels[3] + own[2]
    left = (within_a + within_b) / ((count - 1) * (count - 2)) - 2 * between / (count - 1) ** 2
    error = np.sqrt((count - 1) / count * np.square(left - left.mean()).sum())
    return kid(first, second), float(error)


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
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in _check(first, second))
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise UsageError("features: an embedding is 0; check the images and the weights")

    def mean(x: _Matrix, y: _Matrix) -> float:
        # |x - y|^2 = 2 - 2 x.y; minus 1, since all three means are close to it
        return float(np.mean([np.expm1((x[i] @ y.T - 1) / 100).mean() for i in range(len(x))]))

    return max(0.0, 1000 * (mean(a, a) + mean(b, b) - 2 * mean(a, b)))


def kid_subsets(
    first: npt.NDArray[Any], second: npt.NDArray[Any], subset_count: int = 100, subset_size: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Mean and standard deviation of the distance over random subsets, as torch-fidelity reports it.

    Args:
        first: (N, D), N of at least `subset_size`.
        second: (M, D), M of at least `subset_size`.
        subset_count: how many pairs of subsets.
        subset_size: images in each, drawn without replacement.
        seed: seed of the draws; the same seed gives the same numbers.

    Returns:
        (mean, standard deviation with ddof = 0).

    Raises:
        UsageError: subsets larger than a set, or as `kid`.
    """
    a, b = _check(first, second)
    if subset_count < 1:
        raise UsageError(f"subset_count: expected at least 1, got {subset_count}")
    if not 2 <= subset_size <= min(len(a), len(b)):
        raise UsageError(
            f"subset_size: expected 2 to the size of the smaller set, {min(len(a), len(b))}, got {subset_size}"
        )
    chance = keyed_generator(seed, "", "kid subsets")
    chosen_a, chosen_b = np.zeros((len(a), subset_count)), np.zeros((len(b), subset_count))
    for index in range(subset_count):
        chosen_a[chance.choice(len(a), subset_size, replace=False), index] = 1
        chosen_b[chance.choice(len(b), subset_size, replace=False), index] = 1
    values = _distances(a, b, chosen_a, chosen_b)
    return float(values.mean()), float(values.std())


def _check(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> tuple[_Matrix, _Matrix]:
    for features in (first, second):
        if features.ndim != 2 or features.shape[1] == 0 or features.dtype.kind not in "fiu":
            raise UsageError(f"features: expected real (N, D), got {features.dtype} {features.shape}")
        if len(features) < 2:
            raise UsageError(f"features: a distance needs at least 2 images, got {len(features)}")
        if not np.isfinite(features).all():
            raise UsageError("features: some values are not finite; check the images and the weights")
    if first.shape[1] != second.shape[1]:
        raise UsageError(f"features: both sets need the same dimension, got {first.shape[1]} and {second.shape[1]}")
    return first.astype(np.float64), second.astype(np.float64)


def _distances(a: _Matrix, b: _Matrix, chosen_a: _Matrix, chosen_b: _Matrix) -> _Matrix:
    """The distance of each pair of subsets; a column of `chosen` has 1 where the subset holds the image.

    Every kernel value is computed once and shared by all subsets.
    """
    within = 0.0
    for features, chosen in ((a, chosen_a), (b, chosen_b)):
        count = chosen.sum(axis=0)
        diagonal = _diagonal(features, features)
        within = within + (_sums(features, features, chosen, chosen) - diagonal @ chosen) / (count * (count - 1))
    between = _sums(a, b, chosen_a, chosen_b) / (chosen_a.sum(axis=0) * chosen_b.sum(axis=0))
    return np.asarray(within - 2 * between)


def _rows(x: _Matrix, y: _Matrix) -> _Matrix:
    """Sum of the kernel of each row of x over all rows of y, (N,)."""
    parts = range(0, len(x), _BLOCK_ROWS)
    return np.concatenate([((x[i : i + _BLOCK_ROWS] @ y.T / x.shape[1] + 1) ** 3).sum(axis=1) for i in parts])


def _diagonal(x: _Matrix, y: _Matrix) -> _Matrix:
    return np.asarray((np.einsum("nd,nd->n", x, y) / x.shape[1] + 1) ** 3)


def _sums(x: _Matrix, y: _Matrix, chosen_x: _Matrix, chosen_y: _Matrix) -> _Matrix:
    total = np.zeros(chosen_x.shape[1])
    for start in range(0, len(x), _BLOCK_ROWS):
        rows = slice(start, start + _BLOCK_ROWS)
        kernel = (x[rows] @ y.T / x.shape[1] + 1) ** 3
        total += np.einsum("ns,ns->s", chosen_x[rows], kernel @ chosen_y)
    return total
