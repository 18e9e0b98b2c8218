from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dpsdata import weights
from dpsdata.contracts import MissingError
from dpsdata.weights.known import lpips_backbones
from dpsdata.weights.known.lpips_backbones import BACKBONES, import_backbone, register_backbones, trunk_shapes
from dpsdata.weights.reading import UnrecognisedError
from dpseval.metrics.lpips import Lpips, load_lpips


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DPS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def blank_state(net: str) -> dict[str, torch.Tensor]:
    """Weights that take no memory: one number, seen as a whole tensor."""
    return {key: torch.full((), 0.01).expand(shape) for key, shape in trunk_shapes(net).items()}


def test_they_are_listed_with_the_published_hashes() -> None:
    register_backbones()  # twice changes nothing
    files = {file.name: file for file in weights.list_weights()}
    for backbone in BACKBONES.values():
        file = files[backbone.weights]
        assert file.room == "dpseval"
        assert file.url is not None
        assert file.url.startswith("https://download.pytorch.org/models/")
        # torchvision puts the first 8 digits of the hash into the name.
        assert file.sha256 is not None
        assert file.filename.removesuffix(".pth").rsplit("-", 1)[1] == file.sha256[:8]


@pytest.mark.parametrize("net", ["alex", "squeeze"])
def test_an_imported_file_gives_the_same_distances_as_its_state(net: str, tmp_path: Path) -> None:
    torch.manual_seed(2)
    state = {key: torch.randn(shape) * 0.05 for key, shape in trunk_shapes(net).items()}
    path = tmp_path / "some.pth"
    torch.save({**state, "classifier.1.weight": torch.zeros(3, 3)}, path)
    report = weights.import_weights(path)
    assert [done.name for done in report.installed] == [BACKBONES[net].weights]
    assert not report.installed[0].verified
    assert load_lpips(net).weights_id == Lpips(net, state).weights_id


@pytest.mark.parametrize("net", BACKBONES)
def test_each_network_is_recognised_by_its_content(net: str, monkeypatch: pytest.MonkeyPatch) -> None:
    state = blank_state(net)
    monkeypatch.setattr("dpsdata.weights.known.lpips_backbones.read_state", lambda path: (state, {}))
    found = import_backbone(Path("any.bin"))
    assert found is not None
    assert found.name == BACKBONES[net].weights
    assert set(found.tensors) == set(state)


def test_other_networks_are_left_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    vgg19 = {**blank_state("vgg"), "features.34.weight": torch.zeros(1)}
    squeeze_1_0 = {**blank_state("squeeze"), "features.12.squeeze.weight": torch.zeros(64, 512)}
    for state in (vgg19, squeeze_1_0, {"stages.0.0.weight": torch.zeros(1)}, {}):
        monkeypatch.setattr("dpsdata.weights.known.lpips_backbones.read_state", lambda path, state=state: (state, {}))
        assert import_backbone(Path("any.bin")) is None

    def refuse(path: Path) -> None:
        raise UnrecognisedError("no weights")

    monkeypatch.setattr("dpsdata.weights.known.lpips_backbones.read_state", refuse)
    assert import_backbone(Path("any.bin")) is None


def test_damaged_files_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    short = blank_state("alex")
    del short["features.8.bias"]
    broken = {**blank_state("alex"), "features.3.bias": torch.full((192,), float("nan"))}
    for state, words in ((short, "features.8.bias should be a float tensor"), (broken, "features.3.bias holds values")):
        monkeypatch.setattr("dpsdata.weights.known.lpips_backbones.read_state", lambda path, state=state: (state, {}))
        with pytest.raises(MissingError, match=words):
            import_backbone(Path("any.bin"))


def test_the_module_loads_no_heavy_library() -> None:
    import subprocess
    import sys

    code = f"import sys, {lpips_backbones.__name__}; print({{'torch', 'numpy', 'cv2'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
