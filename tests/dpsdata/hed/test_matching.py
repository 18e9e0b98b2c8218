from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from dpsdata.contracts import UsageError
from dpsdata.hed.bsds.matching import BoundaryMatcher


def image(shape: tuple[int, int], *pixels: tuple[int, int]) -> np.ndarray:
    marked = np.zeros(shape, bool)
    for row, column in pixels:
        marked[row, column] = True
    return marked


def greatest_pair_count(detected: np.ndarray, truth: np.ndarray, radius_px: float) -> int:
    distances = np.linalg.norm(np.argwhere(detected)[:, None] - np.argwhere(truth)[None], axis=2)
    rows, columns = linear_sum_assignment(distances <= radius_px, maximize=True)
    return int((distances <= radius_px)[rows, columns].sum())


def test_two_detections_near_one_truth_pixel_make_one_pair() -> None:
    match = BoundaryMatcher(image((9, 9), (4, 4))[None], 2.0).match(image((9, 9), (4, 3), (4, 6)))
    assert match.detected.tolist() == [4 * 9 + 3]  # the nearer one
    assert match.truth.tolist() == [4 * 9 + 4]


@pytest.mark.parametrize(("radius_px", "pair_count"), [(0.0, 0), (4.99, 0), (5.0, 1), (5.2, 1)])
def test_radius_counts_as_within(radius_px: float, pair_count: int) -> None:
    match = BoundaryMatcher(image((12, 9), (8, 5))[None], radius_px).match(image((12, 9), (4, 2)))  # 4 down, 3 across
    assert match.truth.size == pair_count


def test_radius_zero_matches_the_same_pixels() -> None:
    truth = image((4, 6), (0, 0), (2, 5))
    match = BoundaryMatcher(truth[None], 0.0).match(image((4, 6), (0, 0), (3, 5)))
    assert match.detected.tolist() == [0]


def test_nearest_first_is_completed_along_a_chain() -> None:
    # Nearest first pairs 3 with 4 and 6 with 7 and leaves 9 and 1 single; only a shift of the chain pairs all.
    truth, detected = image((1, 50), (0, 1), (0, 4), (0, 7)), image((1, 50), (0, 3), (0, 6), (0, 9))
    match = BoundaryMatcher(truth[None], 2.0).match(detected)
    assert dict(zip(match.detected.tolist(), match.truth.tolist(), strict=True)) == {3: 1, 6: 4, 9: 7}


def test_pixels_at_opposite_borders_are_no_neighbours() -> None:
    match = BoundaryMatcher(image((6, 6), (2, 5), (5, 5))[None], 2.5).match(image((6, 6), (3, 0), (0, 0)))
    assert match.truth.size == 0


def test_annotators_are_matched_separately() -> None:
    truths = np.stack([image((5, 8), (2, 2)), image((5, 8)), image((5, 8), (2, 3), (4, 7))])
    match = BoundaryMatcher(truths, 1.0).match(image((5, 8), (2, 2), (4, 6)))
    assert list(zip(match.annotator.tolist(), match.detected.tolist(), match.truth.tolist(), strict=True)) == [
        (0, 2 * 8 + 2, 2 * 8 + 2),
        (2, 2 * 8 + 2, 2 * 8 + 3),
        (2, 4 * 8 + 6, 4 * 8 + 7),
    ]


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    height=st.integers(1, 14),
    width=st.integers(1, 14),
    shares=st.tuples(st.floats(0, 0.7), st.floats(0, 0.7)),
    radius_px=st.floats(0, 4.5),
)
def test_matching_is_one_to_one_within_the_radius_and_largest(
    seed: int, height: int, width: int, shares: tuple[float, float], radius_px: float
) -> None:
    rng = np.random.default_rng(seed)
    truths = rng.random((2, height, width)) < shares[0]
    detected = rng.random((height, width)) < shares[1]
    match = BoundaryMatcher(truths, radius_px).match(detected)
    for annotator, truth in enumerate(truths):
        mine = match.annotator == annotator
        pairs = match.detected[mine], match.truth[mine]
        assert all(np.unique(side).size == side.size for side in pairs)
        assert detected.ravel()[pairs[0]].all()
        assert truth.ravel()[pairs[1]].all()
        steps = np.subtract(np.divmod(pairs[0], width), np.divmod(pairs[1], width))
        assert (np.hypot(*steps) <= radius_px + 1e-9).all()
        assert mine.sum() == greatest_pair_count(detected, truth, radius_px)


def test_lines_of_an_image_match_as_by_brute_force() -> None:
    # Parallel wavy lines: long alternating paths.
    x = np.arange(160)
    truth, detected = np.zeros((2, 120, 160), bool)
    for start in range(8, 110, 9):
        truth[np.rint(start + 3 * np.sin(x / 9)).astype(int), x] = True
        detected[np.rint(start + 3 * np.sin(x / 7 + start)).astype(int), x] = True
    match = BoundaryMatcher(truth[None], 4.3).match(detected)
    assert match.truth.size == greatest_pair_count(detected, truth, 4.3)
    again = BoundaryMatcher(truth[None], 4.3).match(detected)
    assert match.detected.tolist() == again.detected.tolist()
    assert match.truth.tolist() == again.truth.tolist()


def test_wrong_input_is_refused() -> None:
    truth = image((5, 5), (2, 2))[None]
    with pytest.raises(UsageError, match="boundaries: expected a bool array"):
        BoundaryMatcher(truth.astype(np.uint8), 1.0)
    with pytest.raises(UsageError, match="boundaries"):
        BoundaryMatcher(truth[0], 1.0)
    with pytest.raises(UsageError, match="boundaries"):
        BoundaryMatcher(truth[:0], 1.0)
    for radius_px in (-1.0, math.nan, math.inf):
        with pytest.raises(UsageError, match="radius_px"):
            BoundaryMatcher(truth, radius_px)
    with pytest.raises(UsageError, match="detected"):
        BoundaryMatcher(truth, 1.0).match(np.zeros((5, 6), bool))
