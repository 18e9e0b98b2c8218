from __future__ import annotations

import json
import math
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dpsdata.contracts import MissingError
from dpsdata.weights.reading import UnrecognisedError
from models.weights.checkpoints import make_network, official_names, read_checkpoint, recognise
from models.weights.recognition import find_network, network_config

layouts = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("official_layouts.py"))))

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
FILES = [(network, task) for task in layouts.TASKS for network in layouts.RELEASED]
VARIANTS = [(network, task) for task in layouts.TASKS for network in ("F64", "F128")]


def filename(network: str, task: str) -> str:
    return f"ECCV-{layouts.TASKS[task]}-celebaHQ-{network}.ckpt"


@pytest.mark.parametrize(("network", "task"), FILES)
def test_every_official_file_comes_through_exactly(tmp_path: Path, network: str, task: str) -> None:
    state = layouts.counted_state(network, task)
    path = tmp_path / filename(network, task)
    layouts.save_legacy(state, path)
    found = read_checkpoint(path)
    assert (found.network, found.task, found.layout) == (network, task, "official")
    names = official_names(found.network, found.config)
    back = {names[key]: tensor for key, tensor in found.tensors.items()}
    dead = {"G": {"conv3.weight", "conv3.bias"}, "D": {key for key in state if key.startswith("fc.")}}
    assert set(found.dead_keys) == dead.get(network[0], set())
    assert set(back) == set(state) - set(found.dead_keys)
    assert all(torch.equal(back[key], state[key]) and back[key].dtype == state[key].dtype for key in back)
    path.unlink()


@pytest.mark.parametrize(("network", "task"), FILES + VARIANTS)
def test_parameter_counts_are_the_published_ones(network: str, task: str) -> None:
    shapes = {key: torch.empty(shape, device="meta") for key, shape in layouts.official_shapes(network, task).items()}
    config = network_config(find_network(shapes, network))
    if network[0] == "D":
        ours = config.tensor_shapes()
        live = sum(torch.Size(shape).numel() for key, shape in ours.items() if not key.endswith(("._u", "._v")))
    else:
        with torch.device("meta"):
            net = make_network(network, config)
        ours = {key: tuple(value.shape) for key, value in net.state_dict().items()}
        live = sum(parameter.numel() for parameter in net.parameters())
    dead = layouts.DEAD_COUNTS[network[0]]
    assert live + dead == layouts.COUNTS[network][0 if task == "edit" else 1]
    theirs = layouts.official_shapes(network, task)
    assert ours == {key: theirs[name] for key, name in official_names(network, config).items()}


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared specs are not on this machine")
def test_the_handwritten_layouts_are_those_of_the_original_classes() -> None:
    networks = json.loads((SHARED / "specs" / "dps_state_dict.json").read_text())["networks"]
    for network, task in FILES:
        listed = networks[filename(network, task)]["tensors"]
        shapes = {key: tuple(value["shape"] if isinstance(value, dict) else value) for key, value in listed.items()}
        assert layouts.official_shapes(network, task) == shapes
    for network, task in VARIANTS:
        short = f"{layouts.TASKS[task]}-{network}"
        listed = next(value["tensors"] for key, value in networks.items() if key.startswith(short))
        shapes = {key: tuple(value["shape"] if isinstance(value, dict) else value) for key, value in listed.items()}
        assert layouts.official_shapes(network, task) == shapes


def small_state() -> dict[str, torch.Tensor]:
    return layouts.counted_state("G128", "edit")


def change(state: dict[str, object], kind: str) -> dict[str, object]:
    if kind == "missing":
        del state["rcb1.conv.bias"]
    elif kind == "missing first":
        del state["conv1.weight"]
    elif kind == "missing dead":
        del state["conv3.bias"]
    elif kind == "extra":
        state["conv9.weight"] = torch.zeros(1)
    elif kind == "shape":
        state["conv2.weight"] = torch.zeros(4, 64, 3, 3)
    elif kind == "dead shape":
        state["conv3.weight"] = torch.zeros(3, 64, 3, 3)
    elif kind == "channels":
        state["conv1.weight"] = torch.zeros(64, 5, 3, 3)
    elif kind == "nan":
        state["conv2.bias"] = torch.tensor([0.0, math.nan, 0.0, 0.0])
    elif kind == "whole numbers":
        state["conv2.bias"] = torch.zeros(4, dtype=torch.int64)
    elif kind == "no tensor":
        state["conv2.bias"] = [0.0, 0.0, 0.0, 0.0]
    return state


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("missing", "without rcb1.conv.bias"),
        ("missing first", "without conv1.weight"),
        ("missing dead", "without conv3.bias"),
        ("extra", "unknown entries such as conv9.weight"),
        ("shape", r"conv2.weight has the shape \(4, 64, 3, 3\) where \(4, 128, 3, 3\)"),
        ("dead shape", "conv3.weight has the shape"),
        ("channels", "3 or 7 input channels"),
        ("nan", "conv2.bias holds NaN"),
        ("whole numbers", "conv2.bias holds torch.int64"),
        ("no tensor", "conv2.bias is a list"),
    ],
)
def test_a_wrong_state_dict_is_refused_with_the_reason(kind: str, reason: str) -> None:
    state = change(dict(small_state()), kind)
    with pytest.raises(MissingError, match=reason):
        recognise(state, "file.ckpt", "G128")


def test_what_the_keys_alone_do_not_tell_is_asked_for() -> None:
    with pytest.raises(MissingError, match="G128 or G256"):
        recognise(small_state(), "weights.ckpt")
    assert recognise(small_state(), "weights.ckpt", "G256").network == "G256"


@pytest.mark.parametrize("asked", ["G64", "F256", "D128", "H12", "G"])
def test_another_network_than_asked_for_is_refused(asked: str) -> None:
    with pytest.raises(MissingError, match=asked):
        recognise(small_state(), "weights.ckpt", asked)


def test_arrays_and_data_parallel_prefixes_are_taken() -> None:
    state = {f"module.{key}": value.numpy() for key, value in small_state().items()}
    found = recognise(state, "x", "G128")
    assert torch.equal(found.tensors["first.weight"], small_state()["conv1.weight"])
    state["module.conv1.weight"][:] = np.nan
    assert bool(torch.isfinite(found.tensors["first.weight"]).all()), "the checkpoint shares no memory with its source"


def test_half_precision_becomes_float32() -> None:
    state = {key: value.half() for key, value in small_state().items()}
    assert recognise(state, "x", "G128").tensors["first.weight"].dtype == torch.float32


def test_another_state_dict_is_not_recognised() -> None:
    with pytest.raises(UnrecognisedError, match="layer1"):
        recognise({"layer1.weight": torch.zeros(1)}, "resnet.ckpt")
    with pytest.raises(UnrecognisedError, match="no key at all"):
        recognise({}, "empty.ckpt")


def test_synthesis_f_with_half_a_batch_norm_is_refused() -> None:
    state = layouts.counted_state("F64", "synthesis") | {"rcb2.bn.weight": torch.ones(128)}
    with pytest.raises(MissingError, match="without"):
        recognise(state, "x", "F64")
