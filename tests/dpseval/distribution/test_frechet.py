"""The Frechet distance: hand-worked values, a second formula, and the sets on which other tools fail."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from dpsdata.contracts import UsageError
from dpseval.metrics.frechet import frechet_distance


def by_eigenvalues(a: np.ndarray, b: np.ndarray) -> float:
    """The definition, through the symmetric root of the first covariance."""
    gap = a.mean(0) - b.mean(0)
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    middle = np.sqrt(np.linalg.eigvalsh(root @ second @ root).clip(0)).sum()
    return float(gap @ gap + np.trace(first) + np.trace(second) - 2 * middle)


def test_hand_worked() -> None:
    # One dimension: variances 2 and 8, means 1 and 2: (1 - 2)^2 + (sqrt 2 - sqrt 8)^2 = 1 + 2.
    assert frechet_distance(np.array([[0.0], [2.0]]), np.array([[0.0], [4.0]])) == pytest.approx(3.0, abs=1e-12)


def test_only_the_mean_differs() -> None:
    a = np.random.default_rng(0).normal(size=(40, 6))
    assert frechet_distance(a, a + 3.0) == pytest.approx(6 * 9.0, rel=1e-12)


def test_scaled_copies() -> None:
    # b = 3 a has root covariances in the same ratio: tr (3 S - S)^2 = 4 tr C, where the means are 0.
    a = np.random.default_rng(1).normal(size=(30, 8))
    a -= a.mean(0)
    assert frechet_distance(a, 3 * a) == pytest.approx(4 * np.trace(np.cov(a, rowvar=False)), rel=1e-12)


@pytest.mark.parametrize(("count_a", "count_b", "size"), [(5, 9, 20), (50, 12, 20), (80, 60, 20), (300, 7, 33)])
def test_equals_the_definition(count_a: int, count_b: int, size: int) -> None:
    rng = np.random.default_rng(count_a)
    mixing = rng.normal(size=(size, size))
    a, b = rng.normal(size=(count_a, size)) @ mixing + 1, np.abs(rng.normal(size=(count_b, size)))
    assert frechet_distance(a, b) == pytest.approx(by_eigenvalues(a, b), rel=1e-6)


def test_equals_scipy_where_the_covariances_are_regular() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(200, 16)), rng.gamma(2.0, size=(150, 16))
    root = scipy.linalg.sqrtm(np.cov(a, rowvar=False) @ np.cov(b, rowvar=False))
    gap = a.mean(0) - b.mean(0)
    spread = np.trace(np.cov(a, rowvar=False)) + np.trace(np.cov(b, rowvar=False))
    expected = float(gap @ gap + spread - 2 * np.trace(root).real)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


def test_symmetric_and_independent_of_order() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(50, 30)), rng.normal(size=(20, 30)) * 2
    value = frechet_distance(a, b)
    assert frechet_distance(b, a) == pytest.approx(value, rel=1e-12)
    assert frechet_distance(a[::-1], rng.permutation(b)) == pytest.approx(value, rel=1e-10)


@pytest.mark.parametrize("count", [2, 3, 100, 1000])
def test_a_set_against_itself_at_full_size(count: int) -> None:
    a = np.random.default_rng(count).gamma(0.5, size=(count, 2048)).astype(np.float32)
    assert 0 <= frechet_distance(a, a) < 1e-6
    assert 0 <= frechet_distance(a, np.random.default_rng(1).permutation(a)) < 1e-6


def test_more_images_than_dimensions() -> None:
    a = np.random.default_rng(8).gamma(0.5, size=(3000, 256)).astype(np.float32)
    assert 0 <= frechet_distance(a, a[::-1]) < 1e-6
    b = np.repeat(a[:150], 20, axis=0)
    assert frechet_distance(a, b) == pytest.approx(by_eigenvalues(a.astype(float), b.astype(float)), rel=1e-6)


def test_duplicates_and_constants() -> None:
    rng = np.random.default_rng(6)
    one, many = rng.random((1, 128)), rng.random((9, 128))
    constant = np.repeat(one, 40, axis=0)
    assert frechet_distance(constant, constant) == pytest.approx(0.0, abs=1e-9)
    other = np.repeat(many[:1], 7, axis=0)
    assert frechet_distance(constant, other) == pytest.approx(float(((one - many[:1]) ** 2).sum()), rel=1e-9)
    doubled = np.repeat(many, 11, axis=0)
    assert frechet_distance(doubled, np.tile(many, (11, 1))) < 1e-6
    # Eleven copies of 9 rows: eleven times the scatter over 98, where it was the scatter over 8.
    shrunk = 11 * 8 / 98
    expected = np.trace(np.cov(many, rowvar=False)) * (1 - math.sqrt(shrunk)) ** 2
    assert frechet_distance(many, doubled) == pytest.approx(expected, rel=1e-6)


@settings(max_examples=60)
@given(
    st.integers(2, 40),
    st.integers(2, 40),
    st.integers(1, 24),
    st.integers(1, 6),
    st.floats(1e-3, 1e3),
    st.integers(0, 2**32 - 1),
)
def test_always_real_finite_and_not_negative(
    count_a: int, count_b: int, size: int, distinct: int, scale: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    a = (rng.random((distinct, size)) * scale)[rng.integers(0, distinct, count_a)]
    b = rng.random((count_b, size))
    for first, second in ((a, b), (b, a), (a, a)):
        value = frechet_distance(first, second)
        assert isinstance(value, float)
        assert math.isfinite(value)
        assert value >= 0
    assert frechet_distance(a, a) < 1e-6 * max(1.0, scale**2)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9, abs=1e-9 * scale**2)


def test_inputs_are_left_alone() -> None:
    a, b = np.ones((3, 4)), np.arange(12.0).reshape(3, 4)
    frechet_distance(a, b)
    assert np.array_equal(a, np.ones((3, 4)))
    assert np.array_equal(b, np.arange(12.0).reshape(3, 4))


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (np.zeros((1, 4)), np.zeros((5, 4)), "at least 2 images, got 1"),
        (np.zeros((5, 4)), np.zeros((0, 4)), "at least 2 images, got 0"),
        (np.zeros((5, 4)), np.zeros((5, 3)), "same dimension, got 4 and 3"),
        (np.zeros((5, 4)), np.full((5, 4), np.nan), "some values are not finite"),
        (np.zeros(5), np.zeros((5, 3)), "expected real"),
        (np.zeros((5, 4), complex), np.zeros((5, 4)), "expected real"),
    ],
)
def test_wrong_input(first: np.ndarray, second: np.ndarray, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        frechet_distance(first, second)
