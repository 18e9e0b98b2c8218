"""Frechet distance between two sets of features, without a matrix square root.

For centred features A (N, D) and B (M, D) the trace of the square root of the product of their covariances is the
sum of the singular values of A B^T, over sqrt((N - 1) (M - 1)). A set of more rows than columns is replaced by the R
of its QR decomposition first, which has the same covariance. There is nothing complex in it and no square root of a
small eigenvalue, so that duplicates and sets smaller than D need no special care.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from dpsdata.contracts import UsageError
from dpsdata.runtime.device import keyed_generator

INFINITY_SIZES, INFINITY_DRAWS, INFINITY_LEAST = 12, 4, 24

_Matrix = npt.NDArray[np.float64]


def check_features(first: npt.NDArray[Any], second: npt.NDArray[Any], least: int = 2) -> tuple[_Matrix, _Matrix]:
    """Two sets of features as float64 copies.

    Args:
        first: (N, D), any real dtype.
        second: (M, D).
        least: number of images that N and M must reach.

    Raises:
        UsageError: another shape or type, too few images, or values that are not finite.
    """
    for features in (first, second):
        if features.ndim != 2 or features.shape[1] == 0 or features.dtype.kind not in "fiu":
            raise UsageError(f"features: expected real (N, D), got {features.dtype} {features.shape}")
        if len(features) < least:
            raise UsageError(f"features: expected at least {least} images, got {len(features)}")
        if not np.isfinite(features).all():
            raise UsageError("features: some values are not finite; check the images and the weights")
    if first.shape[1] != second.shape[1]:
        raise UsageError(f"features: both sets need the same dimension, got {first.shape[1]} and {second.shape[1]}")
    return first.astype(np.float64), second.astype(np.float64)


def frechet_distance(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> float:
    """Frechet distance between the Gaussians fitted to two sets of features (ddof = 1, in float64).

    It falls with the number of images, about as 1/N: compare only values of equal N.

    Args:
        first: (N, D), N of at least 2, any real dtype.
        second: (M, D), M of at least 2; N and M may differ.

    Returns:
        The squared distance, 0 or more; the order of the sets plays no part.

    Raises:
        UsageError: another shape, a single image, or values that are not finite.
    """
    a, b = check_features(first, second)
    mean_a, mean_b = a.mean(axis=0), b.mean(axis=0)
    a -= mean_a
    b -= mean_b
    gap = mean_a - mean_b
    spread = _variance(a) + _variance(b)
    # Rounding alone can take it below zero, by about 1e-13 of the spread.
    return max(0.0, float(gap @ gap) + spread - 2 * _trace_of_root(a, b))


def frechet_at_infinity(first: npt.NDArray[Any], second: npt.NDArray[Any], seed: int = 0) -> tuple[float, float]:
    """The Frechet distance that endlessly many images would have, by a line in 1/N.

    Measured on subsets of 12 sizes from N / 2 to N, four draws of each (the same rows of both sets), and extrapolated
    to 1/N = 0. Far below D images the line is too high still, by less than the plain distance is.

    Args:
        first: (N, D), N of at least 24, any real dtype.
        second: (N, D), row i of the same photo.
        seed: of the draws.

    Returns:
        The intercept, and the standard error of the fitted line there. It tells how well a line fits; the chance of
        the photos, which all subsets share, is not in it.

    Raises:
        UsageError: as `frechet_distance`, sets of unequal size, or fewer than 24 images.

    Source: Chong and Forsyth, Effectively Unbiased FID and Inception Score, CVPR 2020, section 4.
    """
    count = len(first)
    if count != len(second) or count < INFINITY_LEAST:
        raise UsageError(
            f"features: expected two sets of one size of at least {INFINITY_LEAST}, got {count} and {len(second)}"
        )
    both = np.concatenate(check_features(first, second))
    if len(both) < both.shape[1]:  # the same inner products in fewer columns: every subset is cheaper
        both = np.asarray(np.linalg.qr(both.T, mode="r")).T.copy()
    chance = keyed_generator(seed, "", "frechet at infinity")
    sizes = np.unique(np.linspace(count / 2, count, INFINITY_SIZES).round().astype(int))
    values = []
    for size in sizes:
        draws = [chance.choice(count, size, replace=False) for _ in range(1 if size == count else INFINITY_DRAWS)]
        values.append(np.mean([frechet_distance(both[:count][rows], both[count:][rows]) for rows in draws]))
    line = np.stack([np.ones(len(sizes)), 1 / sizes], axis=1)
    inverse = np.linalg.inv(line.T @ line)
    fit = inverse @ line.T @ np.array(values)
    rest = np.array(values) - line @ fit
    error = math.sqrt(float(rest @ rest) / (len(sizes) - 2) * float(inverse[0, 0]))
    return float(fit[0]), error


def _variance(centred: _Matrix) -> float:
    flat = centred.ravel()
    return float(flat @ flat) / (len(centred) - 1)


def _trace_of_root(a: _Matrix, b: _Matrix) -> float:
    scale = math.sqrt(len(a) - 1) * math.sqrt(len(b) - 1)
    values = np.linalg.svd(_compressed(a) @ _compressed(b).T, compute_uv=False)
    return float(values.sum()) / scale


def _compressed(centred: _Matrix) -> _Matrix:
    """A matrix of at most D rows with the same Gram matrix of columns."""
    if len(centred) <= centred.shape[1]:
        return centred
    return np.asarray(np.linalg.qr(centred, mode="r"))
