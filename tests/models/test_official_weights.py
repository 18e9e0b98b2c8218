from __future__ import annotations

import os
import pickle
import runpy
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import models  # noqa: F401 (registers the files)
from dpsdata import weights
from dpsdata.contracts import DpsError, MissingError
from dpsdata.weights.store import read_card
from models.editing.editor import load_editor
from models.editing.loading import load_discriminator
from models.weights.checkpoints import read_checkpoint
from models.weights.official import import_dps, official_filename, weight_name

layouts = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("official_layouts.py"))))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DPS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


class Payload:
    """Runs a command when a careless reader unpickles it."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.marker}",)


def test_importing_the_room_loads_no_torch_and_names_the_fourteen_files() -> None:
    code = (
        "import sys, models; from dpsdata import weights; "
        "files = [f for f in weights.list_weights() if f.name.startswith('dps-') and f.bundled_folder is None]; "
        "print('torch' in sys.modules, len(files))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert out.stdout.split() == ["False", "14"]
    assert weights.find_weights("dps-edit-f256").filename == "ECCV-EDT-celebaHQ-F256.ckpt"


def test_an_archive_is_imported_and_used_from_the_cache(home: Path, tmp_path: Path) -> None:
    states = {network: layouts.counted_state(network, "edit") for network in ("G128", "G256", "D64")}
    states["G256"]["conv2.bias"] += 1.0
    with zipfile.ZipFile(tmp_path / "save.zip", "w") as archive:
        for network, state in states.items():
            layouts.save_legacy(state, tmp_path / "one.ckpt")
            archive.write(tmp_path / "one.ckpt", f"save/{official_filename('edit', network)}")
        archive.writestr("save/readme.txt", "not weights")
    report = weights.import_weights(tmp_path / "save.zip")
    assert {done.name for done in report.installed} == {"dps-edit-g128", "dps-edit-g256", "dps-edit-d64"}
    card = read_card("dps-edit-g256")
    assert card is not None
    assert card["dead_keys_dropped"] == ["conv3.weight", "conv3.bias"]
    assert card["network"] == "G256"
    found = read_checkpoint(weights.weights_path("dps-edit-g256"))
    assert torch.equal(found.tensors["head.bias"], states["G256"]["conv2.bias"])
    discriminator = load_discriminator(weights.weights_path("dps-edit-d64"), 64)
    assert torch.equal(discriminator.state_dict()["convs.0.bias"], states["D64"]["model.1.bias"])
    with pytest.raises(MissingError, match="dps-edit-g64 is not installed"):
        load_editor("official")


def test_names_and_contents_that_disagree_are_refused(home: Path, tmp_path: Path) -> None:
    state = layouts.counted_state("G128", "edit")
    for name, reason in (
        ("ECCV-SYN-celebaHQ-G128.ckpt", "its name says synthesis"),
        ("ECCV-EDT-celebaHQ-G64.ckpt", "not a G64"),
        ("weights.ckpt", "G128 or G256"),
    ):
        layouts.save_legacy(state, tmp_path / name)
        with pytest.raises(MissingError, match=reason):
            weights.import_weights(tmp_path / name)
    layouts.save_legacy(layouts.counted_state("D64", "edit"), tmp_path / "EDT-FD64.ckpt")
    with pytest.raises(MissingError, match="discriminator of F"):
        import_dps(tmp_path / "EDT-FD64.ckpt")
    assert not (home / "weights").exists() or not list((home / "weights").iterdir())


def test_a_file_of_another_network_is_left_to_the_other_importers(tmp_path: Path) -> None:
    layouts.save_legacy({"layer1.weight": torch.zeros(1)}, tmp_path / "resnet.ckpt")
    assert import_dps(tmp_path / "resnet.ckpt") is None


@pytest.mark.parametrize("form", ["legacy", "zip", "pickle"])
def test_a_payload_is_refused_and_does_not_run(home: Path, tmp_path: Path, form: str) -> None:
    marker = tmp_path / "ran"
    state = {**layouts.counted_state("G128", "edit"), "conv9.weight": Payload(marker)}
    path = tmp_path / official_filename("edit", "G128")
    if form == "pickle":
        path.write_bytes(pickle.dumps(state, protocol=2))
    else:
        torch.save(state, path, _use_new_zipfile_serialization=form == "zip")
    for attempt in (
        lambda: weights.import_weights(path),
        lambda: read_checkpoint(path),
        lambda: load_editor({"G64": path, "G128": path, "G256": path, "F256": path}),
        lambda: load_discriminator(path, 64),
    ):
        with pytest.raises(DpsError, match=path.name) as caught:
            attempt()
        assert caught.value.exit_code == 5
    assert not marker.exists()
    torch.load(path, weights_only=False) if form != "pickle" else pickle.loads(path.read_bytes())
    assert marker.exists(), "the payload is a real one"


@pytest.mark.parametrize("kept", [0, 1, 30, 200, 5_000, 2_000_000, -1])
def test_a_truncated_file_is_refused(home: Path, tmp_path: Path, kept: int) -> None:
    path = tmp_path / official_filename("synthesis", "G128")
    layouts.save_legacy(layouts.counted_state("G128", "synthesis"), path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(MissingError, match="G128"):
        weights.import_weights(path)
    with pytest.raises(MissingError, match="G128"):
        read_checkpoint(path)


def test_names() -> None:
    assert weight_name("synthesis", "D128") == "dps-synthesis-d128"
    assert official_filename("synthesis", "D128") == "ECCV-SYN-celebaHQ-D128.ckpt"
