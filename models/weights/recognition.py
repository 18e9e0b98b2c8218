"""Tells which network a state dict belongs to, from its keys and the shape of its first convolution."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, NamedTuple

from dpsdata.contracts import MissingError
from dpsdata.weights.reading import UnrecognisedError
from models.networks.config import Task, published_config
from models.networks.discriminator import DiscriminatorConfig
from models.networks.editing_net import RefinerConfig
from models.networks.inpainter import STEMS, InpainterConfig

Layout = Literal["official", "ours"]

# A name in a file name; FD256 (the discriminator of F, the same shapes as D256) is none of ours.
NETWORK_NAME = re.compile(r"(?<![A-Za-z0-9])[GFD](?:64|128|256)(?![0-9])")
_ANY_NAME = re.compile(r"[GFD][1-9]\d{1,3}")
_TASKS: dict[tuple[str, int], Task] = {
    ("G", 3): "synthesis",
    ("G", 7): "edit",
    ("F", 3): "synthesis",
    ("F", 7): "edit",
    ("D", 6): "synthesis",
    ("D", 7): "edit",
}
# Behind a stem the sketch is there once, and every pixel of a square is a channel.
_STEM_TASKS: dict[int, Task] = {
    **{stem**2: "synthesis" for stem in STEMS[1:]},
    **{5 * stem**2: "edit" for stem in STEMS[1:]},
}


class FoundNetwork(NamedTuple):
    """What the keys tell: the network, its task, the layout, and for F whether it has BatchNorm."""

    network: str
    task: Task
    layout: Layout
    has_batch_norm: bool


def find_network(flat: Mapping[str, Any], asked: str | None = None) -> FoundNetwork:
    """Tell the network of a state dict.

    Args:
        flat: tensors or arrays by key.
        asked: the network that it should be; decides between those that have the same keys.

    Raises:
        UnrecognisedError: none of G, F and D.
        MissingError: another network than the one asked for, or the first convolution is missing or has a wrong shape.
    """
    if asked is not None and (not isinstance(asked, str) or not _ANY_NAME.fullmatch(asked)):
        raise MissingError(f"no network is called {str(asked)[:80]!r}; expected a name such as G64, F256 or D128")
    layout, part, first = _find_part(flat)
    sizes: tuple[str, ...] = () if asked is None else (asked,)
    if layout == "official":
        sizes = _official_sizes(part, flat)
    if asked is not None and (asked not in sizes or asked[0] != part):
        raise MissingError(f"it holds a {' or '.join(sizes) if layout == 'official' else part}, not a {asked}")
    if asked is None and len(sizes) != 1:
        raise MissingError(
            f"it holds a {' or '.join(sizes) or part}, which the weights alone do not tell; "
            "give the file its published name, such as ECCV-EDT-celebaHQ-G128.ckpt"
        )
    shape = tuple(getattr(flat.get(first), "shape", ()))
    if first not in flat:
        raise MissingError(f"a {asked or sizes[0]} without {first}")
    task = _TASKS.get((part, shape[1] if len(shape) == 4 else 0))
    if task is None and layout == "ours" and len(shape) == 4:
        task = _STEM_TASKS.get(shape[1])
    if task is None:
        channels = "6 or 7" if part == "D" else "3 or 7"
        raise MissingError(f"{first} has the shape {shape} where {channels} input channels were expected")
    return FoundNetwork(asked or sizes[0], task, layout, any(".bn." in key or ".norm.batch." in key for key in flat))


def _find_part(flat: Mapping[str, Any]) -> tuple[Layout, str, str]:
    heads = {key.split(".", 1)[0] for key in flat}
    if "embedding" in heads:
        return "official", "G", "conv1.weight"
    if {"dconv1", "conv7"} & heads:
        return "official", "F", "conv1.weight"
    if "model" in heads and any(key.endswith("weight_orig") for key in flat):
        return "official", "D", "model.1.weight_orig"
    if "level_embedding" in heads:
        return "ours", "G", "first.weight"
    if "bottom" in heads:
        return "ours", "F", "first.weight"
    if "convs" in heads:
        return "ours", "D", "convs.0.parametrizations.weight.original"
    seen = ", ".join(list(flat)[:3])[:120] or "no key at all"
    raise UnrecognisedError(f"no network of Deep Plastic Surgery: {len(flat)} entries such as {seen}")


def is_known(flat: Mapping[str, Any]) -> bool:
    """Whether the keys are those of a G, an F or a D."""
    try:
        _find_part(flat)
    except UnrecognisedError:
        return False
    return True


def _official_sizes(part: str, flat: Mapping[str, Any]) -> tuple[str, ...]:
    if part == "G":
        return ("G64",) if any(key.startswith(("rcb3.", "rdcb3.")) for key in flat) else ("G128", "G256")
    if part == "F":
        first = min((int(match[1]) for key in flat if (match := re.match(r"rdcb([0-7])\.", key))), default=0)
        return (f"F{256 >> min(first, 2)}",)
    last = max((int(match[1]) for key in flat if (match := re.match(r"model\.(\d{1,2})\.", key))), default=0)
    return ({13: "D64", 16: "D128"}.get(last, "D256"),)


def network_config(found: FoundNetwork) -> RefinerConfig | InpainterConfig | DiscriminatorConfig:
    """The published sizes of a network, and G's published pen; only F's norm is taken from its keys."""
    size = int(found.network[1:])
    if size not in (64, 128, 256):
        raise MissingError(f"a {found.network} without a card; the published sizes are 64, 128 and 256")
    published = published_config(found.task, max(size, 64))
    if found.network[0] == "G":
        return published_config(found.task).refiner
    if found.network[0] == "D":
        return published.discriminator
    return replace(published.inpainter, norm="batch" if found.has_batch_norm else "none")
