"""Detection: parity with the reference forms, borders, shifts, sizes, and what is refused."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from dpsdata.contracts import MissingError, UsageError
from dpsdata.hed import HED, DetectionSettings, load_hed, load_hed_scorer
from dpsdata.runtime.device import has_fast_bf16

ROOT = Path(__file__).resolve().parents[3]
PORTABLE = ROOT / "tests" / "parity"
SHARED = ROOT.parent / "shared" / "parity" / "hed"
fill = runpy.run_path(str(PORTABLE / "formula_weights.py"))["fill"]
layouts = runpy.run_path(str(Path(__file__).with_name("public_layouts.py")))
# The arrays of the Caffe form were made with the key names of its PyTorch port.
SHAPES = {"caffe": "xwjabc_shapes", "sniklaus": "sniklaus_shapes", "controlnet": "controlnet_shapes"}

# The published maps are float32 after a sigmoid; sums of up to 4,608 products in another order differ by some 1e-6.
PARITY_TOLERANCE = 1e-4
REFERENCES = {"caffe": "caffe_fused", "sniklaus": "padding1_fused", "controlnet": "controlnet"}


def formula_net(layout: str, seed: int, width: int = 64) -> HED:
    shapes = layouts[SHAPES[layout]](width)
    return load_hed({key: torch.from_numpy(value) for key, value in fill(shapes, seed).items()})


def test_full_net_has_the_published_number_of_parameters() -> None:
    assert sum(parameter.numel() for parameter in HED().parameters()) == 14_716_171


@pytest.mark.parametrize("layout", ["caffe", "sniklaus", "controlnet"])
def test_parity_with_the_reference_forms(layout: str) -> None:
    files = [(path, 302) for path in sorted(PORTABLE.glob("hed_*.npz"))]
    files += [(path, 100) for path in sorted(SHARED.glob("hed_*.npz"))]
    assert len(files) >= 2
    for path, seed in files:
        net = formula_net(layout, seed)
        arrays = np.load(path)
        fused, sides = net.detect(arrays["image_bgr"][None, ..., ::-1], sides=True)
        assert np.abs(fused[0] - arrays[REFERENCES[layout]]).max() <= PARITY_TOLERANCE
        if layout == "caffe" and "caffe_sides" in arrays:
            assert np.abs(sides[0] - arrays["caffe_sides"]).max() <= PARITY_TOLERANCE


@pytest.mark.parametrize("layout", ["caffe", "sniklaus", "controlnet"])
def test_shift_by_16_px_shifts_the_interior(layout: str) -> None:
    net = formula_net(layout, 7, width=4)
    photo = np.random.default_rng(0).integers(0, 256, (1, 416, 416, 3), dtype=np.uint8)
    whole, shifted = net.detect(photo[:, :400, :400])[0], net.detect(photo[:, 16:, 16:])[0]
    # 114 px is half of the receptive field: closer to the border its padding shows.
    np.testing.assert_allclose(shifted[120:-136, 120:-136], whole[136:-120, 136:-120], atol=1e-5)
    assert whole[136:-120, 136:-120].std() > 0.01


def test_step_edge_is_found_where_it_is() -> None:
    net = load_hed("hed-compact")
    for column in (100, 129, 150):
        photo = np.full((1, 256, 256, 3), 60, np.uint8)
        photo[:, :, column:] = 190
        edges = net.detect(photo)[0]
        ridge = edges[64:-64].argmax(axis=1)
        assert np.abs(ridge + 0.5 - column).max() <= 1.0
        turned = net.detect(np.ascontiguousarray(photo.transpose(0, 2, 1, 3)))[0]
        assert np.abs(turned[:, 64:-64].argmax(axis=0) + 0.5 - column).max() <= 1.0


def test_reflect_border_equals_pix2pix_as_written() -> None:
    """Mirror of 128 px around the photo and the net's own zero padding, cropped; here 114 and 110 px without it."""
    net = formula_net("caffe", 9, width=4)
    photo = np.random.default_rng(1).integers(0, 256, (1, 144, 170, 3), dtype=np.uint8)
    mirrored = np.pad(photo, ((0, 0), (128, 128), (128, 128), (0, 0)), mode="reflect")
    # 128 mod 16 = 0: the pooling phase is the one of the photo without a mirror.
    expected = net.detect(mirrored)[0][128:-128, 128:-128]
    net.settings = DetectionSettings(border="reflect")
    np.testing.assert_allclose(net.detect(photo)[0], expected, atol=2e-6)
    assert np.abs(net.detect(photo)[0] - formula_net("caffe", 9, width=4).detect(photo)[0]).max() > 1e-3


def test_caffe_form_equals_deconvolutions_with_crops() -> None:
    """The published graph: pad 35 on the first convolution, bilinear deconvolutions, crops at 34, 35, 36, 38, 42."""
    net = formula_net("caffe", 11, width=4)
    photo = np.random.default_rng(2).integers(0, 256, (1, 61, 83, 3), dtype=np.uint8)
    x = (torch.from_numpy(photo).permute(0, 3, 1, 2).float() - net.mean_rgb).flip(1)
    sides = []
    for index, stage in enumerate(net.stages):
        if index:
            x = F.max_pool2d(x, 2, ceil_mode=True)
        for number, conv in enumerate(stage):
            x = F.relu(F.conv2d(x, conv.weight, conv.bias, padding=35 if index == number == 0 else 1))
        side, scale = net.sides[index](x), 2**index
        if index:
            ramp = 1 - (torch.arange(2 * scale) - (scale - 0.5)).abs() / scale
            side = F.conv_transpose2d(side, (ramp[:, None] * ramp[None, :])[None, None], stride=scale)
        crop = (34, 35, 36, 38, 42)[index]
        sides.append(side[..., crop : crop + 61, crop : crop + 83])
    expected = net.fuse(torch.cat(sides, 1))
    logits = net(torch.from_numpy(photo).permute(0, 3, 1, 2).float()).fused
    assert float((logits - expected).abs().max() / expected.std()) < 1e-5  # logits of formula weights are large


@pytest.mark.parametrize(("height", "width"), [(16, 16), (17, 250), (31, 33), (64, 16)])
def test_any_size_and_batches_give_the_same_maps(height: int, width: int) -> None:
    for layout in ("caffe", "sniklaus", "controlnet"):
        net = formula_net(layout, 3, width=4)
        photos = np.random.default_rng(3).integers(0, 256, (3, height, width, 3), dtype=np.uint8)
        fused, sides = net.detect(photos, sides=True)
        assert fused.shape == (3, height, width)
        assert sides.shape == (3, 5, height, width)
        assert fused.dtype == sides.dtype == np.float32
        assert 0 <= fused.min() <= fused.max() <= 1
        for photo, edges in zip(photos, fused, strict=True):
            # Formula weights of this width give logits of up to 1,000, so that 1e-8 of them already shows as 1e-5.
            np.testing.assert_allclose(net.detect(photo[None])[0], edges, rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    "photos",
    [
        np.zeros((256, 256, 3), np.uint8),
        np.zeros((1, 256, 256), np.uint8),
        np.zeros((1, 256, 256, 3), np.float32),
        np.zeros((0, 256, 256, 3), np.uint8),
        np.zeros((1, 15, 256, 3), np.uint8),
    ],
)
def test_wrong_input_is_a_usage_error(photos: np.ndarray) -> None:
    with pytest.raises(UsageError, match="detect: expected"):
        formula_net("caffe", 3, width=2).detect(photos)


def test_load_hed_names_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no such HED weights"):
        load_hed(tmp_path / "nothing.pth")
    with pytest.raises(UsageError, match="border"):
        load_hed("hed-compact", border="wrap")
    with pytest.raises(UsageError, match="precision"):
        load_hed("hed-compact", precision="int8")
    with pytest.raises(UsageError, match="variant"):
        load_hed("hed-compact", variant="controlnet")
    with pytest.raises(UsageError, match="device"):
        load_hed("hed-compact", device="abacus")


@pytest.mark.skipif(has_fast_bf16(), reason="this CPU has bf16 in hardware")
def test_bf16_is_refused_where_it_would_be_emulated() -> None:
    with pytest.raises(UsageError, match="bf16 needs"):
        load_hed("hed-compact", precision="bf16")


def test_bf16_stays_near_fp32() -> None:
    net = load_hed("hed-compact")
    photo = np.random.default_rng(4).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    exact = net.detect(photo)[0]
    net.settings = DetectionSettings(precision="bf16")
    assert 0 < np.abs(net.detect(photo)[0] - exact).max() < 0.05


def test_judge_is_kept_for_scoring(tmp_path: Path) -> None:
    scorer = load_hed_scorer()
    assert scorer.width != load_hed("hed-compact").width
    with pytest.raises(UsageError, match="reserved for scoring"):
        load_hed("hed-judge")
    from dpsdata import weights

    renamed = tmp_path / "innocent.safetensors"
    renamed.write_bytes(weights.weights_path("hed-judge").read_bytes())
    with pytest.raises(UsageError, match="reserved for scoring"):
        load_hed(renamed)


@pytest.mark.parametrize("name", ["hed-compact", "hed-judge"])
def test_bundled_nets_are_small(name: str) -> None:
    from dpsdata import weights

    assert weights.weights_path(name).stat().st_size <= 2_500_000
