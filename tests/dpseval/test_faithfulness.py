from __future__ import annotations

import itertools
import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dpsdata.contracts import UsageError
from dpseval.metrics.faithfulness import default_tolerance_px, score_edges, thin_output_edges

SIZE = 64


def _blank() -> np.ndarray:
    return np.zeros((SIZE, SIZE), np.uint8)


def _column(x: int, top: int = 0, bottom: int = SIZE) -> np.ndarray:
    lines = _blank()
    lines[top:bottom, x] = 1
    return lines


def _hole() -> np.ndarray:
    mask = _blank()
    mask[8:56, 8:56] = 1
    return mask


bits = arrays(np.uint8, (24, 31), elements=st.integers(0, 1))
sparse_bits = st.lists(st.tuples(st.integers(0, 23), st.integers(0, 30)), max_size=25)


def _points(positions: list[tuple[int, int]]) -> np.ndarray:
    lines = np.zeros((24, 31), np.uint8)
    for y, x in positions:
        lines[y, x] = 1
    return lines


def test_tolerance_is_2_px_at_256_and_grows_with_the_shorter_side() -> None:
    assert default_tolerance_px(256, 256) == 2.0
    assert default_tolerance_px(512, 900) == 4.0
    assert default_tolerance_px(64, 64) == 1.0


@settings(max_examples=50, deadline=None)
@given(bits, bits)
def test_an_output_that_is_the_sketch_scores_1_and_0_px(lines: np.ndarray, mask: np.ndarray) -> None:
    scores = score_edges(lines, lines, mask)
    if not (lines & mask).any():
        assert math.isnan(scores.f)
        assert math.isnan(scores.chamfer_px)
        return
    assert (scores.f, scores.precision, scores.recall, scores.chamfer_px) == (1.0, 1.0, 1.0, 0.0)
    assert scores.output_density == scores.sketch_density == (lines & mask).sum() / mask.sum()


@settings(max_examples=50, deadline=None)
@given(sparse_bits, sparse_bits, bits, st.floats(0, 6))
def test_distances_equal_those_of_every_pair_of_pixels(
    output: list[tuple[int, int]], sketch: list[tuple[int, int]], mask: np.ndarray, tolerance: float
) -> None:
    inside = [np.argwhere(_points(points) & mask).astype(float) for points in (output, sketch)]
    scores = score_edges(_points(output), _points(sketch), mask, tolerance)
    if not (len(inside[0]) and len(inside[1])):
        return
    pairs = np.linalg.norm(inside[0][:, None] - inside[1][None], axis=2)
    to_sketch, to_output = pairs.min(axis=1), pairs.min(axis=0)
    if np.abs(np.concatenate([to_sketch, to_output]) - tolerance).min() > 1e-3:
        assert scores.precision == pytest.approx(np.mean(to_sketch <= tolerance), abs=1e-12)
        assert scores.recall == pytest.approx(np.mean(to_output <= tolerance), abs=1e-12)
    assert scores.chamfer_px == pytest.approx((to_sketch.mean() + to_output.mean()) / 2, abs=1e-4)


@settings(max_examples=50, deadline=None)
@given(bits, bits, bits, bits, bits)
def test_nothing_outside_of_the_hole_counts(
    output: np.ndarray, sketch: np.ndarray, mask: np.ndarray, other_output: np.ndarray, other_sketch: np.ndarray
) -> None:
    inside = mask == 1
    changed = score_edges(np.where(inside, output, other_output), np.where(inside, sketch, other_sketch), mask)
    np.testing.assert_equal(changed, score_edges(output, sketch, mask))


def test_a_line_drawn_just_outside_of_the_hole_neither_asks_for_an_edge_nor_excuses_one() -> None:
    outside, inside, inner = _column(7), _column(8), _column(30)
    assert score_edges(inner, inner | outside, _hole(), 2).f == 1.0
    across = score_edges(inside | inner, inner | outside, _hole(), 2)
    assert (across.precision, across.recall) == (0.5, 1.0)
    assert math.isnan(score_edges(inside, outside, _hole(), 2).f)


def test_the_tolerance_includes_its_own_distance() -> None:
    for shift, f in ((1, 1.0), (2, 1.0), (3, 0.0)):
        scores = score_edges(_column(20 + shift), _column(20), _hole(), 2)
        assert scores.f == f
        assert scores.chamfer_px == pytest.approx(shift, abs=1e-6)
    assert score_edges(_column(21), _column(20), _hole(), 0.5).f == 0.0


def test_f_falls_and_chamfer_grows_as_a_drawing_moves_away() -> None:
    sketch = _blank()
    cv2.circle(sketch, (32, 32), 14, 1)
    scores = [score_edges(np.roll(sketch, shift, axis=1), sketch, _hole(), 2) for shift in (0, 2, 4, 6, 9)]
    f, chamfer = [one.f for one in scores], [one.chamfer_px for one in scores]
    assert f[:2] == [1.0, 1.0]
    assert all(later < before for before, later in itertools.pairwise(f[1:]))
    assert all(later > before for before, later in itertools.pairwise(chamfer))


def test_half_a_line_by_hand() -> None:
    # 48 rows are in the hole; the output has the upper 24 and a stray line of as many pixels, 20 px away
    output = _column(20, 8, 32) | _column(40, 8, 32)
    scores = score_edges(output, _column(20), _hole(), 0)
    assert (scores.precision, scores.recall, scores.f) == (0.5, 0.5, 0.5)
    # to the sketch: 24 times 0 and 24 times 20; to the output: 24 times 0, then 1 to 24
    assert scores.chamfer_px == pytest.approx((10 + (24 * 25 / 2) / 48) / 2, abs=1e-5)
    assert scores.output_density == 48 / 48**2
    assert scores.sketch_density == 48 / 48**2


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(12, 54, 3)))
def test_clutter_lowers_precision_and_raises_density(columns: list[int]) -> None:
    sketch = _column(10)
    output = sketch.copy()
    before = score_edges(output, sketch, _hole(), 1)
    for x in columns:
        output = output | _column(x)
        now = score_edges(output, sketch, _hole(), 1)
        assert now.precision < before.precision
        assert now.f < before.f
        assert now.output_density > before.output_density
        assert now.recall == 1.0
        before = now


def test_empty_cases() -> None:
    nothing_drawn = score_edges(_column(20), _blank(), _hole())
    assert all(math.isnan(v) for v in (nothing_drawn.f, nothing_drawn.recall, nothing_drawn.chamfer_px))
    assert (nothing_drawn.output_density, nothing_drawn.sketch_density) == (48 / 48**2, 0.0)
    nothing_made = score_edges(_blank(), _column(20), _hole())
    assert (nothing_made.f, nothing_made.precision, nothing_made.recall) == (0.0, 0.0, 0.0)
    assert nothing_made.chamfer_px == pytest.approx(48 * math.sqrt(2))
    no_hole = score_edges(_column(20), _column(20), _blank())
    assert math.isnan(no_hole.f)
    assert math.isnan(no_hole.output_density)


def test_wrong_input() -> None:
    with pytest.raises(UsageError, match="one shape"):
        score_edges(_blank(), _blank()[:, 1:], _hole())
    with pytest.raises(UsageError, match="sketch_thin"):
        score_edges(_blank(), _blank() + 2, _hole())
    with pytest.raises(UsageError, match="tolerance"):
        score_edges(_blank(), _blank(), _hole(), -1)
    with pytest.raises(UsageError, match="edges"):
        thin_output_edges(np.full((SIZE, SIZE), 2.0, np.float32))


def test_a_blurred_line_thins_to_the_drawn_one() -> None:
    sketch = _blank()
    cv2.line(sketch, (12, 14), (50, 44), 1)
    edges = np.clip(3 * cv2.GaussianBlur(sketch.astype(np.float32), (0, 0), 1.5), 0, 1)
    thin = thin_output_edges(edges)
    assert thin.dtype == np.uint8
    assert thin.sum() < 1.2 * sketch.sum()
    assert score_edges(thin, sketch, _hole()).f > 0.99
