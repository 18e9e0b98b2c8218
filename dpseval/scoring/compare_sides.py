"""The two sides of a comparison: reading them, and what they must share to be compared at all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from dpsdata.contracts import MissingError, UsageError
from dpseval.pairing.files import SetKey
from dpseval.report.stored import load_json
from dpseval.statistics.image_table import prepare_image_table

# What two reports must share, and what to call it.
SAME_FIELDS = {
    "size": "size of the photos",
    "ids_sha256": "ids",
    "photos_sha256": "photos",
    "masks_sha256": "masks",
    "sketches_sha256": "sketches",
    "composite": "composite",
    "prep": "preprocessing",
}


@dataclass(frozen=True)
class Side:
    """One report.

    Attributes:
        path: of its scores.json.
        results: what that holds.
        per_image: prepared.
        keys: its sets.
    """

    path: Path
    results: dict[str, Any]
    per_image: pd.DataFrame
    keys: tuple[SetKey, ...]


def read_side(path: str | Path) -> Side:
    """Read a scores.json, or that of a REPORT folder, and the per_image.csv beside it.

    Raises:
        MissingError: a file is missing or damaged.
    """
    file = Path(path)
    file = file / "scores.json" if file.is_dir() else file
    results = load_json(file)
    needed = (*SAME_FIELDS, "weights", "sets", "scores")
    absent = [name for name in needed if not isinstance(results, dict) or name not in results]
    if absent:
        raise MissingError(f"{file}: expected a scores.json of `dpseval score`, but it has no {absent[0]!r}")
    table = _read_image_table(file.parent / "per_image.csv")
    try:
        keys = tuple(
            SetKey(str(item["method"]), None if item["level"] is None else float(item["level"]))
            for item in results["sets"]
        )
    except (TypeError, KeyError, ValueError):
        raise MissingError(f"{file}: its list of sets is damaged; run `dpseval score` again") from None
    return Side(file, results, table, keys)


def _read_image_table(path: Path) -> pd.DataFrame:
    try:
        # As text first: an id such as `NA` is a name, and Python's own float() reads back what was written.
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        for name in table.columns.difference(["id", "method", "region"]):
            table[name] = [float(text) if text else math.nan for text in table[name]]
    except FileNotFoundError:
        raise MissingError(f"{path}: this file is missing; it must lie beside scores.json") from None
    except (OSError, ValueError) as error:
        raise MissingError(f"{path}: cannot be read ({error}); run `dpseval score` again") from None
    return prepare_image_table(table)


def refuse_different(a: Side, b: Side) -> None:
    """Raise UsageError, naming the field, where two sides do not measure the same photos in the same way."""
    for name, title in SAME_FIELDS.items():
        if a.results[name] != b.results[name]:
            raise UsageError(
                f"{a.path} and {b.path} differ in {title} ({name}): {_short(a.results[name])} and "
                f"{_short(b.results[name])}; score both alike"
            )
    for metric in sorted(a.results["weights"].keys() & b.results["weights"].keys()):
        if a.results["weights"][metric] != b.results["weights"][metric]:
            raise UsageError(
                f"{a.path} and {b.path} differ in weights ({metric}): {_short(a.results['weights'][metric])} and "
                f"{_short(b.results['weights'][metric])}; score both with the same weights"
            )


def _short(value: Any) -> str:
    text = str(value)
    return f"{text[:12]}..." if len(text) == 64 else text


def find_skipped(a: Side, b: Side, notes: list[str]) -> set[str]:
    """Metrics that only one side has weights for; says so in `notes`."""
    skipped = set()
    for metric in sorted(a.results["weights"].keys() ^ b.results["weights"].keys()):
        side = b if metric in a.results["weights"] else a
        notes.append(f"{metric} is not compared: {side.path} has none")
        skipped.add(metric)
    return skipped


def choose_pairs(a: Side, b: Side, pairs: Sequence[tuple[str, str]]) -> list[tuple[SetKey, SetKey]]:
    """The sets to compare: those named, or those that both sides hold, or the only one of each.

    Raises:
        UsageError: a set is not there, or nothing tells which belong together.
    """
    if pairs:
        return [(_find_set(a, own), _find_set(b, other)) for own, other in pairs]
    shared = [(key, key) for key in a.keys if key in b.keys]
    if shared:
        return shared
    if len(a.keys) == len(b.keys) == 1:
        return [(a.keys[0], b.keys[0])]
    names = [", ".join(map(str, side.keys)) for side in (a, b)]
    raise UsageError(
        f"sets: A holds {names[0]}, and B holds {names[1]}; say which to compare, as --pair '{a.keys[0]}={b.keys[0]}'"
    )


def _find_set(side: Side, name: str) -> SetKey:
    for key in side.keys:
        if str(key) == name.strip():
            return key
    raise UsageError(f"pair: {side.path} holds {', '.join(map(str, side.keys))}, got {name!r}")
