from __future__ import annotations

import math

import numpy as np
import pytest

from dpsdata.contracts import UsageError
from dpseval.metrics.pixels import PIXEL_METRICS, PixelMetrics, PixelTruth, l1, psnr, squared_error, ssim
from dpseval.metrics.regions import composite, region_masks


def measure_pixels(output: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> PixelMetrics:
    return PixelTruth(truth, mask).measure(output)


@pytest.fixture
def case() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(8)
    output, truth = rng.integers(0, 256, (2, 64, 48, 3), dtype=np.uint8)
    mask = np.zeros((64, 48), np.uint8)
    mask[20:40, 10:30] = 1
    return output, truth, mask


def test_every_region_is_scored_on_the_composite(case: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    output, truth, mask = case
    found = measure_pixels(output, truth, mask)
    whole = composite(output, truth, mask)
    assert tuple(found.rows) == ("full", "hole", "ring")
    for name, region in region_masks(mask).items():
        row = found.rows[name]
        assert tuple(row) == PIXEL_METRICS
        assert row["psnr"] == psnr(whole, truth, region)
        assert row["ssim"] == pytest.approx(ssim(whole, truth, region), abs=1e-15)
        assert row["l1"] == l1(whole, truth, region)
        assert row["mse"] == squared_error(whole, truth, region)
    assert found.rows["full"]["mse"] == pytest.approx(found.rows["hole"]["mse"] * 400 / (64 * 48), rel=1e-15)
    assert found.rows["ring"]["psnr"] == math.inf
    assert found.rows["ring"]["ssim"] < 1


def test_drift_is_taken_before_compositing_and_on_known_pixels_only(
    case: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    _, truth, mask = case
    output = truth.copy()
    output[mask == 1] ^= 255
    assert measure_pixels(output, truth, mask).known_drift == 0
    output[0, 0] = truth[0, 0] ^ 1
    assert measure_pixels(output, truth, mask).known_drift == pytest.approx(3 / (3 * (64 * 48 - 400)) / 255, rel=1e-15)


def test_what_lies_outside_the_hole_changes_no_row(case: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    output, truth, mask = case
    other = output.copy()
    other[mask == 0] = 7
    first, second = measure_pixels(output, truth, mask), measure_pixels(other, truth, mask)
    assert first.rows == second.rows
    assert first.known_drift != second.known_drift


def test_masks_without_hole_or_without_known_pixels(case: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    output, truth, mask = case
    none = measure_pixels(output, truth, mask * 0)
    assert none.rows["full"] == {"psnr": math.inf, "ssim": 1.0, "l1": 0.0, "mse": 0.0}
    assert all(math.isnan(value) for name in ("hole", "ring") for value in none.rows[name].values())
    whole = measure_pixels(output, truth, np.ones_like(mask))
    assert math.isnan(whole.known_drift)
    assert whole.rows["full"] == whole.rows["hole"]


def test_one_truth_serves_many_outputs(case: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    output, truth, mask = case
    shared = PixelTruth(truth, mask)
    for other in (output, 255 - output, output):
        assert shared.measure(other) == measure_pixels(other, truth, mask)


def test_wrong_sizes_are_refused(case: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    output, truth, mask = case
    with pytest.raises(UsageError, match="size of its truth"):
        measure_pixels(output[1:], truth, mask)
    with pytest.raises(UsageError, match="size of its photo"):
        measure_pixels(output, truth, mask[1:])
