from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from dpsdata.contracts import UsageError
from models.networks.config import ModelConfig, find_config
from models.networks.discriminator import DiscriminatorConfig, stride_layers_for
from models.networks.editing_net import Refiner, RefinerConfig
from models.networks.inpainter import Inpainter, InpainterConfig


def build(config: ModelConfig) -> tuple[Refiner, Inpainter]:
    with torch.device("meta"):
        return Refiner(config.refiner), Inpainter(config.inpainter)


def multiplications(config: ModelConfig) -> int:
    """Of the convolutions of G and F for one sample, all heads included, by the size of every output."""
    refiner, inpainter = build(config)
    parts: list[tuple[nn.Module, int]] = [(refiner.scale(size), size) for size in config.refiner.resolutions]
    total = 0
    for net, size in [*parts, (inpainter, config.inpainter.resolution)]:
        depth = len(net.downs)  # type: ignore[arg-type]
        deepest = size >> depth
        for name, module in net.named_modules():
            if isinstance(module, nn.Conv2d):
                block, _, rest = name.partition(".")
                index = int(rest.split(".")[0]) if rest else 0
                up = (deepest << index) if net is inpainter else (deepest << (index + 1))
                sides = {"first": size, "head": size, "downs": size >> (index + 1), "ups": up, "residuals": deepest}
                total += module.weight.numel() * (sides | {"bottom": deepest // 2})[block] ** 2
    return total


def half_precision_bytes(config: ModelConfig) -> int:
    tensors = [value for net in build(config) for value in net.state_dict().values()]
    return sum(value.numel() * (2 if value.is_floating_point() else 8) for value in tensors)


def test_the_published_cost_is_the_measured_one() -> None:
    assert multiplications(find_config("published")) / 1e9 == pytest.approx(69, abs=1)


@pytest.mark.parametrize("task", ["edit", "synthesis"])
def test_lite_is_a_quarter_of_the_cost_in_twenty_megabytes(task: str) -> None:
    lite, published = find_config("lite", task), find_config("published", task)  # type: ignore[arg-type]
    assert 0.2 < multiplications(lite) / multiplications(published) < 0.26
    assert 18e6 < half_precision_bytes(lite) < 19.95e6, "the rest is for the headers of the files"


@pytest.mark.parametrize("name", ["published", "lite", "tiny"])
@pytest.mark.parametrize("task", ["edit", "synthesis"])
@pytest.mark.parametrize("resolution", [64, 128, 256])
def test_every_preset_fits_together(name: str, task: str, resolution: int) -> None:
    config = find_config(name, task, resolution)  # type: ignore[arg-type]
    assert config.task == task
    assert config.refiner.resolutions[-1] == config.inpainter.resolution == resolution
    for size in config.refiner.resolutions:
        assert config.discriminator_at(size).stride_layers == stride_layers_for(size)
    assert config.discriminator_at(resolution) == config.discriminator


def test_unknown_names_are_refused() -> None:
    for arguments in (("large",), ("lite", "inpaint"), ("lite", "edit", 200)):
        with pytest.raises(UsageError):
            find_config(*arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "make",
    [
        lambda: RefinerConfig(input_channels=4),
        lambda: RefinerConfig(width=0),
        lambda: RefinerConfig(width=64, max_width=100),
        lambda: RefinerConfig(residual_blocks=-1),
        lambda: RefinerConfig(resolutions=()),
        lambda: RefinerConfig(resolutions=(64, 256)),
        lambda: RefinerConfig(resolutions=(20, 40)),
        lambda: InpainterConfig(input_channels=6),
        lambda: InpainterConfig(width=64, max_width=32),
        lambda: InpainterConfig(resolution=100),
        lambda: InpainterConfig(norm="layer"),  # type: ignore[arg-type]
        lambda: DiscriminatorConfig(input_channels=3),
        lambda: DiscriminatorConfig(stride_layers=0),
        lambda: stride_layers_for(100),
        lambda: replace(find_config("tiny"), inpainter=InpainterConfig()),
        lambda: replace(find_config("tiny"), discriminator=DiscriminatorConfig(input_channels=6)),
        lambda: find_config("tiny").discriminator_at(256),
    ],
)
def test_impossible_sizes_are_refused(make: object) -> None:
    with pytest.raises(UsageError):
        make()  # type: ignore[operator]
