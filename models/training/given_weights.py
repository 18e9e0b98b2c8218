"""Networks that a run begins with: those of another run, or exported ones, those in the package among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from dpsdata.contracts import MissingError
from dpsdata.weights_store import sha256_file
from models.checkpoints import read_checkpoint
from models.loading import find_sources
from models.official_weights import peek_card
from models.presets import Task
from models.refiner import RefinerConfig
from models.training.state import LIGHT_FILE, count_images, read_light
from models.typed_weights import SOURCES

LIGHT_EXTRAS: Final = ("critic", "average")


@dataclass(frozen=True, eq=False)
class GivenNetworks:
    """Networks to begin with.

    Attributes:
        source: what they were read from, for people.
        groups: tensors by group and key; `critic` and `average` where a run was stopped in the middle of a stage.
        facts: what is known of their training: its preset, the images that were seen, SHA-256 of the file or files.
        card: of a light checkpoint; empty for exported weights.
    """

    source: str
    groups: Mapping[str, Mapping[str, Tensor]]
    facts: dict[str, Any]
    card: Mapping[str, Any] = field(default_factory=dict)


def find_light(begin_with: Path) -> Path | None:
    """The light checkpoint that a person means by a file or a run folder; None for exported weights."""
    inside = begin_with / LIGHT_FILE
    if inside.is_file():
        return inside
    return None if str(begin_with) in SOURCES or begin_with.is_dir() else begin_with


def read_given_light(path: Path) -> GivenNetworks:
    """The networks of a run; raise MissingError where it is no light checkpoint."""
    groups, card = read_light(path)
    config, before = card.get("config"), card.get("begun_with") or {"images_seen": 0}
    facts = {
        "preset": config.get("name") if isinstance(config, dict) else None,
        "images_seen": count_images(card.get("images_seen"), before.get("images_seen")),
        "sha256": sha256_file(path),
    }
    return GivenNetworks(str(path), groups, facts, card)


def read_editing_weights(source: str, task: Task, resolution: int) -> GivenNetworks:
    """G and F from exported weights; a resolution of G that is not there may be grown from the others.

    Args:
        source: `bundled`, `official`, or a folder of safetensors or official files.
        task: `edit` or `synthesis`.
        resolution: of the networks that begin, in px; of several F's the one for this size is taken.

    Raises:
        MissingError: no such weights, or damaged ones.
        UsageError: two files hold the same network.
    """
    paths = {name: Path(path) for name, path in find_sources(source, task).items()}
    inpainter = f"F{resolution}" if f"F{resolution}" in paths else next((name for name in paths if name[0] == "F"), "")
    groups: dict[str, dict[str, Tensor]] = {}
    for name, path in paths.items():
        checkpoint = read_checkpoint(path, name)
        if isinstance(checkpoint.config, RefinerConfig) and checkpoint.size <= resolution:
            scale = {f"scales.{checkpoint.size}.{key}": value for key, value in checkpoint.tensors.items()}
            groups.setdefault("refiner", {}).update(scale)
        elif name == inpainter:
            groups["inpainter"] = checkpoint.tensors
    return GivenNetworks(source, groups, describe_weights(list(paths.values())))


def describe_weights(paths: Sequence[Path]) -> dict[str, Any]:
    """What the cards of exported files say of their training; None where they say nothing, or not the same."""
    cards = [peek_card(path) for path in paths]

    def agreed(key: str, kind: type) -> Any:
        values = [card.get(key) for card in cards]
        return values[0] if type(values[0]) is kind and all(value == values[0] for value in values) else None

    hashes = {path.stem: sha256_file(path) for path in paths}
    return {"preset": agreed("preset", str), "images_seen": agreed("images_seen", int), "sha256": hashes}


def check_groups(given: GivenNetworks, wanted: Sequence[str]) -> None:
    """Raise MissingError where a network that a preset begins with is not there."""
    if set(wanted) - set(given.groups):
        held = ", ".join(sorted(set(given.groups) - set(LIGHT_EXTRAS))) or "nothing"
        raise MissingError(f"{given.source}: it holds {held}, and this preset begins with {', '.join(wanted)}")
