"""Winograd convolutions: equal to direct ones at any size, exact enough in the whole net, refused off the CPU."""

from __future__ import annotations

import copy
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dpsdata.contracts import UsageError
from dpsdata.hed import HED, load_hed
from dpsdata.hed.winograd import WinogradConv2d, transform_matrices, use_winograd
from dpsdata.runtime.device import check_precision

ROOT = Path(__file__).resolve().parents[3]
PORTABLE = ROOT / "tests" / "parity"
SHARED = ROOT.parent / "shared" / "parity" / "hed"
fill = runpy.run_path(str(PORTABLE / "formula_weights.py"))["fill"]
layouts = runpy.run_path(str(Path(__file__).with_name("public_layouts.py")))


@pytest.mark.parametrize("tile_px", [4, 6])
def test_transforms_filter_one_line_exactly(tile_px: int) -> None:
    inputs, weights, outputs = (matrix.numpy() for matrix in transform_matrices(tile_px))
    rng = np.random.default_rng(0)
    line, kernel = rng.standard_normal(tile_px + 2), rng.standard_normal(3)
    expected = np.correlate(line, kernel, mode="valid")
    np.testing.assert_allclose(outputs @ ((inputs @ line) * (weights @ kernel)), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("tile_px", [4, 6])
@pytest.mark.parametrize("size", [(1, 1), (2, 7), (4, 6), (13, 5), (12, 24), (37, 50)])
def test_equals_the_direct_convolution(tile_px: int, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(8, 5, 3, padding=1).requires_grad_(False)
    images = torch.randn(3, 8, *size)
    expected = F.conv2d(images.double(), conv.weight.double(), conv.bias.double(), padding=1)
    with torch.inference_mode():
        result = WinogradConv2d(conv, tile_px)(images)
    assert result.shape == expected.shape
    assert float((result - expected).abs().max()) < 1e-4 * float(expected.std() + 0.1)


def test_many_rows_of_tiles_in_blocks() -> None:
    torch.manual_seed(1)
    conv = nn.Conv2d(2, 3, 3, padding=1).requires_grad_(False)
    images = torch.randn(1, 2, 211, 205).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        torch.testing.assert_close(WinogradConv2d(conv, 6)(images), conv(images), rtol=0, atol=1e-4)


def test_whole_net_of_small_width() -> None:
    torch.manual_seed(2)
    direct = HED(16).eval().requires_grad_(False)
    fast = use_winograd(copy.deepcopy(direct))
    replaced = [module for module in fast.modules() if isinstance(module, WinogradConv2d)]
    assert len(replaced) == 8  # those that read 64 or 128 channels
    photos = np.random.default_rng(0).integers(0, 256, (2, 75, 90, 3), dtype=np.uint8)
    maps = fast.detect(photos)
    assert 0 < np.abs(maps - direct.detect(photos)).max() < 1e-5
    np.testing.assert_array_equal(maps, fast.detect(photos))


def test_parity_of_the_full_net() -> None:
    weights = {key: torch.from_numpy(value) for key, value in fill(layouts["xwjabc_shapes"](64), 302).items()}
    net = load_hed(weights, precision="fp32-winograd")
    assert net.settings.precision == "fp32-winograd"
    paths = sorted(PORTABLE.glob("hed_*.npz"))
    assert paths
    for path in paths:
        arrays = np.load(path)
        assert np.abs(net.detect(arrays["image_bgr"][None, ..., ::-1])[0] - arrays["caffe_fused"]).max() <= 1e-4


@pytest.mark.skipif(not SHARED.is_dir(), reason="no ../shared/parity/hed here")
def test_parity_at_256_px() -> None:
    weights = {key: torch.from_numpy(value) for key, value in fill(layouts["xwjabc_shapes"](64), 100).items()}
    net = load_hed(weights, precision="fp32-winograd")
    for path in sorted(SHARED.glob("hed_*.npz")):
        arrays = np.load(path)
        assert np.abs(net.detect(arrays["image_bgr"][None, ..., ::-1])[0] - arrays["caffe_fused"]).max() <= 1e-4


def test_only_for_the_cpu() -> None:
    assert check_precision("fp32-winograd", torch.device("cpu")) == "fp32-winograd"
    with pytest.raises(UsageError, match="for the CPU, not for cuda:0"):
        check_precision("fp32-winograd", torch.device("cuda:0"))
