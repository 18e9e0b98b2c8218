"""Metrics of sets of photos against straight versions that are written here, and against torch-fidelity."""

from __future__ import annotations

import numpy as np
import pytest

from dpsdata.contracts import UsageError
from dpsdata.runtime.device import keyed_generator
from dpseval.metrics.frechet import frechet_at_infinity
from dpseval.metrics.kid import cmmd, kid, kid_with_error
from dpseval.metrics.manifolds import fit_machine, measure_manifolds, measure_separability


def draw_sets(count: int, dimension: int, gap: float = 0.1, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    real = np.abs(generator.normal(size=(count, dimension)))
    made = real + 0.4 * generator.normal(size=(count, dimension)) + gap
    return made.astype(np.float32), real.astype(np.float32)


SIZES = [(40, 6), (60, 100), (520, 9)]


@pytest.mark.parametrize(("count", "dimension"), SIZES)
def test_precision_and_recall_are_torch_fidelitys(count, dimension):
    import torch
    from torch_fidelity.metric_prc import calculate_precision_recall_full

    made, real = draw_sets(count, dimension)
    found = measure_manifolds(made, real[: count - 3])
    expected = calculate_precision_recall_full(
        torch.from_numpy(made).double(), torch.from_numpy(real[: count - 3]).double(), 3
    )
    assert (found.precision, found.recall) == pytest.approx(expected, rel=1e-6)
    assert 0 < found.precision < 1 or dimension == 100


@pytest.mark.parametrize(("count", "dimension"), SIZES)
def test_density_and_coverage_are_those_of_naeem(count, dimension):
    made, real = draw_sets(count, dimension)
    made, real = made.astype(float), real[: count - 3].astype(float)
    gaps = np.sqrt(((real[:, None] - made[None]) ** 2).sum(-1))
    own = np.sqrt(((real[:, None] - real[None]) ** 2).sum(-1))
    radius = np.sort(own, axis=1)[:, 5]
    inside = gaps <= radius[:, None]
    found = measure_manifolds(made, real)
    assert found.density == pytest.approx(inside.sum() / (5 * len(made)), rel=1e-12)
    assert found.coverage == pytest.approx(inside.any(axis=1).mean(), rel=1e-12)


def test_equal_sets_lie_in_each_other_and_distant_ones_do_not():
    _, real = draw_sets(30, 8)
    same, apart = measure_manifolds(real, real), measure_manifolds(real + 100, real)
    assert (same.precision, same.recall, same.coverage) == (1, 1, 1)
    assert same.density > 1
    assert apart == (0, 0, 0, 0)


def test_neighbours_of_too_few_images_are_refused():
    made, real = draw_sets(5, 4)
    with pytest.raises(UsageError, match="at least 6"):
        measure_manifolds(made, real)


def plain_frechet(a: np.ndarray, b: np.ndarray) -> float:
    from scipy.linalg import sqrtm

    root = sqrtm(np.cov(a.T) @ np.cov(b.T))
    gap = a.mean(0) - b.mean(0)
    return float(gap @ gap + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * root.real))


def test_the_distance_at_infinity_is_the_intercept_of_a_line():
    made, real = (item.astype(np.float64) for item in draw_sets(80, 6))
    chance = keyed_generator(3, "", "frechet at infinity")
    sizes = np.round(np.linspace(40, 80, 12)).astype(int)
    values = []
    for size in sizes:
        rows = [chance.choice(80, size, replace=False) for _ in range(1 if size == 80 else 4)]
        values.append(np.mean([plain_frechet(made[row], real[row]) for row in rows]))
    (slope, intercept), covariance = np.polyfit(1 / sizes, values, 1, cov="unscaled")
    rest = np.array(values) - intercept - slope / sizes
    error = np.sqrt(covariance[1, 1] * (rest @ rest) / (len(sizes) - 2))
    assert frechet_at_infinity(made, real, seed=3) == pytest.approx((intercept, error), rel=1e-6)
    assert len(set(sizes)) >= 10


def test_the_distance_at_infinity_is_nearer_to_that_of_the_distributions():
    generator = np.random.default_rng(5)
    scale = 1 / np.sqrt(1 + np.arange(32))
    expected = float(((0.3 * scale) ** 2).sum() + ((0.2 * scale) ** 2).sum())
    plain, infinite = [], []
    for _ in range(8):
        real = generator.normal(size=(150, 32)) * scale
        made = generator.normal(size=(150, 32)) * scale * 1.2 + 0.3 * scale
        infinite.append(frechet_at_infinity(made, real)[0])
        plain.append(plain_frechet(made, real))
    assert abs(np.mean(infinite) - expected) < 0.25 * abs(np.mean(plain) - expected)


def test_few_photos_have_no_distance_at_infinity():
    with pytest.raises(UsageError, match="at least 24"):
        frechet_at_infinity(*draw_sets(23, 4))


def plain_kid(a: np.ndarray, b: np.ndarray) -> float:
    def kernel(x, y):
        return (x @ y.T / x.shape[1] + 1) ** 3

    n = len(a)
    within = sum(kernel(x, x).sum() - np.trace(kernel(x, x)) for x in (a, b)) / (n * (n - 1))
    return float(within - 2 * kernel(a, b).mean())


def test_kid_is_torch_fidelitys_on_one_whole_subset():
    import torch
    from torch_fidelity.metric_kid import kid_features_to_metric

    made, real = (item.astype(np.float64) for item in draw_sets(50, 12))
    found = kid_features_to_metric(
        torch.from_numpy(made), torch.from_numpy(real), kid_subsets=1, kid_subset_size=50, verbose=False
    )
    assert kid(made, real) == pytest.approx(found["kernel_inception_distance_mean"], rel=1e-6)


@pytest.mark.parametrize("count", [3, 4, 41])
def test_the_error_of_kid_is_that_of_leaving_out_each_photo(count):
    made, real = (item.astype(np.float64) for item in draw_sets(count, 7))
    left = np.array([plain_kid(np.delete(made, i, 0), np.delete(real, i, 0)) for i in range(count)])
    expected = np.sqrt((count - 1) / count * ((left - left.mean()) ** 2).sum())
    value, error = kid_with_error(made, real)
    assert value == pytest.approx(plain_kid(made, real), rel=1e-6)
    assert error == pytest.approx(expected, rel=1e-6)


def test_the_error_of_kid_is_how_far_it_moves():
    found = np.array([kid_with_error(*draw_sets(60, 10, seed=seed)) for seed in range(150)])
    assert 0.75 < found[:, 1].mean() / found[:, 0].std() < 1.35


def test_cmmd_is_a_straight_double_loop():
    made, real = (item.astype(np.float64) for item in draw_sets(9, 5))
    sides = [item / np.linalg.norm(item, axis=1, keepdims=True) for item in (made, real)]

    def mean(x, y):
        return np.mean([[np.exp(-((p - q) ** 2).sum() / (2 * 10**2)) for q in y] for p in x])

    expected = 1000 * (mean(sides[0], sides[0]) + mean(sides[1], sides[1]) - 2 * mean(*sides))
    assert cmmd(3 * made, real) == pytest.approx(expected, rel=1e-6)
    assert cmmd(real, real) == 0


def plain_machine(features: np.ndarray, signs: np.ndarray) -> np.ndarray:
    """The support vector machine by a general minimiser."""
    from scipy.optimize import minimize

    def loss(weights):
        short = np.maximum(0, 1 - signs * (features @ weights))
        return 0.5 * weights @ weights + (short**2).sum(), weights - 2 * features.T @ (signs * short)

    return minimize(loss, np.zeros(features.shape[1]), jac=True, method="L-BFGS-B", tol=1e-16,
                    options={"maxiter": 100_000, "maxfun": 200_000, "gtol": 1e-10}).x  # fmt: skip


@pytest.mark.parametrize(("count", "dimension", "gap"), [(30, 5, 0.1), (30, 90, 0.05), (200, 4, 0.3)])
def test_p_ids_and_u_ids_are_those_of_a_plain_machine(count, dimension, gap):
    made, real = (item.astype(np.float64) for item in draw_sets(count, dimension, gap))
    with_one = [np.concatenate([item, np.ones((count, 1))], 1) for item in (real, made)]
    scores = np.empty((2, count))
    for fold in range(5):
        held = np.arange(count) % 5 == fold
        rows = np.concatenate([item[~held] for item in with_one])
        weights = plain_machine(rows, np.repeat([1.0, -1.0], (~held).sum()))
        scores[:, held] = [item[held] @ weights for item in with_one]
    found = measure_separability(made, real)
    assert found.p_ids == pytest.approx((scores[1] > scores[0]).mean(), rel=1e-6)
    assert found.u_ids == pytest.approx(((scores[0] < 0).mean() + (scores[1] > 0).mean()) / 2, rel=1e-6)


def test_the_machine_has_the_least_loss_from_any_start():
    made, real = (item.astype(np.float64) for item in draw_sets(60, 12))
    features, signs = np.concatenate([real, made]), np.repeat([1.0, -1.0], 60)
    expected = plain_machine(features, signs)
    start = np.random.default_rng(0).normal(size=12) * 5
    for found in (fit_machine(features, signs), fit_machine(features, signs, start)):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_sets_that_cannot_be_told_apart_are_near_a_half_also_with_fewer_photos_than_features():
    generator = np.random.default_rng(2)
    made, real = generator.normal(size=(2, 100, 300))
    found = measure_separability(made, real)
    assert 0.35 < found.u_ids < 0.65
    assert 0.3 < found.p_ids < 0.7
    assert measure_separability(made + 1, real).u_ids < found.u_ids
