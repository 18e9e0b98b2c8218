from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from dpsdata.contracts import UsageError
from dpseval.metrics.map_distance import mean_distances, region_weights


@settings(max_examples=30)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 1000))
def test_weights_give_the_mean_of_the_upsampled_map(height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    region = rng.random((17, 14)) < 0.3
    region[3, 4] = True
    values = rng.normal(size=(height, width))
    large = F.interpolate(torch.from_numpy(values)[None, None], (17, 14), mode="bilinear", align_corners=False)
    weights = region_weights(region, (height, width))
    assert weights @ values.ravel() == pytest.approx(float(large[0, 0].numpy()[region].mean()), abs=1e-13)
    assert weights.sum() == pytest.approx(1, abs=1e-13)


def test_worked_by_hand() -> None:
    truth = [torch.zeros(1, 2, 1, 2)]
    output = torch.zeros(2, 2, 1, 2)
    output[0, 0, 0, 1] = 3.0  # square 9, weight 0.5, in one of two places
    output[1, 1, 0, 0] = 2.0  # square 4, weight 2
    regions = {"full": np.ones((1, 2), bool), "hole": np.array([[False, True]]), "ring": np.zeros((1, 2), bool)}
    found = mean_distances(truth, [output], [torch.tensor([0.5, 2.0])], regions)
    assert [list(row) for row in found] == [["full", "hole", "ring"]] * 2
    assert [row["full"] for row in found] == [2.25, 4.0]
    assert [row["hole"] for row in found] == [4.5, 0.0]
    assert all(math.isnan(row["ring"]) for row in found)


def test_layers_add_up_and_the_layout_in_memory_does_not_matter() -> None:
    torch.manual_seed(1)
    truth = [torch.randn(1, 6, 8, 8), torch.randn(1, 3, 4, 4)]
    output = [torch.randn(3, 6, 8, 8), torch.randn(3, 3, 4, 4)]
    heads = [torch.rand(6), torch.rand(3)]
    hole = np.zeros((16, 16), bool)
    hole[2:9, 5:12] = True
    regions = {"full": np.ones((16, 16), bool), "hole": hole}
    both = mean_distances(truth, output, heads, regions)
    for index in range(3):
        parts = [mean_distances([a], [b], [c], regions)[index] for a, b, c in zip(truth, output, heads, strict=True)]
        for name in regions:
            assert both[index][name] == pytest.approx(sum(part[name] for part in parts), rel=1e-14)
    turned = [value.contiguous(memory_format=torch.channels_last) for value in output]
    assert mean_distances(truth, turned, heads, regions) == both


def test_maps_of_other_sizes_are_refused() -> None:
    regions = {"full": np.ones((4, 4), bool)}
    one, head = torch.zeros(1, 2, 4, 4), torch.ones(2)
    for truth, output in (([one], [one[..., :3]]), ([one.expand(2, -1, -1, -1)], [one]), ([one, one], [one])):
        with pytest.raises(UsageError, match="maps"):
            mean_distances(truth, output, [head], regions)
