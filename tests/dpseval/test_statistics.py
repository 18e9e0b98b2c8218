from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wilcoxon

from dpsdata.contracts import UsageError
from dpseval.statistics.intervals import (
    bootstrap_interval,
    bootstrap_intervals,
    holm,
    paired_difference,
    signed_rank_p,
)

# An exact 95 % interval leaves 93 to 97 % in one draw of 1,000 repetitions out of 300; four times as many measure the
# coverage itself.
REPETITIONS = 4000
Draw = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]

# name -> (draw (N, repetitions), true mean)
DISTRIBUTIONS: dict[str, tuple[Draw, float]] = {
    "normal": (lambda rng, size: rng.normal(28, 3, size), 28.0),
    "uniform": (lambda rng, size: rng.uniform(0, 1, size), 0.5),
    "exponential": (lambda rng, size: rng.exponential(1.0, size), 1.0),
    "log-normal": (lambda rng, size: rng.lognormal(0, 1, size), math.exp(0.5)),
    "near one": (lambda rng, size: rng.beta(9, 1, size), 0.9),
    "long tails": (lambda rng, size: rng.standard_t(3, size), 0.0),
    "many zeros": (lambda rng, size: np.where(rng.random(size) < 0.1, 0.0, rng.beta(4, 2, size)), 0.6),
    "two values": (lambda rng, size: rng.integers(0, 2, size).astype(float), 0.5),
}


def _coverage(values: np.ndarray, mean: float, confidence: float = 0.95) -> float:
    low, high = bootstrap_intervals(values, 0, "coverage", count=1000, confidence=confidence)
    return float(np.mean((low <= mean) & (mean <= high)))


@pytest.mark.parametrize(
    ("name", "count"), [*((name, 100) for name in DISTRIBUTIONS), ("normal", 250), ("log-normal", 250)]
)
def test_intervals_of_means_cover_93_to_97_percent(name: str, count: int) -> None:
    draw, mean = DISTRIBUTIONS[name]
    assert 0.93 <= _coverage(draw(np.random.default_rng(count), (count, REPETITIONS)), mean) <= 0.97


@pytest.mark.parametrize(("confidence", "least", "most"), [(0.8, 0.77, 0.83), (0.99, 0.98, 0.999)])
def test_coverage_follows_the_confidence(confidence: float, least: float, most: float) -> None:
    values = np.random.default_rng(4).gamma(2.0, size=(100, REPETITIONS))
    assert least <= _coverage(values, 2.0, confidence) <= most


@pytest.mark.parametrize("skewed", [False, True])
def test_intervals_of_paired_differences_cover_93_to_97_percent(skewed: bool) -> None:
    rng = np.random.default_rng(int(skewed))
    size = (100, REPETITIONS)
    photo = rng.normal(28, 4, size)
    gained = photo + (rng.exponential(0.5, size) if skewed else rng.normal(0.5, 0.5, size))
    assert 0.93 <= _coverage(gained - photo, 0.5) <= 0.97
    for index in range(5):
        found = paired_difference(gained[:, index], photo[:, index], 3, "one")
        expected = bootstrap_interval(gained[:, index] - photo[:, index], 3, "one")
        assert (found.ci_low, found.ci_high) == expected
        assert found.ci_low > 0  # pairing takes out the spread of the photos, 4 dB


def test_an_interval_of_a_large_sample_is_the_normal_one() -> None:
    values = np.random.default_rng(0).normal(5, 2, 4000)
    low, high = bootstrap_interval(values, 0, "k")
    half = 1.96 * values.std() / math.sqrt(4000)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.06 * half)


def test_below_ten_values_it_is_students_t() -> None:
    # t(0.975, 3 degrees) = 3.182446; mean 2.5, standard deviation sqrt(5/3)
    half = 3.182446305 * math.sqrt(5 / 3) / 2
    assert bootstrap_interval([1, 2, 3, 4], 0, "k") == pytest.approx((2.5 - half, 2.5 + half), abs=1e-8)


def test_small_and_constant_samples() -> None:
    assert all(math.isnan(end) for end in bootstrap_interval([], 0, "k"))
    assert all(math.isnan(end) for end in bootstrap_interval([3.0], 0, "k"))
    assert bootstrap_interval([0.1] * 50, 0, "k") == (0.1, 0.1)


def test_one_odd_value_among_equal_ones_gives_a_finite_interval() -> None:
    low, high = bootstrap_interval([0.0] * 99 + [1.0], 0, "k")  # a third of the resamples do not hold it
    assert low <= 0.01 <= high <= 0.2


def test_the_interval_depends_on_seed_and_key_and_nothing_else() -> None:
    values = np.random.default_rng(1).gamma(2, size=60)
    first = bootstrap_interval(values, 0, "k")
    bootstrap_interval(values, 5, "other")
    assert bootstrap_interval(values, 0, "k") == first
    assert bootstrap_interval(values, 1, "k") != first
    assert bootstrap_interval(values, 0, "m") != first
    low, high = bootstrap_intervals(np.stack([values, values**2], axis=1), 0, "k")
    assert (low[0], high[0]) == pytest.approx(first, abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.floats(-100, 100), min_size=2, max_size=40),
    st.floats(0.1, 10),
    st.floats(-50, 50),
)
def test_an_interval_holds_the_mean_and_follows_a_change_of_unit(
    values: list[float], scale: float, offset: float
) -> None:
    low, high = bootstrap_interval(values, 0, "k", count=100)
    slack = 1e-9 * (1 + max(abs(v) for v in values))
    assert low - slack <= np.mean(values) <= high + slack
    if np.ptp(values) > 1e-3:
        moved = bootstrap_interval(np.asarray(values) * scale + offset, 0, "k", count=100)
        assert moved == pytest.approx((low * scale + offset, high * scale + offset), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([1.0, math.nan], {}, "finite"),
        ([1.0, math.inf], {}, "finite"),
        ([[1.0, 2.0]], {}, "shape"),
        ([1.0, 2.0], {"count": 10}, "count"),
        ([1.0, 2.0], {"confidence": 95}, "confidence"),
    ],
)
def test_wrong_input_of_intervals(values: list[float], options: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        bootstrap_interval(values, 0, "k", **options)


def test_paired_difference_by_hand() -> None:
    found = paired_difference([3, 5, 2, 4], [1, 5, 3, 1], 0, "k")
    assert (found.mean, found.median, found.n) == (1.0, 1.0, 4)
    assert found.win_rate == (1 + 0.5 + 0 + 1) / 4
    # |2|, |-1|, |3| have ranks 2, 1, 3; 4 of the 8 sign patterns are as far from the middle or further
    assert found.p_value == pytest.approx(0.5)
    assert found.ci_low < 1 < found.ci_high


def test_the_lower_side_wins_where_lower_is_better() -> None:
    higher = paired_difference([1, 2, 3], [2, 3, 3], 0, "k")
    lower = paired_difference([1, 2, 3], [2, 3, 3], 0, "k", higher_is_better=False)
    assert (higher.win_rate, lower.win_rate) == pytest.approx((0.5 / 3, 2.5 / 3))
    assert higher.mean == lower.mean


def test_incomplete_pairs_are_left_out() -> None:
    found = paired_difference([1, math.nan, 5, 7], [0, 2, math.nan, 3], 0, "k")
    assert (found.n, found.mean) == (2, 2.5)
    nothing = paired_difference([math.nan], [1.0], 0, "k")
    assert nothing.n == 0
    assert math.isnan(nothing.mean)
    assert math.isnan(nothing.p_value)


def test_equal_methods_are_tied() -> None:
    found = paired_difference([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], 0, "k")
    assert (found.mean, found.ci_low, found.ci_high, found.p_value, found.win_rate) == (0, 0, 0, 1, 0.5)


def test_wrong_pairs() -> None:
    with pytest.raises(UsageError, match="one length"):
        paired_difference([1.0, 2.0], [1.0], 0, "k")
    with pytest.raises(UsageError, match="infinity"):
        paired_difference([math.inf, 2.0], [1.0, 1.0], 0, "k")


@pytest.mark.parametrize("count", [8, 51, 90])
def test_many_signed_rank_tests_at_once_equal_single_ones(count: int) -> None:
    rng = np.random.default_rng(count)
    differences = rng.normal(0.1, 1, (count, 6))
    differences[: count // 2, 1] = 0
    differences[:, 2] = np.round(differences[:, 2], 1)
    differences[:3, 3] = math.nan
    differences[:, 4] = 0
    differences[:, 5] = math.nan
    together = signed_rank_p(differences)
    assert together[4] == 1
    assert math.isnan(together[5])
    for index in range(4):
        column = differences[:, index]
        column = column[~np.isnan(column) & (column != 0)]
        assert together[index] == pytest.approx(wilcoxon(column).pvalue, abs=1e-12)


def test_holm_by_hand() -> None:
    # 0.01 x 4, 0.02 x 3, max(0.06, 0.03 x 2), max(0.06, 0.04 x 1)
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([]) == []
    assert holm([0.7, 0.9]) == [1.0, 1.0]
    adjusted = holm([math.nan, 0.02, 0.03])
    assert math.isnan(adjusted[0])
    assert adjusted[1:] == pytest.approx([0.04, 0.04])
    with pytest.raises(UsageError, match=r"\[0, 1\]"):
        holm([1.5])


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_keeps_the_order_and_lies_between_the_raw_p_and_bonferroni(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    for raw, corrected in zip(p_values, adjusted, strict=True):
        assert raw <= corrected <= min(1.0, raw * len(p_values)) + 1e-12
    order = np.argsort(p_values, kind="stable")
    assert np.all(np.diff(np.asarray(adjusted)[order]) >= 0)
