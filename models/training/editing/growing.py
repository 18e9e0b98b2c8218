"""Networks for photos of twice the side, begun with what smaller ones learned."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor, nn

from models.networks.inpainter import Inpainter, InpainterConfig
from models.networks.refiner import Refiner, RefinerConfig
from models.training.engine.state import fits

_UP = re.compile(r"ups\.(\d+)\.(.+)")


def grow_tensors(net: nn.Module, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The tensors of a network, or what one for half the side of the photo gives it to begin with.

    G keeps its coarser networks; what has the same name and shape in the finest of them begins the new one. F keeps
    the blocks near the photo, where lines are as thin at any side, and gets its deepest blocks twice.

    Args:
        net: with the weights that it keeps where the smaller network has none to give; not changed.
        tensors: state dict of a network of the same kind.

    Returns:
        `tensors` as they are, unless they are those of a network for half the side, otherwise of the same sizes.
    """
    if isinstance(net, Refiner) and len(net.config.resolutions) > 1:
        coarser = replace(net.config, resolutions=net.config.resolutions[:-1])
        return _grow_refiner(net, tensors, net.config) if fits(Refiner(coarser), tensors) else tensors
    if isinstance(net, Inpainter) and net.config.resolution > 16:
        half = replace(net.config, resolution=net.config.resolution // 2)
        return _grow_inpainter(net, tensors, half) if fits(Inpainter(half), tensors) else tensors
    return tensors


def _grow_refiner(net: Refiner, tensors: Mapping[str, Tensor], config: RefinerConfig) -> dict[str, Tensor]:
    finest, coarser = (f"scales.{size}." for size in config.resolutions[:-3:-1])
    given = {finest + key[len(coarser) :]: value for key, value in tensors.items() if key.startswith(coarser)}
    return _fitting(net, {**net.state_dict(), **tensors, **given})


def _grow_inpainter(net: Inpainter, tensors: Mapping[str, Tensor], half: InpainterConfig) -> dict[str, Tensor]:
    given = {_deeper_up(key): value for key, value in tensors.items()}
    given |= {key: value for key, value in tensors.items() if key.startswith(("ups.0.", "ups.1."))}
    deepest = f"downs.{half.depth - 1}."
    for key, value in tensors.items():
        if key.startswith(deepest):
            given[f"downs.{half.depth}." + key[len(deepest) :]] = value
    return _fitting(net, {**net.state_dict(), **given})


def _deeper_up(key: str) -> str:
    """The deepest two keep their number, since the second is there twice; all others are counted from the photo."""
    match = _UP.fullmatch(key)
    return key if match is None or int(match[1]) < 1 else f"ups.{int(match[1]) + 1}.{match[2]}"


def _fitting(net: nn.Module, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`given` with the network's own tensor wherever it has none of the same shape."""
    return {key: given[key] if given[key].shape == value.shape else value for key, value in net.state_dict().items()}
