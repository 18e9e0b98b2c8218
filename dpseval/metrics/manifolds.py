"""Precision, recall, density and coverage: how far two sets of features lie in each other's neighbourhoods.

The ball of an image reaches to its k-th nearest neighbour in its own set.

Source: Kynkaanniemi et al., Improved Precision and Recall Metric, NeurIPS 2019; Naeem et al., Reliable Fidelity and
Diversity Metrics for Generative Models, ICML 2020, equations 5 and 6.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dpseval.metrics.frechet import check_features

NEAREST_MANIFOLD, NEAREST_DENSITY = 3, 5
_BLOCK_ROWS = 512
_ROUNDING = 1e-11  # of squared distances, of which one pair's may differ in the last digits from block to block

_Matrix = npt.NDArray[np.float64]


class Manifolds(NamedTuple):
    """How real and how varied a set is.

    Attributes:
        precision: share of outputs in the ball (k = 3) of a truth.
        recall: share of truths in the ball (k = 3) of an output.
        density: balls of truths (k = 5) that an output lies in, over k; may exceed 1.
        coverage: share of truths whose ball (k = 5) holds an output.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def measure_manifolds(made: npt.NDArray[Any], real: npt.NDArray[Any]) -> Manifolds:
    """Precision, recall, density and coverage of outputs against truths.

    Args:
        made: (N, D) features of outputs, N of at least 6, any real dtype.
        real: (M, D) features of truths, M of at least 6.

    Raises:
        UsageError: another shape, too few images, or values that are not finite.
    """
    outputs, truths = check_features(made, real, NEAREST_DENSITY + 1)
    centre = truths.mean(axis=0)  # leaves distances as they are, and rounds them less
    outputs -= centre
    truths -= centre
    reach_made = _radii(outputs, (NEAREST_MANIFOLD,))[:, 0] * (1 + _ROUNDING)
    reach_real = _radii(truths, (NEAREST_MANIFOLD, NEAREST_DENSITY)) * (1 + _ROUNDING)
    in_made = np.zeros(len(truths), bool)
    in_real = np.zeros(len(outputs), bool)
    ball_count = 0
    nearest = np.full(len(truths), np.inf)
    for rows, squares in _distances(outputs, truths):
        in_real[rows] = (squares <= reach_real[:, 0]).any(axis=1)
        in_made |= (squares <= reach_made[rows, None]).any(axis=0)
        ball_count += int((squares <= reach_real[:, 1]).sum())
        nearest = np.minimum(nearest, squares.min(axis=0))
    return Manifolds(
        float(in_real.mean()),
        float(in_made.mean()),
        ball_count / (NEAREST_DENSITY * len(outputs)),
        float((nearest <= reach_real[:, 1]).mean()),
    )


def _distances(x: _Matrix, y: _Matrix) -> Iterator[tuple[slice, _Matrix]]:
    """Squared distances of rows of x to all of y, block by block; equal rows are exactly 0 apart.

    By products of matrices, not pair by pair.
    """
    lengths, others = (np.einsum("nd,nd->n", each, each) for each in (x, y))
    for start in range(0, len(x), _BLOCK_ROWS):
        rows = slice(start, start + _BLOCK_ROWS)
        both = lengths[rows, None] + others
        squares = both - 2 * (x[rows] @ y.T)
        squares[squares < _ROUNDING * both] = 0
        yield rows, squares


def _radii(x: _Matrix, nearest: tuple[int, ...]) -> _Matrix:
    """Squared distance of each row to its k-th neighbour for each k, (N, len(nearest)); the row itself is the 0th."""
    parts = [np.partition(squares, nearest, axis=1)[:, list(nearest)] for _, squares in _distances(x, x)]
    return np.concatenate(parts)
