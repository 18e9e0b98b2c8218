"""Names and shapes of the official variables, and weights from each kind of source, good and bad."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dpsdata.contracts import MissingError, UsageError
from dpsdata.weights.store import write_safetensors
from models.baselines import (
    DeepFillv2,
    DeepFillv2Config,
    ScFegan,
    ScFeganConfig,
    load_deepfillv2,
    load_scfegan,
    loading,
)
from models.baselines.loading import network_card, write_network
from models.baselines.patch_discriminator import SNPatchDiscriminator, SNPatchDiscriminatorConfig
from models.baselines.tensorflow.bundle import read_bundle
from models.baselines.tensorflow.names import count_weights, tf_tensors

parity = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("parity_arrays.py"))))
bundles = SimpleNamespace(**runpy.run_path(str(parity.TESTS / "parity" / "write_bundle.py")))
EXPECTED = json.loads((parity.PORTABLE / "expected_tf_variables.json").read_text())
Arrays = dict[str, Any]


def arrays_of(net: nn.Module) -> Arrays:
    generator = torch.Generator().manual_seed(2)
    state = {key: torch.randn(value.shape, generator=generator) for key, value in net.state_dict().items()}
    net.load_state_dict(state)
    return parity.to_tensorflow(net)


@pytest.fixture(scope="module")
def deepfill() -> Arrays:
    return arrays_of(DeepFillv2(DeepFillv2Config(4)))


@pytest.fixture(scope="module")
def scfegan() -> Arrays:
    return arrays_of(ScFegan(ScFeganConfig(1)))


@pytest.mark.parametrize(
    ("build", "name", "count"),
    [
        (ScFegan, "scfegan_generator", 92_886_100),
        (DeepFillv2, "deepfillv2_generator_unguided", 4_052_478),
        (SNPatchDiscriminator, "deepfillv2_discriminator_unguided", 5_946_816),
    ],
)
def test_names_shapes_and_counts_are_the_official_ones(build: type[nn.Module], name: str, count: int) -> None:
    with torch.device("meta"):
        net = build()
    ours = {entry.name: entry.shape for entry in tf_tensors(net).values()}
    assert ours == {variable: tuple(shape) for variable, shape in EXPECTED[name]}
    assert len(ours) == len(tf_tensors(net))
    assert count_weights(net) == count


def test_counts_of_the_guided_network_and_of_the_dead_biases() -> None:
    with torch.device("meta"):
        guided, scfegan = DeepFillv2(DeepFillv2Config(guided=True)), ScFegan()
        discriminator = SNPatchDiscriminator(SNPatchDiscriminatorConfig(sketch=True))
    assert count_weights(guided) == 4_053_678
    assert tf_tensors(guided)["coarse.conv1.weight"].shape == (5, 5, 6, 48)
    assert sum(value.numel() for value in scfegan.buffers()) == 1_987
    assert sum(value.numel() for value in scfegan.parameters()) == 92_886_100 - 1_987
    assert sum(value.numel() for value in discriminator.buffers()) == 1_216


def test_tensorflow_arrays_go_there_and_back_exactly(deepfill: Arrays, scfegan: Arrays) -> None:
    for loader, arrays in ((load_deepfillv2, deepfill), (load_scfegan, scfegan)):
        back = parity.to_tensorflow(loader(arrays))
        assert list(back) == list(arrays)
        assert all(np.array_equal(back[name], arrays[name]) for name in arrays)


@pytest.mark.parametrize("guided", [False, True])
def test_files_of_ours_come_back_exactly(tmp_path: Path, guided: bool) -> None:
    net = DeepFillv2(DeepFillv2Config(4, guided))
    write_network(tmp_path / "net.safetensors", net, {"origin": "test"})
    back = load_deepfillv2(tmp_path / "net.safetensors")
    assert back.config == net.config
    assert not back.training
    assert all(torch.equal(value, net.state_dict()[key]) for key, value in back.state_dict().items())
    card = json.loads((tmp_path / "net.json").read_text())
    assert card == {"origin": "test", **network_card(net)}
    assert card["config"] == {"width": 4, "guided": guided}


def test_the_dead_biases_are_in_our_files(tmp_path: Path, scfegan: Arrays) -> None:
    net = load_scfegan(scfegan)
    write_network(tmp_path / "net.safetensors", net)
    back = parity.to_tensorflow(load_scfegan(tmp_path / "net.safetensors"))
    assert np.array_equal(back["generator/deconv3/biases2"], scfegan["generator/deconv3/biases2"])
    assert back["generator/deconv3/biases2"].any()


def test_a_bundle_is_read_by_the_names_that_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deepfill: Arrays
) -> None:
    bundles.write_bundle(
        tmp_path / "snap-7",
        {
            **deepfill,
            "global_step": np.array(7),
            "inpaint_net/conv1/kernel/Adam": np.full((5, 5, 5, 4), np.nan, np.float32),
            "discriminator/sn_patch_gan/conv1/bias": np.zeros(4, np.float32),
        },
    )
    asked: list[str] = []

    def read(prefix: Path, names: list[str]) -> Arrays:
        asked.extend(names)
        return dict(read_bundle(prefix, names))

    monkeypatch.setattr(loading, "read_bundle", read)
    for source in (tmp_path / "snap-7", str(tmp_path / "snap-7.index"), tmp_path):
        asked.clear()
        back = parity.to_tensorflow(load_deepfillv2(source))
        assert set(asked) == set(deepfill)
        assert all(np.array_equal(back[name], deepfill[name]) for name in deepfill)


def test_a_safetensors_file_by_tensorflows_names_is_read_too(tmp_path: Path, scfegan: Arrays) -> None:
    tensors = {name: torch.from_numpy(value) for name, value in scfegan.items()}
    write_safetensors(tmp_path / "imported.safetensors", tensors, {"layout": "tensorflow"})
    back = parity.to_tensorflow(load_scfegan(tmp_path / "imported.safetensors"))
    assert all(np.array_equal(back[name], scfegan[name]) for name in scfegan)


Damage = Callable[[Arrays], Arrays]
FIRST, LAST = "inpaint_net/conv1/kernel", "inpaint_net/allconv17/bias"
BAD: dict[str, tuple[Damage, str]] = {
    "a tensor is missing": (lambda a: {k: v for k, v in a.items() if k != LAST}, f"1 of 84 .* {LAST}"),
    "the first is missing": (lambda a: {k: v for k, v in a.items() if k != FIRST}, f"without {FIRST}"),
    "a wrong shape": (lambda a: a | {LAST: np.zeros(4, np.float32)}, r"shape \(4,\) where \(3,\)"),
    "a flat first kernel": (lambda a: a | {FIRST: np.zeros(4, np.float32)}, "no deepfillv2"),
    "seven channels": (lambda a: a | {FIRST: np.zeros((5, 5, 7, 4), np.float32)}, "7 channels where 5"),
    "an odd width": (lambda a: a | {FIRST: np.zeros((5, 5, 5, 6), np.float32)}, "multiple of 4"),
    "another width": (lambda a: a | {FIRST: np.zeros((5, 5, 5, 8), np.float32)}, "was expected"),
    "a bomb": (lambda a: a | {FIRST: np.broadcast_to(np.float32(0), (5, 5, 5, 2**40))}, "no deepfillv2"),
    "NaN": (lambda a: a | {LAST: np.full(3, np.nan, np.float32)}, "NaN or infinity"),
    "whole numbers": (lambda a: a | {LAST: np.zeros(3, np.int64)}, "int64 where floats"),
    "words": (lambda a: a | {LAST: "abc"}, r"shape \(\)"),
    "nothing": (lambda a: {}, "neither DeepFillv2 nor SC-FEGAN"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_weights_are_refused_with_a_sentence(case: str, deepfill: Arrays) -> None:
    damage, sentence = BAD[case]
    with pytest.raises(MissingError, match=sentence):
        load_deepfillv2(damage(deepfill))


def test_the_other_network_is_named(deepfill: Arrays, scfegan: Arrays) -> None:
    with pytest.raises(MissingError, match="scfegan was asked for, and it holds deepfillv2"):
        load_scfegan(deepfill)
    with pytest.raises(MissingError, match="deepfillv2 was asked for, and it holds scfegan"):
        load_deepfillv2(scfegan)


def test_our_own_names_are_strict(deepfill: Arrays) -> None:
    state = load_deepfillv2(deepfill).state_dict()
    assert load_deepfillv2(state).config == DeepFillv2Config(4)
    with pytest.raises(MissingError, match="1 unknown tensors such as more"):
        load_deepfillv2({**state, "more": torch.zeros(1)})


def test_other_number_types_become_float32_and_the_source_is_left_alone(deepfill: Arrays) -> None:
    wide = {name: value.astype(">f8") for name, value in deepfill.items()}
    net = load_deepfillv2(wide)
    assert {value.dtype for value in net.state_dict().values()} == {torch.float32}
    plain = load_deepfillv2(deepfill)
    with torch.no_grad():
        for value in plain.parameters():
            value.zero_()
    assert deepfill[FIRST].any()


def test_names_of_living_variables_are_those_of_a_file(deepfill: Arrays, scfegan: Arrays) -> None:
    assert load_deepfillv2({f"{name}:0": value for name, value in deepfill.items()}).config == DeepFillv2Config(4)
    net = load_scfegan({f"{name}:0": value for name, value in scfegan.items()})
    back = parity.to_tensorflow(net)
    assert all(np.array_equal(back[name], scfegan[name]) for name in scfegan)


@pytest.mark.filterwarnings("error")
def test_what_float32_cannot_hold_is_refused(deepfill: Arrays) -> None:
    with pytest.raises(MissingError, match="NaN or infinity"):
        load_deepfillv2(deepfill | {LAST: np.full(3, 1e300)})


def test_no_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="got int"):
        load_scfegan(3)  # type: ignore[arg-type]
    with pytest.raises(MissingError, match=r"nothing-here\.index"):
        load_scfegan(tmp_path / "nothing-here")
    (tmp_path / "page.safetensors").write_text("<html>")
    with pytest.raises(MissingError, match="web page"):
        load_scfegan(tmp_path / "page.safetensors")
