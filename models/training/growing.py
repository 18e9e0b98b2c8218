"""Networks for photos of twice the side, begun with what smaller ones learned."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor, nn

from models.inpainter import Inpainter
from models.refiner import Refiner

_UP = re.compile(r"ups\.(\d+)\.(.+)")


def grow_tensors(net: nn.Module, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The tensors of a network, or what one for half the side of the photo gives it to begin with.

    G keeps its coarser networks; what has the same name and shape in the finest of them begins the new one. F keeps
    the blocks near the photo, where lines are as thin at any side, and gets its deepest blocks twice.

    Args:
        net: with the weights that it keeps where the smaller network has none to give; not changed.
        tensors: state dict of a network of the same kind.

    Returns:
        `tensors` as they are, unless they are those of a network for half the side.
    """
    own = net.state_dict()
    if isinstance(net, Refiner) and len(net.config.resolutions) > 1:
        finest, coarser = (f"scales.{size}." for size in net.config.resolutions[:-3:-1])
        if not any(key.startswith(finest) for key in tensors):
            given = {finest + key[len(coarser) :]: value for key, value in tensors.items() if key.startswith(coarser)}
            return dict(tensors) | _fitting(own, {key: value for key, value in own.items() if finest in key} | given)
    if isinstance(net, Inpainter) and _count_downs(tensors) == net.config.depth - 1:
        deepest = net.config.depth - 1
        given = {_deeper_up(key): value for key, value in tensors.items()}
        given |= {key: value for key, value in tensors.items() if key.startswith(("ups.0.", "ups.1."))}
        for key, value in tensors.items():
            if key.startswith(f"downs.{deepest - 1}."):
                given[key.replace(f"downs.{deepest - 1}.", f"downs.{deepest}.", 1)] = value
        return _fitting(own, dict(own) | given)
    return tensors


def _count_downs(tensors: Mapping[str, Tensor]) -> int:
    return len({key.split(".")[1] for key in tensors if key.startswith("downs.")})


def _deeper_up(key: str) -> str:
    """The deepest two keep their number, since the second is there twice; all others are counted from the photo."""
    match = _UP.fullmatch(key)
    return key if match is None or int(match[1]) < 1 else f"ups.{int(match[1]) + 1}.{match[2]}"


def _fitting(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`given` with the network's own tensor wherever the shapes differ."""
    return {key: value if value.shape == own[key].shape else own[key] for key, value in given.items() if key in own}
