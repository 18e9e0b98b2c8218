from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpsdata.contracts import UsageError
from dpseval.metrics.regions import HOLE_BINS, REGIONS, composite, hole_bin, hole_ratio, region_masks


def photos(seed: int, side_px: int = 16) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    output, truth = rng.integers(0, 256, (2, side_px, side_px, 3), dtype=np.uint8)
    return output, truth, rng.integers(0, 2, (side_px, side_px), dtype=np.uint8)


@given(st.integers(0, 10_000))
def test_the_composite_is_the_truth_outside_and_the_output_inside(seed: int) -> None:
    output, truth, mask = photos(seed)
    result = composite(output, truth, mask)
    assert result.dtype == np.uint8
    assert (result[mask == 0] == truth[mask == 0]).all()
    assert (result[mask == 1] == output[mask == 1]).all()


def test_the_ring_is_eight_pixels_wide_at_256_and_scales_with_the_smaller_side() -> None:
    for height, width, expected in ((256, 256, 8), (512, 600, 16), (100, 128, 3), (16, 16, 1)):
        mask = np.zeros((height, width), np.uint8)
        mask[height // 2, width // 2] = 1
        regions = region_masks(mask)
        assert tuple(regions) == REGIONS
        assert regions["full"].all()
        assert (regions["hole"] == (mask == 1)).all()
        row = np.flatnonzero(regions["ring"][height // 2])
        assert row.tolist() == [x for x in range(width // 2 - expected, width // 2 + expected + 1) if x != width // 2]
        rows, columns = np.ogrid[:height, :width]
        squared = (rows - height // 2) ** 2 + (columns - width // 2) ** 2
        assert (regions["ring"] == ((squared <= expected**2) & (squared > 0))).all()


@given(st.integers(0, 10_000))
def test_hole_and_ring_never_meet(seed: int) -> None:
    regions = region_masks(photos(seed)[2])
    assert not (regions["hole"] & regions["ring"]).any()


def test_a_mask_of_one_value_has_no_ring() -> None:
    for value in (0, 1):
        regions = region_masks(np.full((32, 32), value, np.uint8))
        assert not regions["ring"].any()
        assert regions["hole"].all() == bool(value)


@pytest.mark.parametrize(
    ("ratio", "name"),
    [
        (0.0, "0-0.01"),
        (0.01, "0-0.01"),
        (0.0101, "0.01-0.1"),
        (0.1, "0.01-0.1"),
        (0.100001, "0.1-0.2"),
        (0.6, "0.5-0.6"),
        (0.61, "0.6-1"),
        (1.0, "0.6-1"),
    ],
)
def test_bins_take_their_upper_end(ratio: float, name: str) -> None:
    assert hole_bin(ratio) == name


def test_bins_follow_each_other() -> None:
    ends = list(HOLE_BINS.values())
    assert len(ends) == 7
    assert all(before[1] == after[0] for before, after in pairwise(ends))


def test_ratio_is_the_share_of_the_hole() -> None:
    mask = np.zeros((4, 5), np.uint8)
    mask[0, :3] = 1
    assert hole_ratio(mask) == 0.15


def test_wrong_inputs_are_named() -> None:
    output, truth, mask = photos(1)
    with pytest.raises(UsageError, match="size of its truth"):
        composite(output[:8], truth, mask)
    with pytest.raises(UsageError, match="uint8 RGB"):
        composite(output.astype(np.float32), truth, mask)
    with pytest.raises(UsageError, match="up to 255"):
        composite(output, truth, mask * 255)
    with pytest.raises(UsageError, match="size of its photo"):
        composite(output, truth, mask[:8])
    for ratio in (-0.1, 1.1, float("nan")):
        with pytest.raises(UsageError, match="hole ratio"):
            hole_bin(ratio)
