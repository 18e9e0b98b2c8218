from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from dpsdata.contracts import UsageError
from dpsdata.hed.bsds.data import read_bsds
from dpsdata.hed.bsds.evaluate import EvalConfig, canny_edge_map, evaluate_edges

BSDS = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "bsds500"


def step_photo(low: int, high: int) -> np.ndarray:
    photo = np.full((40, 60, 3), low, np.uint8)
    photo[:, 30:] = high
    return photo


@pytest.mark.parametrize(("low", "high"), [(0, 255), (60, 188), (100, 151)])
def test_strength_is_the_contrast_of_a_step(low: int, high: int) -> None:
    strength = canny_edge_map(step_photo(low, high))
    assert strength.dtype == np.float32
    assert strength[20].max() == pytest.approx((high - low) / 255, abs=0.07)
    assert np.count_nonzero(strength[20]) == 1
    assert abs(int(strength[20].argmax()) - 29.5) <= 0.5


def test_thresholded_map_is_canny_at_that_threshold() -> None:
    rng = np.random.default_rng(3)
    photo = cv2.resize(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8), (96, 72), interpolation=cv2.INTER_CUBIC)
    fine = canny_edge_map(photo, level_count=99)
    coarse = canny_edge_map(photo, level_count=9)
    assert 0 < np.count_nonzero(fine >= 0.5) < np.count_nonzero(fine >= 0.1)
    for level in range(1, 10):
        threshold = np.float32(level / 10)
        assert np.array_equal(fine >= threshold, coarse >= threshold)


def test_flat_photo_has_no_edges_and_repeats_are_equal() -> None:
    assert not canny_edge_map(step_photo(90, 90)).any()
    assert np.array_equal(canny_edge_map(step_photo(10, 99)), canny_edge_map(step_photo(10, 99)))


def test_wrong_input_is_refused() -> None:
    photo = step_photo(0, 255)
    with pytest.raises(UsageError, match="rgb"):
        canny_edge_map(photo.astype(np.float32))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="rgb"):
        canny_edge_map(photo[..., 0])
    with pytest.raises(UsageError, match="sigma_px"):
        canny_edge_map(photo, sigma_px=0)
    with pytest.raises(UsageError, match="level_count"):
        canny_edge_map(photo, level_count=0)


@pytest.mark.skipif(not BSDS.is_dir(), reason="BSDS500 is not on this machine")
def test_canny_on_bsds_is_where_the_literature_has_it() -> None:
    samples = read_bsds(BSDS, "test")[::25]
    pairs = ((canny_edge_map(sample.photo()), sample.boundaries()) for sample in samples)
    scores = evaluate_edges(pairs, EvalConfig(threshold_count=9, nms=False))
    assert scores.image_count == 8
    assert 0.55 < scores.ods < 0.72  # 0.60 to 0.61 on all 200; 0.655 here
    assert scores.ois >= scores.ods - 0.02
