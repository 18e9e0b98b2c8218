"""Each preprocessing against its tool's own code, on sizes that grow, shrink and stay."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dpsdata.contracts import UsageError
from dpseval.metrics.inception import prepare
from dpseval.metrics.names import PREPS

SIZES = [(64, 97), (299, 299), (301, 512), (5, 3)]


def photos(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * width).integers(0, 256, (2, height, width, 3), dtype=np.uint8)


def planes(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_equals_pytorch_fid(height: int, width: int) -> None:
    inception = pytest.importorskip("pytorch_fid.inception")
    model = inception.InceptionV3.__new__(inception.InceptionV3)
    torch.nn.Module.__init__(model)
    model.resize_input = model.normalize_input = True
    model.blocks, model.output_blocks, model.last_needed_block = torch.nn.ModuleList([torch.nn.Identity()]), [0], 0
    pixels = photos(height, width)
    expected = model(planes(pixels).float().div(255))[0]
    assert torch.equal(prepare(pixels, "pytorch-fid"), expected)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_equals_torch_fidelity(height: int, width: int) -> None:
    module = pytest.importorskip("torch_fidelity.interpolate_compat_tensorflow")
    pixels = photos(height, width)
    resized = module.interpolate_bilinear_2d_like_tensorflow1x(
        planes(pixels).float(), size=(299, 299), align_corners=False
    )
    assert torch.equal(prepare(pixels, "torch-fidelity"), (resized - 128) / 128)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_equals_torchmetrics(height: int, width: int) -> None:
    pytest.importorskip("torch_fidelity")
    from torchmetrics.image.fid import NoTrainInceptionV3

    class CaughtError(Exception):
        pass

    def catch(x: torch.Tensor) -> None:
        raise CaughtError(x)

    stub = SimpleNamespace(
        features_list=["2048"], use_antialias=True, INPUT_IMAGE_SIZE=299, _dtype=torch.float32, Conv2d_1a_3x3=catch
    )
    pixels = photos(height, width)
    with pytest.raises(CaughtError) as caught:
        NoTrainInceptionV3._torch_fidelity_forward(stub, planes(pixels))
    assert torch.equal(prepare(pixels, "torchmetrics"), caught.value.args[0])


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_equals_clean_fid_but_for_the_rounding_of_pillow(height: int, width: int) -> None:
    resize = pytest.importorskip("cleanfid.resize")
    pixels = photos(height, width)
    expected = np.stack([resize.build_resizer("clean")(picture) for picture in pixels]).transpose(0, 3, 1, 2)
    assert np.abs(prepare(pixels, "clean").numpy() * 128 + 128 - expected).max() < 0.01


def test_a_hand_worked_row_of_tensorflow() -> None:
    # 2 columns, 0 and 255: output column i lies at i * 2 / 299, and beyond the last pixel its value is kept.
    pixels = np.zeros((1, 2, 2, 3), np.uint8)
    pixels[:, :, 1] = 255
    row = prepare(pixels, "torch-fidelity")[0, 0, 0] * 128 + 128
    assert row[0] == 0
    assert row[100] == pytest.approx(255 * 200 / 299, abs=1e-3)
    assert row[150] == row[298] == 255


@pytest.mark.parametrize("prep", PREPS)
def test_flat_photos_stay_flat(prep: str) -> None:
    ready = prepare(np.full((1, 40, 60, 3), 200, np.uint8), prep)
    value = 200 / 127.5 - 1 if prep == "pytorch-fid" else (200 - 128) / 128
    assert ready.shape == (1, 3, 299, 299)
    assert ready.dtype == torch.float32
    assert torch.allclose(ready, torch.full_like(ready, value), atol=1e-5)


def test_the_four_differ() -> None:
    ready = [prepare(photos(64, 97), prep) for prep in PREPS]
    for index, one in enumerate(ready):
        for other in ready[index + 1 :]:
            assert (one - other).abs().max() > 1e-3


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((2, 8, 8, 3), np.float32),
        np.zeros((8, 8, 3), np.uint8),
        np.zeros((1, 8, 8, 1), np.uint8),
        np.zeros((0, 8, 8, 3), np.uint8),
    ],
)
def test_other_arrays_are_refused(wrong: np.ndarray) -> None:
    with pytest.raises(UsageError, match="photos: expected uint8"):
        prepare(wrong, "clean")


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(UsageError, match="prep: expected pytorch-fid, torch-fidelity, torchmetrics or clean"):
        prepare(photos(8, 8), "tensorflow")
