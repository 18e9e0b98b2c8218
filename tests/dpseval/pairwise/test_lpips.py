from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torchvision
from skimage.data import astronaut

from dpsdata.contracts import MissingError, UsageError
from dpsdata.weights.known.lpips_backbones import BACKBONES, trunk_shapes
from dpseval.metrics.lpips import Lpips, load_heads, load_lpips

FACE = np.ascontiguousarray(astronaut()[40:136, 170:290])  # 96 x 120


def degrade(face: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(5)
    noisy = [np.clip(face + rng.normal(0, sigma, face.shape), 0, 255).astype(np.uint8) for sigma in (4, 30)]
    return np.stack([*noisy, np.roll(face, 5, axis=1), 255 - face])


def random_state(net: str, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        key: torch.randn(shape, generator=generator) * (2 / np.prod(shape[1:])) ** 0.5
        if len(shape) == 4
        else torch.randn(shape, generator=generator) * 0.1
        for key, shape in trunk_shapes(net).items()
    }


def hole_of(face: np.ndarray) -> np.ndarray:
    hole = np.zeros(face.shape[:2], bool)
    hole[30:61, 20:75] = True
    return hole


@pytest.mark.parametrize("net", BACKBONES)
def test_equals_the_lpips_package(net: str, monkeypatch: pytest.MonkeyPatch) -> None:
    package = pytest.importorskip("lpips")
    architecture = BACKBONES[net].architecture
    build = getattr(torchvision.models, architecture)

    def build_features(pretrained: bool) -> SimpleNamespace:
        with torch.device("meta"):  # VGG16's own random weights would take twenty seconds
            return SimpleNamespace(features=build(weights=None).features.to_empty(device="cpu"))

    monkeypatch.setattr(torchvision.models, architecture, build_features)
    theirs = package.LPIPS(net=net, pnet_rand=True, verbose=False)
    monkeypatch.undo()
    state = random_state(net)
    # Their keys are sliceN.INDEX... with torchvision's index.
    theirs.net.load_state_dict({key: state[f"features.{key.split('.', 1)[1]}"] for key in theirs.net.state_dict()})
    outputs, hole = degrade(FACE)[: 2 if net == "vgg" else 4], hole_of(FACE)
    ours = Lpips(net, state)
    regions = {"full": np.ones_like(hole), "hole": hole, "ring": np.zeros_like(hole)}
    found = ours.distances(ours.extract(FACE[None]), ours.extract(outputs), regions)

    def scale(photos: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(photos).permute(0, 3, 1, 2).float() / 127.5 - 1

    truth = scale(np.repeat(FACE[None], len(outputs), axis=0))
    with torch.inference_mode():
        full = theirs(truth, scale(outputs)).flatten().tolist()
        theirs.spatial = True
        spatial = theirs(truth, scale(outputs))[:, 0].double().numpy()
    assert [row["full"] for row in found] == pytest.approx(full, rel=1e-5)
    assert [row["hole"] for row in found] == pytest.approx(spatial[:, hole].mean(axis=1).tolist(), rel=1e-5)
    assert all(np.isnan(row["ring"]) for row in found)
    assert min(full) > 1e-4
    assert len(set(full)) == len(full)


def test_equal_photos_have_no_distance_and_a_batch_is_its_photos() -> None:
    lpips = Lpips("squeeze", random_state("squeeze"))
    outputs = degrade(FACE)
    regions = {"full": np.ones(FACE.shape[:2], bool), "hole": hole_of(FACE)}
    truth = lpips.extract(FACE[None])
    assert lpips.distances(truth, lpips.extract(FACE[None]), regions) == [{"full": 0.0, "hole": 0.0}]
    together = lpips.distances(truth, lpips.extract(outputs), regions)
    for index, output in enumerate(outputs):
        alone = lpips.distances(truth, lpips.extract(output[None]), regions)[0]
        assert together[index] == pytest.approx(alone, rel=1e-4)


def test_maps_are_of_length_one() -> None:
    maps = Lpips("alex", random_state("alex")).extract(FACE[None])
    assert [value.shape[1] for value in maps] == list(BACKBONES["alex"].channels)
    for value in maps:
        lengths = value.square().sum(dim=1).sqrt()
        # A place where all units are silent has no direction.
        assert ((lengths - 1).abs() < 1e-4).logical_or(lengths == 0).all()


def test_the_id_of_the_weights_tells_them_apart() -> None:
    state = random_state("squeeze")
    first, second = Lpips("squeeze", state), Lpips("squeeze", random_state("squeeze"))
    assert first.weights_id == second.weights_id
    assert len(first.weights_id) == 64
    assert (first.name, first.net) == ("lpips_squeeze", "squeeze")
    state["features.0.bias"][3] += 1e-3
    assert Lpips("squeeze", state).weights_id != first.weights_id


def test_the_heads_are_those_of_version_0_1() -> None:
    for net, backbone in BACKBONES.items():
        heads = load_heads(net)
        assert tuple(len(head) for head in heads) == backbone.channels
        assert all(float(head.min()) >= 0 for head in heads)
    package = pytest.importorskip("lpips")
    path = Path(package.__file__).parent / "weights" / "v0.1" / "alex.pth"
    theirs = torch.load(path, map_location="cpu", weights_only=True)
    assert all(
        torch.equal(theirs[f"lin{i}.model.1.weight"].flatten(), head) for i, head in enumerate(load_heads("alex"))
    )


def test_wrong_input_is_named() -> None:
    lpips = Lpips("squeeze", random_state("squeeze"))
    with pytest.raises(UsageError, match="at least 32 px"):
        lpips.extract(FACE[None, :31])
    with pytest.raises(UsageError, match="expected uint8"):
        lpips.extract(FACE[None].astype(np.float32))
    with pytest.raises(UsageError, match="alex, vgg, squeeze"):
        load_lpips("resnet")
    with pytest.raises(MissingError, match=r"not torchvision's alexnet: features.0.weight"):
        Lpips("alex", random_state("squeeze"))


def test_missing_weights_name_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DPS_HOME", str(tmp_path))
    with pytest.raises(MissingError, match="dps weights get lpips-vgg"):
        load_lpips("vgg")
