"""TensorFlow's operators against TensorFlow's outputs, and hand-worked borders."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from models.baselines.deepfillv2 import DeepFillv2, DeepFillv2Config, attend
from models.baselines.tensorflow.operators import (
    convolve_same,
    convolve_transposed,
    initialise_glorot,
    nearest_indices,
    normalise_response,
    resize_nearest,
    same_padding,
)

parity = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("parity_arrays.py"))))
OPS = parity.load_arrays("tf_ops.npz")
CONVOLUTIONS = sorted(name[:-2] for name in OPS if name.startswith("conv_") and name.endswith("_x"))
TABLES = sorted(name for name in OPS if name.startswith("nn_"))


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolutions_equal_tensorflow(case: str) -> None:
    _, _, stride, rate, _ = case.split("_")
    kernel = torch.from_numpy(OPS[f"{case}_w"].transpose(3, 2, 0, 1).copy())
    ours = convolve_same(parity.planes(OPS[f"{case}_x"]), kernel, None, int(stride), int(rate))
    assert parity.largest_error(ours, parity.planes(OPS[f"{case}_y"])) < 1e-5


def test_the_arrays_hold_every_case() -> None:
    assert len(CONVOLUTIONS) == 7
    assert len(TABLES) == 8


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "rate", "expected"),
    [
        (16, 3, 2, 1, (0, 1)),
        (16, 5, 2, 1, (1, 2)),
        (16, 7, 2, 1, (2, 3)),
        (15, 3, 2, 1, (1, 1)),
        (16, 3, 1, 4, (4, 4)),
        (4, 3, 1, 16, (16, 16)),
        (16, 1, 2, 1, (0, 0)),
    ],
)
def test_same_padding_by_hand(size: int, kernel: int, stride: int, rate: int, expected: tuple[int, int]) -> None:
    assert same_padding(size, kernel, stride, rate) == expected


def test_a_rectangle_is_padded_on_each_axis_by_itself() -> None:
    x, kernel = torch.randn(1, 2, 15, 16), torch.randn(3, 2, 3, 3)
    by_hand = F.conv2d(F.pad(x, (0, 1, 1, 1)), kernel, stride=2)
    assert torch.equal(convolve_same(x, kernel, None, stride=2), by_hand)


def test_the_transposed_convolution_equals_tensorflow() -> None:
    kernel = torch.from_numpy(OPS["dc_w"].transpose(3, 2, 0, 1).copy())
    ours = convolve_transposed(parity.planes(OPS["dc_x"]), kernel)
    assert parity.largest_error(ours, parity.planes(OPS["dc_y"])) < 1e-5


def test_response_normalisation_equals_tensorflow() -> None:
    ours = normalise_response(parity.planes(OPS["lrn_x"]))
    assert parity.largest_error(ours, parity.planes(OPS["lrn_y"])) < 1e-5


def test_response_normalisation_by_hand() -> None:
    # 20 channels of ones: channel 0 sees 6 of them, channel 10 all 11.
    out = normalise_response(torch.ones(1, 20, 1, 1)).flatten()
    assert out[0].item() == pytest.approx((6 + 5e-5) ** -0.5)
    assert out[10].item() == pytest.approx((11 + 5e-5) ** -0.5)


@pytest.mark.parametrize("table", TABLES)
def test_nearest_indices_equal_tensorflow(table: str) -> None:
    _, before, after = table.split("_")
    assert nearest_indices(int(before), int(after)) == OPS[table].astype(int).tolist()


@given(st.integers(1, 300), st.integers(1, 300))
def test_nearest_indices_stay_inside_and_keep_the_corners(before: int, after: int) -> None:
    indices = nearest_indices(before, after)
    assert len(indices) == after
    assert indices[0] == 0
    assert indices == sorted(indices)
    assert after == 1 or indices[-1] == before - 1


@given(st.integers(1, 40), st.integers(1, 40))
def test_doubling_equals_the_nearest_neighbour_of_pytorch(height: int, width: int) -> None:
    x = torch.arange(height * width, dtype=torch.float32).view(1, 1, height, width)
    assert torch.equal(resize_nearest(x, 2 * height, 2 * width), F.interpolate(x, scale_factor=2.0))


def test_halving_is_not_striding() -> None:
    assert nearest_indices(64, 32) != list(range(0, 64, 2))


@pytest.mark.parametrize("shape", ["sq", "rect"])
@pytest.mark.parametrize("fuse", [True, False])
def test_attention_equals_tensorflow(shape: str, fuse: bool) -> None:
    features, mask = parity.planes(OPS[f"ca_{shape}_f"]), parity.planes(OPS[f"ca_{shape}_m"])
    truth = parity.planes(OPS[f"ca_{shape}_y{int(fuse)}"])
    assert parity.largest_error(attend(features, mask, fuse), truth) < 5e-5


def test_first_weights_are_glorot_uniform_and_keyed() -> None:
    first, second, third = (DeepFillv2(DeepFillv2Config(8)) for _ in range(3))
    initialise_glorot(first, 3, "deepfillv2")
    initialise_glorot(second, 3, "deepfillv2")
    initialise_glorot(third, 4, "deepfillv2")
    kernel = first.get_submodule("coarse.conv3").weight.detach()
    bound = np.sqrt(6 / (9 * 8 + 9 * 16))
    assert 0.95 * bound < kernel.abs().max() <= bound
    assert not first.get_submodule("coarse.conv3").bias.any()
    same = [torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True)]
    assert all(same)
    assert not torch.equal(kernel, third.get_submodule("coarse.conv3").weight)
