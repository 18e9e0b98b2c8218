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

from dpsdata.contracts import MissingError, UsageError
from dpsdata.runtime.files import write_failure, write_text_atomic
from dpsdata.weights.reading import read_state
from dpsdata.weights.store import sha256_file, write_safetensors
from models.training.engine.initial_weights import describe_files, find_exported
from models.training.engine.state import LIGHT_FILE, WEIGHTS_FOLDER, count_images
from models.training.export import CARD_FILE, read_run_card
from models.weights.bundled import BUNDLED_FOLDER

_BUNDLED = "bundled"
_KINDS = ("config", "network", "task", "method")
# Of one run alone; its story is in the card of the mean.
_OF_ONE_RUN = ("images_seen", "results", "seed")


@dataclass(frozen=True)
class Member:
    """One of the networks that are averaged.

    Attributes:
        source: as it was typed.
        files: of its networks, by file name.
        facts: what the run says of itself; empty for exported weights.
        digests: SHA-256 of everything that another run may have begun with.
    """

    source: str
    files: dict[str, Path]
    facts: Mapping[str, Any]
    digests: frozenset[str]

    @property
    def begun(self) -> Mapping[str, Any]:
        """What is known of the networks that it began with; empty where there were none."""
        return self.facts.get("begun_with") or {}

    @property
    def start(self) -> frozenset[str]:
        """SHA-256 of the files that it began with; empty where it began with first weights, or they are unknown."""
        found = self.begun.get("sha256")
        values = found.values() if isinstance(found, dict) else [found]
        return frozenset(value for value in values if isinstance(value, str))


def average_runs(sources: Sequence[str], out: Path) -> list[str]:
    """Write the mean of several runs' networks as a run folder, for `dps export` and `--begin-with`.

    Args:
        sources: run folders, finished or stopped; and, where wanted, the weights that all of them began with: a folder
            or `bundled`.
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
    _check_out(out, sources)
    members = _read_members(sources)
    run = next((member for member in members if member.start), None)
    if run is None:
        raise UsageError(f"{', '.join(sources)}: none of them is a run of `dps train` that began with other networks")
    for member in members:
        _check_kin(run, member)
    if len({member.digests for member in members}) < len(members):
        raise UsageError("average: two of them are the same networks; name each once")
    # What they began with counts once.
    seen = count_images(*(member.facts.get("images_seen") if member.start == run.start else 0 for member in members))
    total = count_images(seen, run.begun.get("images_seen"))
    means = {name: _read_mean([member.files[name] for member in members], total) for name in run.files}
    card = {
        **{key: value for key, value in run.facts.items() if key not in _OF_ONE_RUN},
        "dataset": _agreed_dataset(members),
        "results": {},
        "images_seen": seen,
        "averaged": [_describe(member) for member in members],
    }
    _write_card(out, {**card, "status": "running"})  # so that nobody takes half of a mean for one
    for name, (state, facts) in means.items():
        path = out / WEIGHTS_FOLDER / name
        write_safetensors(path, state, facts)
        write_text_atomic(path.with_suffix(".json"), json.dumps(facts, indent=2, sort_keys=True) + "\n")
    for path in (out / WEIGHTS_FOLDER).glob("*.safetensors"):
        if path.name not in means:  # of an earlier mean
            path.unlink()
            path.with_suffix(".json").unlink(missing_ok=True)
    _write_card(out, {**card, "status": "done"})
    return [Path(name).stem for name in means]


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


def _read_members(sources: Sequence[str]) -> list[Member]:
    """The members in their order; `bundled` last, since it is what a run of the same kind would begin with."""
    found = {source: _read_member(source, Path(find_exported(source))) for source in sources if source != _BUNDLED}
    if _BUNDLED in sources:
        config: dict[str, Any] = next((member.facts["config"] for member in found.values() if member.facts), {})
        folder = BUNDLED_FOLDER / str(config.get("method") or config.get("task"))
        found[_BUNDLED] = _read_member(_BUNDLED, folder)
    return [found[source] for source in sources]


def _read_member(source: str, folder: Path) -> Member:
    run = folder.parent
    is_run = folder.name == WEIGHTS_FOLDER and (run / CARD_FILE).is_file()
    facts = read_run_card(run) if is_run else {}
    files = {path.name: path for path in sorted(folder.glob("*.safetensors")) if path.name != LIGHT_FILE}
    if not files:
        raise MissingError(f"{source}: no networks there; expected a run of `dps train`, or a folder of weights")
    light = [run / LIGHT_FILE] if is_run and (run / LIGHT_FILE).is_file() else []
    return Member(source, files, facts, frozenset(sha256_file(path) for path in (*files.values(), *light)))


def _check_kin(run: Member, member: Member) -> None:
    """Raise UsageError unless both began with the same networks, or one is what the other began with."""
    if member.start != run.start and not run.start <= member.digests:
        raise UsageError(
            f"{member.source}: it did not begin with the networks that {run.source} began with, and a mean of such "
            "networks is none; train both with the same --begin-with"
        )
    if member.files.keys() != run.files.keys():
        raise UsageError(
            f"{member.source}: it holds {', '.join(member.files)}, and {run.source} holds {', '.join(run.files)}"
        )


def _check_out(out: Path, sources: Sequence[str]) -> None:
    """Raise UsageError where `out` holds anything but an earlier mean, or what is averaged."""
    folders = [Path(find_exported(source)).resolve() for source in sources if source != _BUNDLED]
    if any(folder.is_relative_to(out.resolve()) for folder in folders):
        raise UsageError(f"{out}: it is one of those that are averaged; name a new folder")
    if out.exists() and not (out.is_dir() and (_is_mean(out) or not any(out.iterdir()))):
        raise UsageError(f"{out}: it is there and no mean of networks; name a new folder")


def _is_mean(out: Path) -> bool:
    """Whether `average_runs` wrote this folder, to its end or not."""
    try:
        card = json.loads((out / CARD_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(card, dict) and "averaged" in card


def _describe(member: Member) -> dict[str, Any]:
    config = member.facts.get("config") or {}
    told = {key: config.get(key) for key in ("seed", "learning_rate", "sampling")}
    return {**describe_files(list(member.files.values())), **told, "name": Path(member.source).name}


def _agreed_dataset(members: Sequence[Member]) -> dict[str, Any]:
    """What all runs say of their photos; where they differ, all terms, and no hash."""
    told = [member.facts["dataset"] for member in members if member.facts]
    agreed = {key: value for key, value in told[0].items() if all(item.get(key) == value for item in told)}
    terms = dict.fromkeys(str(item.get("licence_note")) for item in told)
    return {"root_hash": None, **agreed, "licence_note": " ".join(terms)}


def _read_mean(sources: Sequence[Path], images_seen: int | None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    read = [read_state(source) for source in sources]
    states = [state for state, _ in read]
    first, card = read[0]
    for source, (state, facts) in zip(sources, read, strict=True):
        shapes = {key: tuple(value.shape) for key, value in state.items()}
        kind = [facts.get(key) for key in _KINDS]
        if shapes != {key: tuple(value.shape) for key, value in first.items()} or kind != [card.get(k) for k in _KINDS]:
            raise UsageError(f"{source}: a network of other sizes, or with another pen, than {sources[0]}")
        for key in state:
            if key.endswith("running_var") and not torch.equal(state[key].float(), first[key].float()):
                raise UsageError(
                    f"{source}: its BatchNorm has other statistics than {sources[0]}, and a mean of networks would "
                    "need new ones; average runs that trained G alone"
                )
    told = {key: value for key, value in card.items() if key not in _OF_ONE_RUN}
    known = {} if images_seen is None else {"images_seen": images_seen}
    return mean_state(states), {**told, **known, "averaged": len(sources)}


def _write_card(out: Path, card: Mapping[str, Any]) -> None:
    try:
        (out / WEIGHTS_FOLDER).mkdir(parents=True, exist_ok=True)
        write_text_atomic(out / CARD_FILE, json.dumps(card, indent=2, sort_keys=True) + "\n")
    except OSError as error:
        raise write_failure(out, error) from error
