"""P-IDS and U-IDS: how well a linear classifier tells outputs from truths.

A support vector machine that is judged on the images that it was fitted to separates any two sets of fewer images than
features, and both scores are 0. So each fifth of the photos is judged by a machine that was fitted to the other four.

Source: Zhao et al., Large Scale Image Completion via Co-Modulated Generative Adversarial Networks, ICLR 2021, section
4; the machine is that of its code, scikit-learn's LinearSVC(dual=False): squared hinge, C = 1, intercept as a feature.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dpsdata.contracts import UsageError
from dpseval.metrics.frechet import check_features

FOLDS = 5
SEPARABLE = "separable at this N"
_MAX_STEPS = 100

_Matrix = npt.NDArray[np.float64]


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
