"""Networks that a run begins with: those of another run, or exported ones, those in the package among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from dpsdata.contracts import MissingError, typed_path
from dpsdata.sketch.dilate import PUBLISHED_DIAMETER_PX
from dpsdata.weights.store import sha256_file
from models.editing.loading import find_sources
from models.networks.config import Task
from models.networks.editing_net import RefinerConfig
from models.training.engine.state import LIGHT_FILE, WEIGHTS_FOLDER, count_images, read_light
from models.weights.bundled import SOURCES, typed_weights
from models.weights.checkpoints import as_synthesis, read_checkpoint
from models.weights.official import peek_card

LIGHT_EXTRAS: Final = ("discriminator", "average")
# What people call the groups of tensors.
_SPOKEN: Final = {"refiner": "G", "inpainter": "F", "network": "a baseline's network"}
_EXPECTED = (
    f"expected a run folder, its {LIGHT_FILE}, a folder of exported weights, or one of the words {', '.join(SOURCES)}"
)


@dataclass(frozen=True, eq=False)
class InitialNetworks:
    """Networks to begin with.

    Attributes:
        source: what they were read from, for people.
        groups: tensors by group and key; `discriminator` and `average` where a run was stopped within a stage.
        metadata: what is known of their training, see `describe_training`; `stopped_in` is the stage of a run that was
            not at its end, `dilation_diameter` a pen of G that is not the published one.
        card: of a light checkpoint; empty for exported weights.
    """

    source: str
    groups: Mapping[str, Mapping[str, Tensor]]
    metadata: dict[str, Any]
    card: Mapping[str, Any] = field(default_factory=dict)


def describe_training(
    preset: Any, images_seen: int | None, licence: str | None, files: Mapping[str, str]
) -> dict[str, Any]:
    """What a run keeps of the networks that it began with.

    Args:
        preset: that trained them; anything but a string is unknown.
        images_seen: by them, over all runs; None where unknown.
        licence: terms that they came with; None where this project began with first weights of its own.
        files: SHA-256 by name of file.
    """
    known = preset if isinstance(preset, str) else None
    return {"preset": known, "images_seen": images_seen, "licence": licence, "sha256": dict(files)}


def find_light(typed: str) -> Path | None:
    """The light checkpoint that a person means by a file or a run folder; None for exported weights.

    Raises:
        MissingError: nothing of this name is there, or a file that can only be one network.
    """
    if typed in SOURCES:
        return None
    path = typed_path(typed)
    inside = path / LIGHT_FILE
    if inside.is_file():
        return inside
    if path.is_dir():
        return None
    if not path.is_file():
        raise MissingError(f"{typed}: no such file or folder; {_EXPECTED}")
    if "network" in peek_card(path):
        raise MissingError(f"{typed}: one network alone; pass the folder that holds it")
    return path


def find_exported(typed: str) -> str:
    """`bundled`, `official`, or the folder of weights, which a run keeps in a folder of its own."""
    found = typed_weights(typed)
    inside = Path(found) / WEIGHTS_FOLDER
    return str(inside) if found not in SOURCES and inside.is_dir() else found


def read_light_networks(path: Path) -> InitialNetworks:
    """The networks of a run; raise MissingError where it is no light checkpoint."""
    groups, card = read_light(path)
    config, before = card.get("config"), card.get("begun_with") or {"images_seen": 0}
    preset = config.get("name") if isinstance(config, dict) else None
    seen = count_images(card.get("images_seen"), before.get("images_seen"))
    metadata = describe_training(preset, seen, before.get("licence"), {path.name: sha256_file(path)})
    if isinstance(card.get("stage"), str):
        metadata["stopped_in"] = card["stage"]
    if "refiner" in groups and isinstance(config, dict):
        metadata |= _pen_metadata(config.get("dilation_diameter", config.get("pen_diameter", PUBLISHED_DIAMETER_PX)))
    return InitialNetworks(str(path), groups, metadata, card)


def read_editing_weights(source: str, task: Task, resolution: int) -> InitialNetworks:
    """G and F from exported weights, as far as networks for photos of `resolution` px can use them.

    Args:
        source: `bundled`, `official`, or a folder of safetensors or official files.
        task: `edit` or `synthesis`, which begins with networks for editing too, see `as_synthesis`.
        resolution: of the networks that begin, in px; F is taken for this size, or else for half of it.

    Raises:
        MissingError: no such weights, or damaged ones.
        UsageError: two files hold the same network.
    """
    try:
        sources = find_sources(source, task)
    except MissingError:
        if task == "edit" or source in SOURCES:
            raise
        sources = find_sources(source, "edit")
    found = {name: Path(path) for name, path in sources.items()}
    inpainters = [name for name in (f"F{resolution}", f"F{resolution // 2}") if name in found][:1]
    scales = [name for name in found if name[0] == "G" and int(name[1:]) <= resolution]
    used = {name: found[name] for name in (*scales, *(inpainters or [name for name in found if name[0] == "F"][:1]))}
    groups: dict[str, dict[str, Tensor]] = {}
    pen = PUBLISHED_DIAMETER_PX
    for name, path in used.items():
        checkpoint = read_checkpoint(path, name)
        if task == "synthesis" and checkpoint.task == "edit":
            checkpoint = as_synthesis(checkpoint)
        tensors = checkpoint.tensors
        if isinstance(checkpoint.config, RefinerConfig):
            pen = checkpoint.config.dilation_diameter
        if name[0] == "G":
            groups.setdefault("refiner", {}).update({f"scales.{name[1:]}.{key}": tensors[key] for key in tensors})
        else:
            groups["inpainter"] = tensors
    return InitialNetworks(source, groups, describe_files(list(used.values())) | _pen_metadata(pen))


def _pen_metadata(dilation_diameter: Any) -> dict[str, Any]:
    """Of G's pen, where it is not the published one."""
    is_known = type(dilation_diameter) is int and dilation_diameter != PUBLISHED_DIAMETER_PX
    return {"dilation_diameter": dilation_diameter} if is_known else {}


def check_groups(given: InitialNetworks, wanted: Sequence[str]) -> None:
    """Raise MissingError where a network that a preset begins with is not there."""
    if set(wanted) - set(given.groups):
        held = _say_groups(set(given.groups) - set(LIGHT_EXTRAS)) or "nothing"
        raise MissingError(
            f"{given.source}: at this size it holds {held}, and this preset begins with {_say_groups(set(wanted))}"
        )


def with_average(given: InitialNetworks, stage: str | None) -> dict[str, Mapping[str, Tensor]]:
    """The groups of a run that was stopped in the middle of a stage, with the averaged network in its place.

    Raises:
        MissingError: the average is of no network of this run.
    """
    groups = dict(given.groups)
    average = groups.get("average")
    if average is None or stage is None:
        return groups
    for name in groups.keys() - set(LIGHT_EXTRAS):
        for prefix in ("", f"scales.{stage.lstrip('FG')}."):
            own = {key: value.shape for key, value in groups[name].items() if key.startswith(prefix)}
            if own == {prefix + key: value.shape for key, value in average.items()}:
                groups[name] = {**groups[name], **{prefix + key: value for key, value in average.items()}}
                return groups
    raise MissingError(f"{given.source}: damaged: its average is of none of its networks")


def _say_groups(groups: Set[str]) -> str:
    return " and ".join(sorted(_SPOKEN.get(name, name) for name in groups))


def describe_files(paths: Sequence[Path]) -> dict[str, Any]:
    """What the cards of exported files say of their training; None where they say nothing, or not the same."""
    cards = [peek_card(path) for path in paths]

    def agreed(key: str, kind: type) -> Any:
        values = [card.get(key) for card in cards]
        return values[0] if values and type(values[0]) is kind and values.count(values[0]) == len(values) else None

    licence = agreed("licence", str) or "terms unknown: those of the weights that it began with"
    hashes = {path.name: sha256_file(path) for path in paths}
    counts = [card.get("images_seen") for card in cards]
    known = [count for count in counts if type(count) is int]
    # G and F are trained in turn, and the last one's card counts the images of both.
    seen = max(known) if known and len(known) == len(counts) else None
    return describe_training(agreed("preset", str), seen, licence, hashes)
