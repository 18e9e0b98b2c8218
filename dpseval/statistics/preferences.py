"""Strengths of sets from votes on pairs: the Bradley-Terry model, with intervals over voters and photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dpsdata.contracts import UsageError
from dpsdata.runtime.device import keyed_generator

RESAMPLE_COUNT = 2000
# Of a normal prior on each strength: weak, and it keeps a set that won every vote finite.
_PRIOR_DEVIATION = 3.0
_MAX_STEPS = 50
_SETTLED = 1e-9
FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Preferences:
    """Votes on pairs of sets.

    Attributes:
        voters: (N,) int, who voted.
        photos: (N,) int, on which photo.
        first: (N,) int, the one set of the pair.
        second: (N,) int, the other.
        wins: (N,) float: 1 for the first, 0 for the second, 0.5 for neither.
        count: how many sets there are.
    """

    voters: NDArray[np.int64]
    photos: NDArray[np.int64]
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    wins: FloatArray
    count: int

    def table(self, weights: FloatArray) -> FloatArray:
        """(count, count): how often, by weight (N,), the set of the row won over that of the column."""
        size = self.count * self.count
        won = np.bincount(self.first * self.count + self.second, weights * self.wins, size)
        lost = np.bincount(self.second * self.count + self.first, weights * (1 - self.wins), size)
        return np.asarray(won + lost, np.float64).reshape(self.count, self.count)


def bradley_terry(wins: FloatArray) -> FloatArray:
    """Strengths from tables of wins.

    Args:
        wins: (..., K, K), how often the set of the row won over that of the column; a tie is half a win for each.

    Returns:
        (..., K) log strengths that sum to 0: set i wins over j with probability 1 / (1 + exp(s_j - s_i)).

    Raises:
        UsageError: no such table.

    Source: Bradley and Terry, Biometrika 1952; fitted by Newton's method with a weak normal prior.
    """
    table = np.asarray(wins, np.float64)
    if table.ndim < 2 or table.shape[-1] != table.shape[-2] or not np.isfinite(table).all() or (table < 0).any():
        raise UsageError(f"bradley_terry: expected tables of wins (..., K, K) of 0 or more, got {table.shape}")
    games = table + np.swapaxes(table, -1, -2)
    won = table.sum(-1)
    strengths = np.zeros(table.shape[:-1])
    eye = np.eye(table.shape[-1])
    precision = 1 / _PRIOR_DEVIATION**2
    for _ in range(_MAX_STEPS):
        likely = 1 / (1 + np.exp(strengths[..., None, :] - strengths[..., :, None]))
        gradient = won - (games * likely).sum(-1) - precision * strengths
        bend = games * likely * (1 - likely)
        curvature = eye * (bend.sum(-1) + precision)[..., None] - bend
        step = np.linalg.solve(curvature, gradient[..., None])[..., 0]
        strengths += np.clip(step, -2, 2)
        if np.abs(step).max(initial=0) < _SETTLED:
            break
    return np.asarray(strengths - strengths.mean(-1, keepdims=True), np.float64)


def strength_intervals(
    votes: Preferences, seed: int, count: int = RESAMPLE_COUNT, confidence: float = 0.95
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Strengths with intervals over voters and photos: both are drawn again, each on its own, with replacement.

    Args:
        votes: at least one.
        seed: of the draws.
        count: resamples.
        confidence: in (0, 1).

    Returns:
        Strength, low and high end, (K,) each. With one voter or one photo, the interval covers only the other.

    Source: Owen, Annals of Applied Statistics 2007 (the pigeonhole bootstrap; a little wide rather than narrow).
    """
    if not len(votes.wins):
        raise UsageError("votes: expected at least one")
    own = bradley_terry(votes.table(np.ones(len(votes.wins))))
    draws = keyed_generator(seed, "", "votes")
    weights = np.ones((count, len(votes.wins)))
    for column in (votes.voters, votes.photos):
        names, at = np.unique(column, return_inverse=True)
        if len(names) > 1:
            weights *= draws.multinomial(len(names), np.full(len(names), 1 / len(names)), count)[:, at]
    tables = np.stack([votes.table(row) for row in weights])
    tail = (1 - confidence) / 2
    low, high = np.quantile(bradley_terry(tables), (tail, 1 - tail), axis=0)
    return own, low, high


def win_probability(strengths: Sequence[float], index: int) -> float:
    """How often one set wins over another that is drawn from the rest, in [0, 1]."""
    others = [value for place, value in enumerate(strengths) if place != index]
    return float(np.mean([1 / (1 + np.exp(value - strengths[index])) for value in others])) if others else 0.5
