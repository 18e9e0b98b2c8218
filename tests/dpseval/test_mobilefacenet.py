"""The second network of identity: import, parity with a plain version on formula weights, alignment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dpsdata import weights
from dpsdata.contracts import MissingError, UsageError
from dpsdata.samples.sample_faces import read_sample_face
from dpsdata.weights.known.face_api import LANDMARKS, landmark_shapes
from dpsdata.weights.known.mobilefacenet import MOBILEFACENET, mobilefacenet_shapes
from dpseval.metrics.face_networks import FaceNetworks, MobileFaceNet, align
from dpseval.scoring.config import ScoreConfig
from dpseval.scoring.networks import check_weights


def _block(
    before: int, after: int, side: int, stride: int = 1, groups: int = 1, act: nn.Module | None = None
) -> nn.Module:
    parts = [nn.Conv2d(before, after, side, stride, side // 2, groups=groups, bias=False), nn.BatchNorm2d(after)]
    return nn.Sequential(*parts, *([] if act is None else [act]))


class Plain(nn.Module):
    """The network of modules, as its keys say; (t, c, n, s) as in the table of the paper."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = _block(3, 64, 3, 2, act=nn.ReLU6())
        self.dw_conv = nn.Module()
        self.dw_conv.depthwise = nn.Conv2d(64, 64, 3, 1, 1, groups=64, bias=False)
        self.dw_conv.pointwise = nn.Conv2d(64, 64, 1, bias=False)
        self.dw_conv.bn1, self.dw_conv.bn2 = nn.BatchNorm2d(64), nn.BatchNorm2d(64)
        blocks, before = [], 64
        for wide, after, count, first in (
            (2, 64, 5, 2),
            (4, 128, 1, 2),
            (2, 128, 6, 1),
            (4, 128, 1, 2),
            (2, 128, 2, 1),
        ):
            for number in range(count):
                block, inner = nn.Module(), before * wide
                block.conv = nn.Sequential(
                    _block(before, inner, 1, act=nn.ReLU6()),
                    _block(inner, inner, 3, 1 if number else first, inner, nn.ReLU6()),
                    nn.Conv2d(inner, after, 1, bias=False), nn.BatchNorm2d(after),
                )  # fmt: skip
                block.adds = bool(number) or (first == 1 and before == after)
                blocks.append(block)
                before = after
        self.features = nn.Sequential(*blocks)
        self.conv2 = _block(128, 512, 1, act=nn.ReLU6())
        self.gdconv = nn.Module()
        self.gdconv.depthwise, self.gdconv.bn = nn.Conv2d(512, 512, 7, groups=512, bias=False), nn.BatchNorm2d(512)
        self.conv3, self.bn = nn.Conv2d(512, 128, 1), nn.BatchNorm2d(128)

    def forward(self, x: Tensor) -> Tensor:
        x, narrow = self.conv1(x), self.dw_conv
        x = torch.relu(narrow.bn2(narrow.pointwise(torch.relu(narrow.bn1(narrow.depthwise(x))))))
        for block in self.features:
            x = x + block.conv(x) if block.adds else block.conv(x)
        x = self.gdconv.bn(self.gdconv.depthwise(self.conv2(x)))
        return self.bn(self.conv3(x)).flatten(1)


@pytest.fixture(scope="module")
def plain() -> Plain:
    net, generator = Plain().double().eval(), torch.Generator().manual_seed(3)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.copy_(
                    torch.randn(module.weight.shape, generator=generator) / module.weight[0].numel() ** 0.5
                )
            elif isinstance(module, nn.BatchNorm2d):
                for value in (module.weight, module.running_var):
                    value.copy_(torch.rand(value.shape, generator=generator) + 0.7)
                for value in (module.bias, module.running_mean):
                    value.copy_(torch.randn(value.shape, generator=generator) / 5)
    return net


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("DPS_HOME", str(tmp_path / "home"))
    return tmp_path


def test_it_is_the_plain_version(plain: Plain) -> None:
    crops = np.random.default_rng(0).integers(0, 256, (2, 112, 112, 3), np.uint8)
    mean, std = torch.tensor([0.485, 0.456, 0.406]).double(), torch.tensor([0.229, 0.224, 0.225]).double()
    with torch.no_grad():
        expected = plain(((torch.from_numpy(crops).double() / 255 - mean) / std).permute(0, 3, 1, 2)).numpy()
    found = MobileFaceNet(plain.state_dict(), torch.device("cpu")).descriptors(crops)
    np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max())


def test_the_published_file_is_imported_and_asked_for(plain: Plain, home: Path) -> None:
    missing = check_weights(ScoreConfig(identity="mobilefacenet"))["id_similarity"]
    assert "npm pack" in missing, "landmarks are face-api's, and come first"
    landmarks = {key: torch.zeros(shape) for key, shape in landmark_shapes().items()}
    torch.save(plain.state_dict(), home / "mobilefacenet.pt")
    report = weights.import_weights(home / "mobilefacenet.pt")
    assert [item.name for item in report.installed] == [MOBILEFACENET]
    states = {LANDMARKS: landmarks, MOBILEFACENET: plain.state_dict()}
    networks = FaceNetworks(states=states, identity="mobilefacenet")
    assert networks.name == "face-api-mobilefacenet", "caches keep the networks apart"
    points = np.random.default_rng(0).uniform(30, 90, (68, 2))
    assert networks.describe(np.zeros((128, 128, 3), np.uint8), points).shape == (128,)
    with pytest.raises(UsageError, match="identity: expected face-api or mobilefacenet, got 'arcface'"):
        ScoreConfig(identity="arcface")


def test_a_damaged_file_is_refused(plain: Plain, home: Path) -> None:
    state = {key: value.clone() for key, value in plain.state_dict().items()}
    state["conv3.bias"][0] = float("nan")
    torch.save(state, home / "nan.pt")
    with pytest.raises(MissingError, match="not finite"):
        weights.import_weights(home / "nan.pt")
    assert set(mobilefacenet_shapes()) == {key for key in state if not key.endswith("num_batches_tracked")}


@pytest.mark.parametrize(("scale", "degrees"), [(1.0, 0.0), (3.0, 25.0), (0.6, -40.0)])
def test_a_face_is_turned_upright(scale: float, degrees: float) -> None:
    upright = cv2.resize(read_sample_face(3), (112, 112), interpolation=cv2.INTER_AREA)
    upright = cv2.GaussianBlur(upright, (0, 0), 3)
    side, angle = round(300 * max(1, scale)), np.deg2rad(degrees)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    move = np.array([side / 2, side / 2]) - turn @ (56, 56)
    half = turn @ (0.5, 0.5) - 0.5
    photo = cv2.warpAffine(upright, np.column_stack([turn, move + half]), (side, side), borderMode=cv2.BORDER_REPLICATE)
    points = np.zeros((68, 2))
    for part, place in zip((slice(36, 42), slice(42, 48), 30, 48, 54),
                           ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655),
                            (70.7299, 92.2041)), strict=True):  # fmt: skip
        points[part] = turn @ place + move
    found = align(photo, points).astype(int)[16:96, 16:96]
    assert np.abs(found - upright[16:96, 16:96]).mean() < 3
