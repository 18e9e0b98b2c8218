"""The parts of the page that only some reports have: groups, leaks, costs, votes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from dpsdata.contracts import MissingError
from dpsdata.weights.store import sha256_file
from dpseval.report.head_table import SHORT, column_decimals, format_number, known_metric
from dpseval.report.stored import load_json
from dpseval.report.verdicts import set_key

VOTES_FILE = "votes.json"

_GROUP_METRICS = ("id_similarity", "lpips_alex", "hedps", "psnr", "ssim", "edge_f_drawn", "landmark_nme", "chamfer_px")
_MAX_ROWS = 300
_MAX_LEAKS = 100


@dataclass(frozen=True)
class GroupTable:
    """One column of the CSV: rows of metric, set and its groups with their values, the worst first."""

    title: str
    rows: tuple[tuple[str, str, tuple[str, ...]], ...]


def group_tables(results: Mapping[str, Any]) -> list[GroupTable]:
    """The groups of `scores.json`, for the metrics that a reader looks at first; empty without `--group-by`.

    Raises:
        MissingError: the entry is damaged.
    """
    entries = results.get("groups")
    if not entries:
        return []
    try:
        table = pd.DataFrame(entries)
        table = table[table["metric"].isin(_GROUP_METRICS) & table["value"].notna()]
        found = []
        for column, rows in table.groupby("column", sort=False):
            lines = []
            for name in _GROUP_METRICS:
                own = rows[rows["metric"] == name]
                own = own[own["region"] == ("full" if (own["region"] == "full").any() else own["region"].min())]
                decimals = column_decimals(pd.to_numeric(own["value"], errors="coerce").tolist()) if len(own) else 0
                for (method, level), group in own.groupby(["method", "level"], dropna=False, sort=False):
                    cells = [_group_cell(row, decimals) for row in group.itertuples(index=False)]
                    metric = known_metric(name)
                    title = f"{SHORT.get(name, metric.title)} {metric.arrow}".strip()
                    lines.append((title, str(set_key(method, level)), tuple(cells)))
            found.append(GroupTable(str(column), tuple(lines[:_MAX_ROWS])))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise MissingError("scores.json: damaged, `groups` is not what scoring writes; score again") from None
    return found


def _group_cell(row: Any, decimals: int) -> str:
    value, low, high = (math.nan if end is None else float(end) for end in (row.value, row.ci_low, row.ci_high))
    band = ""
    if math.isfinite(low):
        band = f" ({format_number(low, decimals)} to {format_number(high, decimals)})"
    return f"{row.group}: {format_number(value, decimals)}{band}, N={int(row.n)}"


def leak_lines(results: Mapping[str, Any]) -> list[str]:
    """What `--train` found, in sentences, then its pairs; empty without it."""
    leaks = results.get("leaks")
    if not isinstance(leaks, Mapping):
        return []
    try:
        count = int(leaks["photo_count"])
        lines = [
            f"{leaks['copy_count']} of {count} scored photos ({100 * float(leaks['copy_share']):.1f} %) have "
            f"near-copies among the {leaks['train_count']} photos of the training set"
        ]
        if leaks.get("person_count") is not None:
            lines.append(
                f"{leaks['person_count']} of {count} ({100 * float(leaks['person_share']):.1f} %) show somebody as "
                "similar to a person of the training set as only 1 in 1,000 pairs of different people"
            )
        for item in leaks["copies"][:_MAX_LEAKS]:
            mirrored = ", mirrored" if item["mirrored"] else ""
            lines.append(f"{item['id']}: copy of {item['train_id']} ({item['different_bits']} of 256 bits{mirrored})")
        for item in leaks["people"][:_MAX_LEAKS]:
            lines.append(f"{item['id']}: like {item['train_id']} (similarity {item['similarity']})")
    except (KeyError, TypeError, ValueError):
        raise MissingError("scores.json: damaged, `leaks` is not what scoring writes; score again") from None
    return lines


def cost_rows(run: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Method, parameters, multiply-adds, peak memory, seconds a photo, size and device; a dash where unknown."""
    costs = run.get("cost")
    if not isinstance(costs, Mapping):
        return []
    rows: list[tuple[str, ...]] = []
    for method, cost in costs.items():
        try:
            size = cost.get("size_px")
            rows.append(
                (
                    str(method),
                    _scaled(cost.get("parameter_count"), 1e6, "M"),
                    _scaled(cost.get("multiply_adds"), 1e9, "G"),
                    _scaled(cost.get("peak_bytes"), 2**20, "MiB"),
                    "–" if cost.get("seconds") is None else f"{float(cost['seconds']):.3g}",
                    f"{size} px, {cost.get('device')}" if size else "whole folder, files included",
                )
            )
        except (AttributeError, TypeError, ValueError):
            raise MissingError("run.json: damaged, `cost` is not what dpseval run writes; run it again") from None
    return rows


def _scaled(value: Any, unit: float, name: str) -> str:
    return "–" if value is None else f"{float(value) / unit:.3g} {name}"


def hash_results(report: Path) -> str:
    """SHA-256 of `scores.json`: votes belong to what was scored then."""
    return sha256_file(report / "scores.json")


def vote_rows(report: Path) -> tuple[str, list[tuple[str, ...]]]:
    """A sentence on the votes, and a row for each set: name, strength, interval, wins, votes.

    Empty without votes; where the report was scored again since, only a sentence that says so.

    Raises:
        MissingError: `votes.json` is damaged.
    """
    path = report / VOTES_FILE
    if not path.is_file():
        return "", []
    stored: Any = load_json(path)
    try:
        if stored["results_sha256"] != hash_results(report):
            return f"{VOTES_FILE} is of other scores: this report was made again since; vote again.", []
        told = f"{stored['voter_count']} voters, {stored['vote_count']} votes on {stored['photo_count']} photos."
        rows: list[tuple[str, ...]] = [
            (
                str(set_key(row["method"], row["level"])),
                f"{row['strength']:+.2f}",
                f"{row['ci_low']:+.2f} to {row['ci_high']:+.2f}",
                f"{100 * row['win_probability']:.0f} %",
                str(row["vote_count"]),
            )
            for row in stored["sets"]
        ]
    except (KeyError, TypeError, ValueError):
        raise MissingError(f"{path}: damaged; run dpseval vote --count again") from None
    return told, rows
