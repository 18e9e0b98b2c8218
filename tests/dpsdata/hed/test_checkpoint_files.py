from __future__ import annotations

import contextlib
import json
import pickle
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from dpsdata.contracts import MissingError
from dpsdata.hed.checkpoints import read_checkpoint, recognise, write_checkpoint
from dpsdata.weights.reading import UnrecognisedError

P = runpy.run_path(str(Path(__file__).with_name("public_layouts.py")))
fill = runpy.run_path(str(Path(__file__).parents[2] / "parity" / "formula_weights.py"))["fill"]
random_state: Callable[..., dict[str, np.ndarray]] = P["random_state"]


def torch_state(shapes: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    return {key: torch.from_numpy(array) for key, array in random_state(shapes).items()}


def assert_same(found: Any, state: dict[str, np.ndarray]) -> None:
    for left, right in zip(found.tensors.values(), recognise(state).tensors.values(), strict=True):
        assert torch.equal(left, right)


def test_a_full_size_caffemodel_gives_back_the_formula_weights(tmp_path: Path) -> None:
    state = fill(P["caffe_shapes"](64), 100)
    path = tmp_path / "renamed.bin"
    path.write_bytes(P["caffemodel"](state | {"upsample_2.weight": np.ones((1, 1, 4, 4), np.float32)}))
    found = read_checkpoint(path)
    assert (found.variant, found.layout, found.width, found.source) == ("caffe", "caffe", 64, str(path))
    assert_same(found, state)


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
def test_torch_files_of_both_formats_under_any_suffix(tmp_path: Path, is_zip: bool) -> None:
    path = tmp_path / "weights.caffemodel"
    state = torch_state(P["sniklaus_shapes"](3))
    torch.save(state, path, _use_new_zipfile_serialization=is_zip)
    found = read_checkpoint(path)
    assert found.layout == "sniklaus"
    assert_same(found, {key: value.numpy() for key, value in state.items()})


def test_half_precision_controlnet_file(tmp_path: Path) -> None:
    path = tmp_path / "ControlNetHED.pth"
    state = {key: value.half() for key, value in torch_state(P["controlnet_shapes"](3)).items()}
    torch.save(state, path)
    found = read_checkpoint(path)
    assert found.mean == tuple(state["norm"].float().reshape(-1).tolist())
    assert found.tensors["stages.0.0.weight"].dtype == torch.float32


def test_a_training_checkpoint_with_an_optimiser_is_read(tmp_path: Path) -> None:
    path = tmp_path / "hed_checkpoint.pt"
    net = {f"module.{key}": value for key, value in torch_state(P["xwjabc_shapes"](2)).items()}
    torch.save({"net": net, "opt": {"state": {}, "param_groups": [{"lr": 1e-6}]}, "epoch": 39}, path)
    assert read_checkpoint(path).layout == "xwjabc"


@pytest.mark.parametrize("name", ["caffe_shapes", "controlnet_shapes", "our_shapes"])
def test_our_file_gives_back_the_checkpoint_exactly(tmp_path: Path, name: str) -> None:
    before = recognise(random_state(P[name](3)))
    write_checkpoint(tmp_path / "a.safetensors", before)
    write_checkpoint(tmp_path / "b.safetensors", before)
    after = read_checkpoint(tmp_path / "a.safetensors")
    assert (after.variant, after.width, after.mean, after.layout) == (before.variant, 3, before.mean, "ours")
    assert after.tensors.keys() == before.tensors.keys()
    assert all(torch.equal(after.tensors[key], tensor) for key, tensor in before.tensors.items())
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert not list(tmp_path.glob(".dps-*"))


def test_the_judge_says_so() -> None:
    state = torch_state(P["our_shapes"](2))
    assert recognise(state, card={"role": "judge"}).role == "judge"
    assert recognise(state, card={"variant": "caffe"}).variant == "caffe"
    for variant in ("controlnet", "vgg", 3, None):
        with pytest.raises(MissingError, match="variant"):
            recognise(state, card={"variant": variant})


def test_a_foreign_safetensors_file_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "hed.safetensors"
    save_file(torch_state(P["controlnet_shapes"](2)), path)
    assert read_checkpoint(path).variant == "controlnet"


class Bomb:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, ...]]:
        return Path.touch, (Path(BOMB_PATH),)  # type: ignore[return-value]


BOMB_PATH = "unset"


def test_no_pickle_is_ever_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "BOMB_PATH", str(tmp_path / "ran"))
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(Bomb(), protocol=3))
    torch.save({"net": Bomb()}, tmp_path / "zip.pth")
    torch.save({"net": Bomb()}, tmp_path / "legacy.pth", _use_new_zipfile_serialization=False)
    for name in ("plain.pkl", "zip.pth", "legacy.pth"):
        with pytest.raises(MissingError, match="dps weights import"):
            read_checkpoint(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def test_the_numpy_pickle_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "hed_pretrained_bsds.py36pickle"
    path.write_bytes(pickle.dumps({"conv1_1": {"weight": np.zeros(3), "bias": np.zeros(1)}}, protocol=3))
    with pytest.raises(UnrecognisedError, match="could run code") as caught:
        read_checkpoint(path)
    assert "hed_checkpoint.pt" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><title>Quota exceeded</title>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git-lfs"),
        (b"PK\x03\x04" + bytes(40), "cut off"),
        (b"just some words that are no network", "not a readable .caffemodel"),
        ((2**40).to_bytes(8, "little") + b'{"a":1}', "not a readable .caffemodel"),
        ((7).to_bytes(8, "little") + b'{"a":1}', "damaged"),
        ((5).to_bytes(8, "little") + b"{" * 5, "damaged"),
    ],
)
def test_files_that_are_no_weights(tmp_path: Path, content: bytes, word: str) -> None:
    path = tmp_path / "hed.pth"
    path.write_bytes(content)
    with pytest.raises(MissingError, match="dps weights") as caught:
        read_checkpoint(path)
    assert word in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "no.pth", tmp_path):
        with pytest.raises(MissingError, match="no such file"):
            read_checkpoint(path)


def test_a_list_in_a_torch_file_is_no_state_dict(tmp_path: Path) -> None:
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    with pytest.raises(UnrecognisedError, match="list where a state dict"):
        read_checkpoint(tmp_path / "list.pth")


def test_a_broken_card_is_no_reason_to_fail_or_trust(tmp_path: Path) -> None:
    tensors = torch_state(P["our_shapes"](2))
    save_file(tensors, tmp_path / "a.safetensors", {"card": json.dumps([1])})
    assert read_checkpoint(tmp_path / "a.safetensors").variant == "compact"
    save_file(tensors, tmp_path / "b.safetensors", {"card": "{"})
    with pytest.raises(MissingError, match="damaged"):
        read_checkpoint(tmp_path / "b.safetensors")


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[bytes]]:
    folder = tmp_path_factory.mktemp("fuzz")
    state = torch_state(P["sniklaus_shapes"](1))
    torch.save(state, folder / "zip.pth")
    torch.save(state, folder / "legacy.pth", _use_new_zipfile_serialization=False)
    save_file(state, folder / "a.safetensors")
    (folder / "b").write_bytes(P["caffemodel"](random_state(P["caffe_shapes"](1))))
    return folder, [path.read_bytes() for path in sorted(folder.iterdir())]


@settings(max_examples=80, deadline=None)
@given(which=st.integers(0, 3), cut=st.floats(0, 1), changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255))))
def test_damaged_files_give_one_kind_of_error(
    samples: tuple[Path, list[bytes]], which: int, cut: float, changes: list[tuple[float, int]]
) -> None:
    folder, contents = samples
    data = bytearray(contents[which])
    for place, value in changes:
        data[min(int(place * 3000), len(data) - 1)] = value
    path = folder / "damaged"
    path.write_bytes(data[: int(cut * len(data))])
    with contextlib.suppress(MissingError):
        read_checkpoint(path)
