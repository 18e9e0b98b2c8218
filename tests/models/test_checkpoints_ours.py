from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from dpsdata.contracts import MissingError, UsageError
from dpsdata.weights.store import write_safetensors
from models.editing.editor import load_editor
from models.editing.loading import collect_checkpoints, load_discriminator, load_editing_net
from models.networks.config import ModelConfig, Task, stem_config, tiny_config
from models.networks.discriminator import PatchDiscriminator
from models.networks.editing_net import EditingNet, Refiner, RefinerConfig
from models.networks.initialisation import initialise_weights
from models.networks.inpainter import Inpainter
from models.training.engine.initial_weights import read_editing_weights
from models.weights.checkpoints import (
    NetworkCheckpoint,
    as_synthesis,
    load_network,
    read_checkpoint,
    write_checkpoint,
)


def tiny_net(task: Task = "edit", seed: int = 1) -> EditingNet:
    config = tiny_config(task)
    net = EditingNet(Refiner(config.refiner), Inpainter(config.inpainter))
    initialise_weights(net, seed, "test")
    return net.eval()


def write_folder(net: EditingNet, folder: Path) -> None:
    for checkpoint in collect_checkpoints(net):
        write_checkpoint(folder / f"{net.task}-{checkpoint.network}.safetensors", checkpoint)


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    left, right = one.state_dict(), other.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


@pytest.mark.parametrize("task", ["edit", "synthesis"])
def test_a_folder_of_ours_gives_the_same_network_back(tmp_path: Path, task: Task) -> None:
    net = tiny_net(task)
    write_folder(net, tmp_path)
    write_folder(tiny_net("edit" if task == "synthesis" else "synthesis", 2), tmp_path)
    loaded = load_editing_net(tmp_path, task)
    assert same_weights(net, loaded)
    assert loaded.refiner.config == net.refiner.config
    assert loaded.inpainter.config == net.inpainter.config
    assert not loaded.training


def test_the_card_lies_beside_the_file_and_in_it(tmp_path: Path) -> None:
    checkpoint = collect_checkpoints(tiny_net())[0]
    path = tmp_path / "g.safetensors"
    write_checkpoint(path, checkpoint)
    card = json.loads((tmp_path / "g.json").read_text())
    assert card["network"] == "G16"
    assert card["task"] == "edit"
    assert card["config"]["width"] == 12
    read = read_checkpoint(path)
    assert read.config == checkpoint.config
    first = path.read_bytes()
    write_checkpoint(path, read)
    assert path.read_bytes() == first


def test_the_pen_goes_with_the_network_and_was_the_published_one(tmp_path: Path) -> None:
    first = collect_checkpoints(tiny_net())[0]
    assert isinstance(first.config, RefinerConfig)
    write_checkpoint(tmp_path / "g.safetensors", replace(first, config=replace(first.config, dilation_diameter=13)))
    read = read_checkpoint(tmp_path / "g.safetensors").config
    assert isinstance(read, RefinerConfig)
    assert read.dilation_diameter == 13
    assert "dilation_diameter" not in first.card()["config"], "the same bytes as earlier versions wrote"
    write_checkpoint(tmp_path / "old.safetensors", first)
    assert read_checkpoint(tmp_path / "old.safetensors").config == first.config


def test_half_precision_files_are_half_as_large_and_close(tmp_path: Path) -> None:
    checkpoint = collect_checkpoints(tiny_net())[-1]
    write_checkpoint(tmp_path / "full.safetensors", checkpoint)
    write_checkpoint(tmp_path / "half.safetensors", checkpoint, torch.float16)
    ratio = (tmp_path / "half.safetensors").stat().st_size / (tmp_path / "full.safetensors").stat().st_size
    assert 0.45 < ratio < 0.6
    half = read_checkpoint(tmp_path / "half.safetensors")
    assert half.tensors["downs.0.norm.batch.num_batches_tracked"].dtype == torch.int64
    assert torch.allclose(half.tensors["first.weight"], checkpoint.tensors["first.weight"], atol=1e-4)


@pytest.mark.parametrize(
    "fields",
    [
        {"width": 1e300},
        {"width": -1},
        {"width": "64"},
        {"residual_blocks": 10**9},
        {"resolutions": [16, 48]},
        {"surprise": 1},
        {"width": True},
        {"dilation_diameter": 0},
        {"dilation_diameter": 256},
        {"dilation_diameter": 13.5},
    ],
)
def test_a_card_that_describes_no_network_is_refused(tmp_path: Path, fields: dict[str, object]) -> None:
    checkpoint = collect_checkpoints(tiny_net())[0]
    card = checkpoint.card()
    card["config"] |= fields
    write_safetensors(tmp_path / "g.safetensors", checkpoint.tensors, card)
    with pytest.raises(MissingError, match=r"g\.safetensors"):
        read_checkpoint(tmp_path / "g.safetensors")


def test_a_card_of_another_size_is_refused(tmp_path: Path) -> None:
    checkpoint = collect_checkpoints(tiny_net())[0]
    assert not isinstance(checkpoint.config, PatchDiscriminator)
    card = checkpoint.card()
    card["config"]["residual_blocks"] = 2
    write_safetensors(tmp_path / "g.safetensors", checkpoint.tensors, card)
    with pytest.raises(MissingError, match=r"without residuals\.1"):
        read_checkpoint(tmp_path / "g.safetensors")


def test_a_file_of_another_resolution_than_asked_for_is_refused(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "g.safetensors", collect_checkpoints(tiny_net())[1])
    with pytest.raises(MissingError, match="G32, not a G64"):
        read_checkpoint(tmp_path / "g.safetensors", "G64")


def test_missing_doubled_and_foreign_networks_are_said(tmp_path: Path) -> None:
    net = tiny_net()
    write_folder(net, tmp_path)
    with pytest.raises(MissingError, match="no weights of synthesis"):
        load_editor(tmp_path, "synthesis")
    (tmp_path / "edit-G32.safetensors").rename(tmp_path / "moved")
    with pytest.raises(UsageError, match="F64 goes with G16, G32, G64"):
        load_editor(tmp_path)
    (tmp_path / "moved").rename(tmp_path / "edit-G32.safetensors")
    (tmp_path / "copy.safetensors").write_bytes((tmp_path / "edit-G32.safetensors").read_bytes())
    with pytest.raises(UsageError, match=r"both copy\.safetensors and edit-G32"):
        load_editor(tmp_path)
    with pytest.raises(MissingError, match="no such folder"):
        load_editor(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="task: expected edit or synthesis"):
        load_editor(tmp_path, "editing")
    with pytest.raises(UsageError, match="expected the keys"):
        load_editor({"D64": tmp_path / "x"})


def test_state_dicts_of_two_models_do_not_mix(tmp_path: Path) -> None:
    files = {}
    for checkpoint in collect_checkpoints(tiny_net()):
        if checkpoint.network == "G64":
            checkpoint = replace(checkpoint, config=replace(checkpoint.config, max_width=40))
        files[checkpoint.network] = tmp_path / f"{checkpoint.network}.safetensors"
        write_checkpoint(files[checkpoint.network], checkpoint)
    with pytest.raises(UsageError, match="different sizes"):
        load_editor(files)


def test_networks_of_two_pens_do_not_mix(tmp_path: Path) -> None:
    write_folder(tiny_net(), tmp_path)
    first = collect_checkpoints(tiny_net())[0]
    assert isinstance(first.config, RefinerConfig)
    other = replace(first, config=replace(first.config, dilation_diameter=13))
    write_checkpoint(tmp_path / f"edit-{first.network}.safetensors", other)
    with pytest.raises(UsageError, match="different sizes or pens"):
        load_editor(tmp_path)


def test_without_weights_nothing_random_is_edited_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.weights.bundled.BUNDLED_FOLDER", tmp_path)
    with pytest.raises(MissingError, match=r"dps weights import FILE.*dps train tiny") as caught:
        load_editor()
    assert caught.value.exit_code == 5


def test_a_discriminator_of_ours_comes_back(tmp_path: Path) -> None:
    config = tiny_config().discriminator
    net = PatchDiscriminator(config).eval()
    checkpoint = NetworkCheckpoint("D64", "edit", config, dict(net.state_dict()))
    write_checkpoint(tmp_path / "d.safetensors", checkpoint)
    loaded = load_discriminator(tmp_path / "d.safetensors", 64)
    images = torch.linspace(-1, 1, 7 * 64 * 64).reshape(1, 7, 64, 64)
    assert torch.equal(net(images), loaded(images))
    assert same_weights(net, load_network(checkpoint))
    with pytest.raises(MissingError, match="of edit, but synthesis"):
        load_discriminator(tmp_path / "d.safetensors", 64, "synthesis")
    with pytest.raises(UsageError, match="size"):
        load_discriminator(tmp_path / "d.safetensors", 0)


def test_half_precision_makes_no_infinity(tmp_path: Path) -> None:
    checkpoint = next(each for each in collect_checkpoints(tiny_net()) if each.network == "F64")
    key = next(key for key in checkpoint.tensors if key.endswith("running_var"))
    wide = {**checkpoint.tensors, key: torch.full_like(checkpoint.tensors[key], 1e5)}
    write_checkpoint(tmp_path / "f.safetensors", replace(checkpoint, tensors=wide), torch.float16)
    read = read_checkpoint(tmp_path / "f.safetensors").tensors
    assert float(read[key].min()) == 1e5
    other = next(name for name in wide if name.endswith("conv.weight"))
    assert torch.equal(read[other], wide[other].half().float())


@pytest.mark.parametrize("config", [tiny_config(), stem_config(resolution=128)], ids=["tiny", "stem"])
def test_synthesis_paints_what_editing_paints_in_a_hole_over_the_whole_photo(
    config: ModelConfig, tmp_path: Path
) -> None:
    net = EditingNet(Refiner(config.refiner), Inpainter(config.inpainter))
    initialise_weights(net, 3, "test")
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(generator=torch.Generator().manual_seed(len(name)))
    files = {}
    for checkpoint in collect_checkpoints(net.eval()):
        files[checkpoint.network] = tmp_path / f"synthesis-{checkpoint.network}.safetensors"
        write_checkpoint(files[checkpoint.network], as_synthesis(checkpoint))
    side, generator = net.resolution, torch.Generator().manual_seed(0)
    photo = torch.rand(2, 3, side, side, generator=generator) * 2 - 1
    sketch = (torch.rand(2, 1, side, side, generator=generator) > 0.97).float()
    with torch.no_grad():
        edited = net(photo, sketch, torch.ones_like(sketch), 0.4)
        made = load_editing_net(files, "synthesis")(None, sketch, None, 0.4)
    for one, other in zip(edited, made, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=0)
    # A training of synthesis begins with exported networks for editing as they lie.
    (tmp_path / "edit").mkdir()
    write_folder(net, tmp_path / "edit")
    given = read_editing_weights(str(tmp_path / "edit"), "synthesis", side).groups["inpainter"]
    for key, value in read_checkpoint(files[f"F{side}"]).tensors.items():
        torch.testing.assert_close(value, given[key], atol=1e-6, rtol=1e-6)
