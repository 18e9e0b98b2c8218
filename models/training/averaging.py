"""The mean of networks whose trainings began with the same ones: often better than each, at the price of none.

Runs from one beginning with different seeds end in one valley of the loss, so that the mean of their weights is a
network too, in which what each run learnt by chance is averaged out.

Source: Wortsman et al., Model soups, ICML 2022 (uniform soup).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dpsdata.atomic import write_failure, write_text_atomic
from dpsdata.contracts import MissingError, UsageError
from dpsdata.weights_read import read_state
from dpsdata.weights_store import sha256_file, write_safetensors
from models.bundled_weights import BUNDLED_FOLDER
from models.training.exporting import CARD_FILE, read_run_card
from models.training.given_weights import describe_files, find_exported
from models.training.state import LIGHT_FILE, WEIGHTS_FOLDER, count_images
from models.typed_weights import SOURCES

_KINDS = ("config", "network", "task", "method")


@dataclass(frozen=True)
class Member:
    """One of the networks that are averaged.

    Attributes:
        source: as it was typed.
        files: of its networks, by file name.
        facts: what the run says of itself; empty for exported weights.
        hashes: SHA-256 of everything that another run may have begun with.
    """

    source: str
    files: dict[str, Path]
    facts: Mapping[str, Any]
    hashes: Mapping[str, str]

    @property
    def begun(self) -> Mapping[str, Any]:
        """What is known of the networks that it began with; empty where there were none."""
        return self.facts.get("begun_with") or {}


def average_runs(sources: Sequence[str], out: Path) -> list[str]:
    """Write the mean of several runs' networks as a run folder, for `dps export` and `--begin-with`.

    Args:
        sources: run folders, finished or stopped; after the first one also the weights that all began with, as a
            folder or `bundled`.
        out: folder to write: `card.json` and `weights/`, as of a run.

    Returns:
        The names of the networks.

    Raises:
        UsageError: fewer than two sources, one twice, they did not begin with the same networks, they are of other
            kinds, or `out` is none of ours.
        MissingError: a run is not finished, or weights are missing or damaged.
        EnvironmentFailure: `out` cannot be written.
    """
    if len(sources) < 2:
        raise UsageError("average: expected at least two runs")
    first = _read_member(sources[0], None)
    if not first.facts:
        raise UsageError(f"{first.source}: expected a run folder of `dps train` as the first one")
    members = [first, *(_read_member(source, first) for source in sources[1:])]
    for member in members[1:]:
        _check_kin(first, member)
    if len({json.dumps(member.hashes, sort_keys=True) for member in members}) < len(members):
        raise UsageError("average: two of them are the same networks; name each once")
    _check_out(out, sources)
    own = [member.facts.get("images_seen") if _began_like(first, member) else 0 for member in members]
    seen = count_images(*own)
    card = {
        **{key: value for key, value in first.facts.items() if key != "results"},
        "status": "done",
        "results": {},
        "images_seen": seen,
        "averaged": [_describe(member) for member in members],
    }
    total = count_images(seen, first.begun.get("images_seen", 0))
    try:
        (out / WEIGHTS_FOLDER).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_failure(out, error) from error
    for name in first.files:
        _write_mean(out / WEIGHTS_FOLDER / name, [member.files[name] for member in members], total)
    write_text_atomic(out / CARD_FILE, json.dumps(card, indent=2, sort_keys=True) + "\n")
    return [Path(name).stem for name in first.files]


def mean_state(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of state dicts with the same keys, in the types of the first one; counters are its own.

    The sum is taken in float64, so that a tensor that all of them share comes out as it was.
    """
    return {
        key: torch.stack([state[key].double() for state in states]).mean(0).to(value.dtype)
        if value.is_floating_point()
        else value
        for key, value in states[0].items()
    }


def _read_member(source: str, first: Member | None) -> Member:
    if first is not None and source == "bundled":
        folder = BUNDLED_FOLDER / str(first.facts["config"].get("method") or first.facts["config"].get("task"))
    elif source in SOURCES:
        raise UsageError(f"average: expected a folder, got {source}")
    else:
        folder = Path(find_exported(source))
    facts: dict[str, Any] = {}
    run = folder.parent
    if folder.name == WEIGHTS_FOLDER and (run / CARD_FILE).is_file():
        facts = read_run_card(run)
    files = {path.name: path for path in sorted(folder.glob("*.safetensors")) if path.name != LIGHT_FILE}
    if not files:
        raise MissingError(f"{source}: no networks there; expected a run of `dps train`, or a folder of weights")
    others = [run / LIGHT_FILE] if facts and (run / LIGHT_FILE).is_file() else []
    hashes = {path.name: sha256_file(path) for path in (*files.values(), *others)}
    return Member(source, files, facts, hashes)


def _began_like(first: Member, member: Member) -> bool:
    return bool(first.begun) and member.begun.get("sha256") == first.begun.get("sha256")


def _check_kin(first: Member, member: Member) -> None:
    """Raise UsageError unless both began with the same networks, or one is what the other began with."""
    start = first.begun.get("sha256") or {}
    is_start = bool(start) and all(member.hashes.get(name) == digest for name, digest in start.items())
    if not (is_start or _began_like(first, member)):
        raise UsageError(
            f"{member.source}: it did not begin with the networks that {first.source} began with, and a mean of such "
            "networks is none; train both with the same --begin-with"
        )
    if member.files.keys() != first.files.keys():
        raise UsageError(
            f"{member.source}: it holds {', '.join(member.files)}, and {first.source} holds {', '.join(first.files)}"
        )


def _check_out(out: Path, sources: Sequence[str]) -> None:
    """Raise UsageError where `out` holds anything but an earlier mean, or what is averaged."""
    if any(source not in SOURCES and Path(find_exported(source)).is_relative_to(out.resolve()) for source in sources):
        raise UsageError(f"{out}: it is one of those that are averaged; name a new folder")
    if not out.exists():
        return
    facts = read_run_card(out) if (out / CARD_FILE).is_file() else {}
    if "averaged" not in facts and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out}: it is there and no mean of networks; name a new folder")


def _describe(member: Member) -> dict[str, Any]:
    told = describe_files(list(member.files.values()))
    seed = (member.facts.get("config") or {}).get("seed")
    sampling = (member.facts.get("config") or {}).get("sampling")
    return {**told, "name": Path(member.source).name, "seed": seed, "sampling": sampling}


def _write_mean(path: Path, sources: Sequence[Path], images_seen: int | None) -> None:
    read = [read_state(source) for source in sources]
    states, cards = [state for state, _ in read], [card for _, card in read]
    shapes = [{key: tuple(value.shape) for key, value in state.items()} for state in states]
    kinds = [[card.get(key) for key in _KINDS] for card in cards]
    for index, source in enumerate(sources):
        if shapes[index] != shapes[0] or kinds[index] != kinds[0]:
            raise UsageError(f"{source}: a network of other sizes than {sources[0]}")
    card = {key: value for key, value in cards[0].items() if key != "images_seen"}
    if images_seen is not None:
        card["images_seen"] = images_seen
    write_safetensors(path, mean_state(states), card)
    write_text_atomic(path.with_suffix(".json"), json.dumps(card, indent=2, sort_keys=True) + "\n")
