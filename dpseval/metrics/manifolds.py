"""Precision, recall, density and coverage, P-IDS and U-IDS: how near two sets of features lie to each other.

The ball of an image reaches to its k-th nearest neighbour in its own set.

A support vector machine that is judged on the images that it was fitted to separates any two sets of fewer images than
features, and P-IDS and U-IDS are 0. So each fifth of the photos is judged by a machine fitted to the other four.

Source: Kynkaanniemi et al., Improved Precision and Recall Metric, NeurIPS 2019; Naeem et al., Reliable Fidelity and
Diversity Metrics for Generative Models, ICML 2020, equations 5 and 6; Zhao et al., Large Scale Image Completion
via Co-Modulated Generative Adversarial Networks, ICLR 2021, section 4: the machine is that of its code, scikit-learn's
LinearSVC(dual=False): squared hinge, C = 1, intercept as a feature.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dpsdata.contracts import UsageError
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


FOLDS = 5
SEPARABLE = "separable at this N"
_MAX_STEPS = 100


class Separability(NamedTuple):
    """How seldom the machine is right about held-out photos; 0.5 where outputs cannot be told from truths.

    Attributes:
        p_ids: share of photos whose output looks more real than its truth.
        u_ids: mean of the share of truths taken for outputs and of that of outputs taken for truths.
    """

    p_ids: float
    u_ids: float


def measure_separability(made: npt.NDArray[Any], real: npt.NDArray[Any]) -> Separability:
    """P-IDS and U-IDS, cross-validated: photo i is held out in fold i mod 5, its output and its truth together.

    Args:
        made: (N, D) features of outputs, N of at least 10, any real dtype.
        real: (N, D) features of their truths, row by row.

    Raises:
        UsageError: another shape, too few images, or values that are not finite.
    """
    real, made = check_features(real, made, 2 * FOLDS)
    if made.shape != real.shape:
        raise UsageError(f"features: expected two sets of one size, got {made.shape} and {real.shape}")
    count = len(made)
    both = np.concatenate([real, made])
    whole = np.concatenate([both, np.ones((2 * count, 1))], axis=1)
    if whole.shape[0] < whole.shape[1]:  # the same inner products in fewer columns
        whole = np.asarray(np.linalg.qr(whole.T, mode="r")).T.copy()
    signs = np.repeat([1.0, -1.0], count)
    fold = np.tile(np.arange(count) % FOLDS, 2)
    scores = np.empty(2 * count)
    start = fit_machine(whole, signs)  # close to the machine of every fold
    for held in range(FOLDS):
        chosen = fold == held
        scores[chosen] = whole[chosen] @ fit_machine(whole[~chosen], signs[~chosen], start)
    real_scores, made_scores = scores[:count], scores[count:]
    mistaken = 0.5 * float((real_scores < 0).mean()) + 0.5 * float((made_scores > 0).mean())
    return Separability(float((made_scores > real_scores).mean()), mistaken)


def fit_machine(features: _Matrix, signs: _Matrix, start: _Matrix | None = None) -> _Matrix:
    """The weights w, (D,), of least 0.5 |w|^2 + the sum of max(0, 1 - sign * (w . x))^2, by Newton steps.

    Args:
        features: (N, D), with the column of the intercept.
        signs: (N,) of 1 and -1.
        start: weights to begin with; the result is the same.
    """
    weights = np.zeros(features.shape[1]) if start is None else start
    for _ in range(_MAX_STEPS):
        active = signs * (features @ weights) < 1
        rows = features[active]
        matrix = 2 * rows.T @ rows
        matrix[np.diag_indices_from(matrix)] += 1
        target = np.linalg.solve(matrix, 2 * rows.T @ signs[active])
        # The loss is convex and piecewise quadratic: a whole step is final where it changes no active row.
        step = 1.0
        while _loss(features, signs, weights + step * (target - weights)) > _loss(features, signs, weights) + 1e-12:
            step /= 2
            if step < 1e-10:
                return weights
        moved = weights + step * (target - weights)
        if step == 1.0 and np.array_equal(signs * (features @ moved) < 1, active):
            return np.asarray(moved)
        weights = moved
    return weights


def _loss(features: _Matrix, signs: _Matrix, weights: _Matrix) -> float:
    short = np.maximum(0.0, 1 - signs * (features @ weights))
    return float(0.5 * weights @ weights + short @ short)
