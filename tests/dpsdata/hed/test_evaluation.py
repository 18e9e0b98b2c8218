from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import pytest

from dpsdata.contracts import UsageError
from dpsdata.hed.bsds.evaluate import EvalConfig, count_matches, evaluate_edges, measure_crispness, suppress_edge_map

THIN = EvalConfig(threshold_count=3, nms=False)  # thresholds 0.25, 0.5, 0.75
SHAPE = (60, 80)  # diagonal 100: a tolerance of 0.0075 is 0.75 px, of 0.03 is 3 px


def column(x: int, value: float = 1.0) -> np.ndarray:
    edges = np.zeros(SHAPE, np.float32)
    edges[10:50, x] = value  # 40 px
    return edges


def test_perfect_map_has_f_1() -> None:
    truth = column(40) > 0
    scores = evaluate_edges([(column(40), truth[None])], THIN)
    assert (scores.ods, scores.ois, scores.ods_precision, scores.ods_recall) == (1, 1, 1, 1)
    assert scores.image_count == 1
    assert scores.thresholds == (0.25, 0.5, 0.75)
    assert scores.precision == scores.recall == (1, 1, 1)


@pytest.mark.parametrize(("shift_px", "matched"), [(0, 40), (1, 40), (3, 40), (4, 0), (-3, 40), (-4, 0)])
def test_shifted_line_matches_inside_of_the_tolerance_only(shift_px: int, matched: int) -> None:
    counts = count_matches(column(40 + shift_px), (column(40) > 0)[None], replace(THIN, tolerance=0.03))
    assert counts.tolist() == [[matched, 40, matched, 40]] * 3


def test_two_lines_beside_one_truth_count_once() -> None:
    detected = np.maximum(column(39), column(41))
    counts = count_matches(detected, (column(40) > 0)[None], replace(THIN, tolerance=0.01))
    assert counts[0].tolist() == [40, 40, 40, 80]  # precision 1/2, recall 1
    scores = evaluate_edges([(detected, (column(40) > 0)[None])], replace(THIN, tolerance=0.01))
    assert scores.ods == pytest.approx(2 / 3)


def test_detection_is_right_when_any_annotator_agrees() -> None:
    truths = np.stack([column(20) > 0, column(60) > 0])
    counts = count_matches(np.maximum(column(20), column(60)), truths, THIN)
    assert counts[0].tolist() == [80, 80, 80, 80]  # both annotators' lines are found, and no pixel is wrong
    counts = count_matches(column(20), truths, THIN)
    assert counts[0].tolist() == [40, 80, 40, 40]
    counts = count_matches(column(20), np.stack([column(20) > 0] * 3), THIN)
    assert counts[0].tolist() == [120, 120, 40, 40]  # recall adds up over annotators, precision does not


def test_thresholds_split_the_map_by_strength() -> None:
    detected = np.maximum(column(20, 0.5), column(60, 0.8))
    counts = count_matches(detected, (column(60) > 0)[None], THIN)
    assert counts.tolist() == [[40, 40, 40, 80], [40, 40, 40, 80], [40, 40, 40, 40]]  # 0.5 >= 0.5 is kept
    # 0.07 in float32 is below 0.07 in float64, and must still pass its own threshold
    counts = count_matches(column(20, np.float32(0.07)), (column(20) > 0)[None], EvalConfig(nms=False))
    assert counts[:, 3].tolist() == [40] * 7 + [0] * 92


def test_ods_pools_counts_and_ois_takes_each_image_at_its_best() -> None:
    truth = (column(20) > 0)[None]
    first = np.maximum(column(20, 0.9), column(60, 0.3))  # wrong line below 0.3
    second = column(20, 0.3)  # found below 0.3 only
    scores = evaluate_edges([(first, truth), (second, truth)], replace(THIN, threshold_count=3))
    # threshold 0.25: 80 of 80 found, 80 of 120 right; 0.5 and 0.75: 40 of 80 found, 40 of 40 right
    assert scores.precision == pytest.approx((2 / 3, 1, 1))
    assert scores.recall == pytest.approx((1, 0.5, 0.5))
    # F is 0.8 at 0.25, and 0.8082 between there and 0.5, at precision 0.734 and recall 0.899
    assert scores.ods == pytest.approx(0.80816, abs=1e-5)
    assert (scores.ods_precision, scores.ods_recall) == pytest.approx((0.734, 0.899), abs=1e-3)
    assert scores.ois == 1
    # recalls 0.5 to 1 are reached; precision falls from 1 to 2/3 on a straight line between them
    assert scores.average_precision == pytest.approx(51 * (1 + 2 / 3) / 2 / 100)


def test_ods_looks_between_thresholds() -> None:
    truth = (column(20) > 0)[None]
    detected = np.zeros(SHAPE, np.float32)
    detected[10:50, 20] = np.where(np.arange(40) < 10, 0.9, 0.3)  # a quarter is strong
    detected[:, 60] = 0.3
    scores = evaluate_edges([(detected, truth)], replace(THIN, threshold_count=2))  # thresholds 1/3, 2/3: no gain
    assert scores.ods == pytest.approx(2 * 0.25 / 1.25)
    scores = evaluate_edges([(detected, truth)], THIN)  # from (P 0.4, R 1) at 0.25 to (P 1, R 0.25) at 0.5
    share = np.linspace(0, 1, 100)
    precision, recall = 0.4 + 0.6 * share, 1 - 0.75 * share
    assert scores.precision[:2] == (0.4, 1)
    assert scores.ods == pytest.approx((2 * precision * recall / (precision + recall)).max())
    assert scores.ods > max(2 * 0.4 / 1.4, 0.4)
    assert 0.25 < scores.ods_threshold < 0.5


def test_empty_map_and_empty_truth_score_zero() -> None:
    empty = np.zeros(SHAPE, np.float32)
    assert evaluate_edges([(empty, (column(20) > 0)[None])], THIN).ods == 0
    scores = evaluate_edges([(column(20), np.zeros((2, *SHAPE), bool))], THIN)
    assert (scores.ods, scores.ois) == (0, 0)


def test_thick_binary_line_is_thinned() -> None:
    thick = np.zeros(SHAPE, np.float32)
    thick[10:50, 38:43] = 1
    assert count_matches(thick, (column(40) > 0)[None], replace(THIN, thin=False))[0, 3] == 200
    assert count_matches(thick, (column(40) > 0)[None], THIN)[0, 3] <= 44


def soft_edges(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A blurred drawing of a circle and a line with noise, and two annotators who draw them 1 px apart."""
    rng = np.random.default_rng(seed)
    planes = []
    for shift in (0, 1):
        plane = np.zeros((90, 120), np.uint8)
        cv2.circle(plane, (60 + shift, 45), 25, 1)
        cv2.line(plane, (15, 12 + shift), (110, 80 + shift), 1)
        planes.append(plane > 0)
    edges = 3 * cv2.GaussianBlur(planes[0].astype(np.float32), (0, 0), 2)
    edges += rng.random(edges.shape, np.float32) * np.float32(0.05)
    return np.clip(edges, 0, 1), np.stack(planes)


def test_suppression_keeps_one_ridge_and_fades_the_border() -> None:
    x = np.arange(80, dtype=np.float32)
    soft = np.tile(np.exp(-((x - 40) ** 2) / 18), (60, 1)).astype(np.float32)
    ridge = suppress_edge_map(soft, EvalConfig())
    assert ridge.dtype == np.float32
    assert set(np.nonzero(ridge)[1].tolist()) <= {39, 40, 41}
    smooth = (soft[30, 39] + 2 * soft[30, 40] + soft[30, 41]) / 4  # triangle filter of radius 1
    assert ridge[30, 40] == pytest.approx(smooth, abs=1e-6)
    assert ridge[[0, 1, 4], 40] == pytest.approx(smooth * np.array([0, 0.2, 0.8]), abs=1e-6)
    assert suppress_edge_map(soft, EvalConfig(smooth_radius_px=0))[30, 40] == pytest.approx(1)


def test_soft_map_scores_high_with_suppression() -> None:
    edges, truths = soft_edges(0)
    scores = evaluate_edges([(edges, truths)], EvalConfig(threshold_count=9, tolerance=0.015))
    assert scores.ods > 0.9
    assert evaluate_edges([(edges, truths)], EvalConfig(threshold_count=9, tolerance=0.0)).ods < scores.ods - 0.1


@pytest.mark.slow  # two processes import torch
def test_same_scores_for_any_number_of_workers() -> None:
    pairs = [soft_edges(seed) for seed in range(5)]
    config = EvalConfig(threshold_count=5)
    served = []

    def stream() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for pair in pairs:
            served.append(1)
            yield pair

    assert evaluate_edges(stream(), config, workers=2) == evaluate_edges(pairs, config)
    assert len(served) == 5


def test_wrong_input_is_refused() -> None:
    truth = (column(20) > 0)[None]
    with pytest.raises(UsageError, match="pairs: expected at least one"):
        evaluate_edges([], THIN)
    with pytest.raises(UsageError, match="workers"):
        evaluate_edges([(column(20), truth)], THIN, workers=0)
    with pytest.raises(UsageError, match="edge_map: expected float"):
        count_matches((column(20) > 0), truth, THIN)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"edge_map: expected values in \[0, 1\]"):
        count_matches(column(20, 1.5), truth, THIN)
    with pytest.raises(UsageError, match="edge_map"):
        count_matches(column(20, np.nan), truth, THIN)
    with pytest.raises(UsageError, match="boundaries"):
        count_matches(column(20), truth[:, 1:], THIN)
    with pytest.raises(UsageError, match="boundaries"):
        count_matches(column(20), truth.astype(np.uint8), THIN)  # type: ignore[arg-type]
    for wrong in ({"threshold_count": 0}, {"tolerance": -0.1}, {"tolerance": np.nan}, {"smooth_radius_px": -1}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            EvalConfig(**wrong)


def test_thin_lines_are_crisp_and_wide_ones_are_not():
    thin = column(40)
    wide = cv2.GaussianBlur(thin, (0, 0), 2)
    assert measure_crispness(thin) == pytest.approx(1, abs=1e-6)
    kept = wide[:, 40].sum() / wide.sum()  # the ridge is the middle column
    assert measure_crispness(wide) == pytest.approx(kept, rel=0.05)
    assert np.isnan(measure_crispness(np.zeros_like(thin)))
