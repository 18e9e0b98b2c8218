from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from dpsdata.contracts import MissingError
from models.networks.config import lite_config
from models.networks.editing_net import Refiner
from models.networks.inpainter import Inpainter
from models.training.catalogue import make_algorithm
from models.training.editing.algorithm import grow_tensors
from models.training.editing.config import StageConfig, TrainConfig
from models.training.engine.initial_weights import read_light_networks
from models.training.engine.restoring import begin_run, restore_run
from models.training.engine.state import write_light


def test_g_keeps_its_coarser_network_and_begins_the_finer_one_with_what_fits() -> None:
    small, large = Refiner(lite_config("edit", 64).refiner), Refiner(lite_config("edit", 128).refiner)
    before = {key: value.clone() for key, value in large.state_dict().items()}
    large.load_state_dict(dict(grow_tensors(large, small.state_dict())))
    for key, value in small.state_dict().items():
        assert torch.equal(large.state_dict()[key], value), key
    for name in ("first", "downs.0", "head", "level_embedding"):
        keys = [key for key in before if key.startswith(f"scales.128.{name}.")]
        assert keys
        for key in keys:
            assert torch.equal(large.state_dict()[key], small.state_dict()[key.replace(".128.", ".64.")]), key
    other = [key for key in before if key.startswith("scales.128.ups.")]
    assert other
    assert all(torch.equal(large.state_dict()[key], before[key]) for key in other), "another shape in the deep network"


def test_f_keeps_the_blocks_near_the_photo_and_gets_its_deepest_ones_twice() -> None:
    small, large = Inpainter(lite_config("edit", 64).inpainter), Inpainter(lite_config("edit", 128).inpainter)
    large.load_state_dict(dict(grow_tensors(large, small.state_dict())))
    old, new = small.state_dict(), large.state_dict()
    twins = {"first": "first", "bottom": "bottom", "head": "head", "downs.5": "downs.4"}
    twins |= {f"downs.{index}": f"downs.{index}" for index in range(5)}
    twins |= {"ups.0": "ups.0", "ups.1": "ups.1"} | {f"ups.{index}": f"ups.{index - 1}" for index in range(2, 7)}
    seen = set()
    for name, source in twins.items():
        for key in (key for key in new if key.startswith(f"{name}.")):
            seen.add(key)
            assert torch.equal(new[key], old[source + key[len(name) :]]), key
    assert seen == set(new), "no block is left as it was"


def test_networks_of_the_same_side_are_left_alone() -> None:
    for net in (Refiner(lite_config("edit", 64).refiner), Inpainter(lite_config("edit", 128).inpainter)):
        tensors = dict(net.state_dict())
        assert grow_tensors(net, tensors) is tensors


def test_a_run_at_twice_the_side_begins_with_a_light_checkpoint(tmp_path: Path) -> None:
    stages = tuple(StageConfig(network=name, images=8) for name in ("F", "G64", "G128"))
    small = lite_config("edit", 64)
    config = TrainConfig(name="lite", model="lite", task="edit", resolution=128, stage=stages)
    light = tmp_path / "light.safetensors"
    groups = {"refiner": Refiner(small.refiner), "inpainter": Inpainter(small.inpainter)}
    write_light(light, groups, {"position": [1, 0], "config": {"name": "lite-edit-64-sharp"}, "images_seen": 7})
    algorithm = make_algorithm(config, torch.device("cpu"))
    nets, where = algorithm.nets, (config, "hash", algorithm)
    begun = restore_run(tmp_path / "run", *where, init_from=str(light))
    assert begun.begun_with is not None
    assert (begun.begun_with["preset"], begun.begun_with["images_seen"]) == ("lite-edit-64-sharp", 7)
    grown, given = nets["inpainter"].state_dict(), groups["inpainter"].state_dict()
    assert all(torch.equal(grown[key], given[key]) for key in given if key.startswith(("first.", "head.")))
    stopped = {**groups, "average": Refiner(small.refiner).scale(64), "discriminator": nn.Linear(1, 1)}
    write_light(light, stopped, {"position": [0, 9], "stage": "G64", "config": {"name": "a"}, "images_seen": 7})
    large = nets["refiner"]
    assert isinstance(large, Refiner)
    stages = {"F128": nets["inpainter"], "G64": large.scale(64), "G128": large.scale(128)}
    begin_run(nets, stages, read_light_networks(light), grow_tensors)
    for key, value in stopped["average"].state_dict().items():
        assert torch.equal(large.scale(64).state_dict()[key], value), "of the stage of that name, wherever it comes"
    wrong = {"refiner": groups["refiner"], "inpainter": Inpainter(lite_config("edit", 256).inpainter)}
    write_light(light, wrong, {"position": [1, 0]})
    with pytest.raises(MissingError, match=r"does not fit this preset \(downs.6"):
        restore_run(tmp_path / "x", *where, init_from=str(light))


def test_a_foreign_network_does_not_grow() -> None:
    net = Inpainter(lite_config("edit", 128).inpainter)
    foreign = Inpainter(replace(lite_config("edit", 64).inpainter, width=16)).state_dict()
    assert grow_tensors(net, foreign) is foreign
    torn = dict(Inpainter(lite_config("edit", 64).inpainter).state_dict())
    torn.pop(next(key for key in torn if key.startswith("head.")))
    assert grow_tensors(net, torn) is torn


def test_growing_goes_on_to_256_px() -> None:
    for kind, name in ((Refiner, "refiner"), (Inpainter, "inpainter")):
        small, large = (kind(getattr(lite_config("edit", size), name)) for size in (128, 256))
        large.load_state_dict(dict(grow_tensors(large, small.state_dict())))
        first = "scales.256.first." if kind is Refiner else "first."
        source = first.replace("256", "128")
        for key, value in large.state_dict().items():
            if key.startswith(first):
                assert torch.equal(value, small.state_dict()[source + key[len(first) :]]), key


def test_a_light_of_an_earlier_version_keeps_its_average(tmp_path: Path) -> None:
    """It does not name its stage, which a training of one stage leaves no doubt about."""
    net, average = nn.Linear(2, 2), nn.Linear(2, 2)
    light = tmp_path / "light.safetensors"
    groups = {"network": net, "average": average, "discriminator": nn.Linear(1, 1)}
    write_light(light, groups, {"position": [0, 9], "config": {"name": "a"}, "images_seen": 7})
    own = nn.Linear(2, 2)
    begun = begin_run({"network": own}, {"scfegan": own}, read_light_networks(light), grow_tensors)
    assert torch.equal(own.weight, average.weight)
    assert set(begun.discriminator) == {"discriminator", "average"}
    with pytest.raises(MissingError, match=r"it holds a baseline.s network, and this preset begins with F and G"):
        begin_run({"refiner": own, "inpainter": own}, {"F64": own}, read_light_networks(light), grow_tensors)
