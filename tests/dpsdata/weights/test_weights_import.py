from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dpsdata import weights
from dpsdata.contracts import DpsError, EnvironmentFailure, MissingError
from dpsdata.weights import store as weights_store

T = runpy.run_path(str(Path(__file__).with_name("toy_weights.py")))
TOY, TOY_BYTES, TOY_SHA256 = T["TOY"], T["TOY_BYTES"], T["TOY_SHA256"]
tree = T["tree"]
P = runpy.run_path(str(Path(__file__).parents[1] / "hed" / "public_layouts.py"))


def test_another_training_is_taken_but_not_called_verified(tmp_path: Path) -> None:
    (tmp_path / "mine.bin").write_bytes(b"TOY! my own training, of another length")
    assert not weights.import_weights(tmp_path / "mine.bin").installed[0].verified
    status = next(status for status in weights.verify_weights() if status.name == "toy")
    assert (status.status, status.verified) == ("ok", False)


def test_damage_and_a_step_down_are_refused(tmp_path: Path) -> None:
    (tmp_path / "flipped").write_bytes(TOY_BYTES[:-1] + b"S")
    with pytest.raises(MissingError, match="damaged") as caught:
        weights.import_weights(tmp_path / "flipped")
    assert TOY_SHA256 in str(caught.value)
    (tmp_path / "good").write_bytes(TOY_BYTES)
    weights.import_weights(tmp_path / "good")
    (tmp_path / "mine").write_bytes(b"TOY! other")
    with pytest.raises(MissingError, match="published toy is installed"):
        weights.import_weights(tmp_path / "mine")
    assert (tmp_path / "flipped").exists()


def test_a_full_caffemodel_is_imported_and_read_back(tmp_path: Path) -> None:
    from dpsdata.hed.checkpoints import read_checkpoint, recognise

    state = P["random_state"](P["caffe_shapes"](64))
    (tmp_path / "from a mail").write_bytes(P["caffemodel"](state))
    (done,) = weights.import_weights(tmp_path / "from a mail").installed
    assert (done.name, done.verified) == ("hed-caffe", False)
    found = read_checkpoint(weights.weights_path("hed-caffe"))
    assert (found.variant, found.width) == ("caffe", 64)
    wanted = recognise(state).tensors
    assert all(torch.equal(tensor, wanted[key]) for key, tensor in found.tensors.items())
    with pytest.raises(MissingError, match="own format needs no import"):
        weights.import_weights(done.path)


def test_a_small_hed_does_not_take_the_place_of_the_published_one(tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(P["caffemodel"](P["random_state"](P["caffe_shapes"](8))))
    with pytest.raises(MissingError, match="width 8"):
        weights.import_weights(tmp_path / "small")
    assert not weights.installed("hed-caffe")


def test_what_nobody_knows_is_described(tmp_path: Path) -> None:
    torch.save({"stem.alpha": torch.zeros(2), "stem.beta": torch.zeros(1)}, tmp_path / "net.pth")
    with pytest.raises(MissingError, match=r"a torch file with 2 entries such as stem.alpha, stem.beta"):
        weights.import_weights(tmp_path / "net.pth")
    (tmp_path / "broken").write_bytes(b"TOY! cut")
    with pytest.raises(MissingError, match="a toy that is cut off"):
        weights.import_weights(tmp_path / "broken")
    with pytest.raises(MissingError, match="no such file"):
        weights.import_weights(tmp_path / "nowhere")


def test_a_folder_and_two_files_of_one_name_keep_the_verified_one(tmp_path: Path) -> None:
    folder = tmp_path / "Downloads"
    folder.mkdir()
    (folder / "a.bin").write_bytes(b"TOY! something else")
    (folder / "b.bin").write_bytes(TOY_BYTES)
    (folder / "c.bin").write_bytes(b"TOY! something else")
    report = weights.import_weights(folder)
    assert [(done.source, done.verified) for done in report.installed] == [("Downloads/b.bin", True)]
    assert "published toy is installed" in dict(report.skipped)["c.bin"]


def test_the_same_file_gives_the_same_bytes(tmp_path: Path, home: Path) -> None:
    (tmp_path / "toy").write_bytes(TOY_BYTES)
    found = []
    for _ in range(2):
        weights.import_weights(tmp_path / "toy")
        found.append([(home / name).read_bytes() for name in tree(home)])
    assert found[0] == found[1]


def test_a_kill_between_tensors_and_card_leaves_it_not_installed(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "toy").write_bytes(TOY_BYTES)

    def stop(*args: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(weights_store, "write_text_atomic", stop)
        with pytest.raises(KeyboardInterrupt):
            weights.import_weights(tmp_path / "toy")
    assert tree(home) == ["weights/toy.safetensors"]
    assert not weights.installed("toy")
    for content in ("", "[]", "{}", '{"sha256": 3}', "[" * 100_000):
        (home / "weights" / "toy.json").write_text(content)
        assert not weights.installed("toy")


def test_every_error_of_an_importer_is_expected(tmp_path: Path) -> None:
    generator = np.random.Generator(np.random.PCG64(1))
    starts: list[bytes] = [b"", b"PK\x03\x04", b"\x80\x02\x8a\x0a", b"TOY?", b"\x12\x40", b"\0" * 257 + b"ustar\x0000"]
    make: Callable[[int], bytes] = generator.bytes
    for index, start in enumerate(starts * 5):
        path = tmp_path / f"random{index}"
        path.write_bytes(start + make(600))
        with pytest.raises(DpsError):
            weights.import_weights(path)


def test_a_home_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "toy").write_bytes(TOY_BYTES)
    monkeypatch.setenv("DPS_HOME", str(tmp_path / "file"))
    with pytest.raises(EnvironmentFailure, match="DPS_HOME"):
        weights.import_weights(tmp_path / "toy")
