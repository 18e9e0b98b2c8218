"""Kernel distance: hand-worked, against loops, against torch-fidelity; subsets are seeded."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dpsdata.contracts import UsageError
from dpseval.metrics.kid import kid


def by_loops(a: np.ndarray, b: np.ndarray) -> float:
    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return float(x @ y / len(x) + 1) ** 3

    within = [
        sum(kernel(x, y) for i, x in enumerate(s) for j, y in enumerate(s) if i != j) / (len(s) * (len(s) - 1))
        for s in (a, b)
    ]
    return sum(within) - 2 * sum(kernel(x, y) for x in a for y in b) / (len(a) * len(b))


def test_hand_worked() -> None:
    # D = 1: k(0, 1) = 1, k(0, 2) = 1, k(1, 2) = 27, k(1, 0) = 1. Sets {0, 1} and {0, 2}:
    # 1 + 1 - 2 * (k(0,0) + k(0,2) + k(1,0) + k(1,2)) / 4 = 2 - 2 * 30 / 4 = -13.
    assert kid(np.array([[0.0], [1.0]]), np.array([[0.0], [2.0]])) == pytest.approx(-13.0)


@pytest.mark.parametrize(("count_a", "count_b"), [(2, 2), (7, 4), (3, 12)])
def test_equals_the_definition(count_a: int, count_b: int) -> None:
    rng = np.random.default_rng(count_a)
    a, b = rng.random((count_a, 5)), rng.normal(size=(count_b, 5))
    assert kid(a, b) == pytest.approx(by_loops(a, b), rel=1e-10)
    assert kid(a, b) == pytest.approx(kid(b, a), rel=1e-10)


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    a, b = rng.random((50, 9)), rng.random((41, 9))
    whole = kid(a, b)
    monkeypatch.setattr("dpseval.metrics.kid._BLOCK_ROWS", 7)
    assert kid(a, b) == pytest.approx(whole, rel=1e-9)


@pytest.mark.parametrize("count", [8, 200])
def test_equals_torch_fidelity_on_one_full_subset(count: int) -> None:
    metric = pytest.importorskip("torch_fidelity.metric_kid")
    rng = np.random.default_rng(count)
    a = rng.gamma(0.5, 0.8, size=(count, 2048)).astype(np.float32)
    b = rng.gamma(0.6, 0.8, size=(count, 2048)).astype(np.float32)
    theirs = metric.kid_features_to_metric(
        torch.from_numpy(a), torch.from_numpy(b), kid_subsets=1, kid_subset_size=count, verbose=False
    )["kernel_inception_distance_mean"]
    assert theirs > 0.01
    assert kid(a, b) == pytest.approx(theirs, rel=1e-3)


def test_unbiased() -> None:
    # Halves of one population: the mean over many draws is 0, and single values lie on both sides.
    rng = np.random.default_rng(7)
    values = np.array([kid(rng.normal(size=(10, 4)), rng.normal(size=(14, 4))) for _ in range(400)])
    assert abs(values.mean()) < 4 * values.std() / 20
    assert values.min() < 0 < values.max()


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (np.zeros((1, 3)), np.zeros((4, 3)), "at least 2 images, got 1"),
        (np.zeros((4, 3)), np.zeros((4, 2)), "same dimension, got 3 and 2"),
        (np.zeros(4), np.zeros((4, 2)), "expected real"),
        (np.full((4, 2), np.inf), np.zeros((4, 2)), "not finite"),
    ],
)
def test_wrong_input(first: np.ndarray, second: np.ndarray, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        kid(first, second)
