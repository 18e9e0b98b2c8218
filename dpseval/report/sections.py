"""The lower sections of the page as plain rows: hole-ratio bins, paired tests, worst cases, where all came from.

Groups, leaks, costs and votes are parts that only some reports have.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from dpsdata.contracts import MissingError
from dpsdata.weights.store import sha256_file
from dpseval.report.charts import BIN_METRICS, FEW_IMAGES, bin_names
from dpseval.report.head_table import SHORT, column_decimals, format_number, known_metric, set_keys
from dpseval.report.stored import load_json
from dpseval.report.verdicts import Verdict, set_key

# What other sections of the page show.
SHOWN_ELSEWHERE = ("scores", "comparisons", "warnings", "findings", "missing_weights", "groups", "leaks", "cost")
_MAX_ROWS = 400
_MAX_TEXT = 600
_MAX_LINES = 50


def flatten_metadata(metadata: Mapping[str, Any], left_out: Collection[str] = ()) -> list[tuple[str, str]]:
    """Every value of a JSON object with the path of its keys; long lists and texts are cut, and say so.

    Args:
        metadata: the parsed object.
        left_out: keys at the top that are not wanted.
    """
    rows = list(_walk("", {key: value for key, value in metadata.items() if key not in left_out}, 0))
    if len(rows) > _MAX_ROWS:
        rows = [*rows[:_MAX_ROWS], ("…", f"{len(rows) - _MAX_ROWS} more values in the file")]
    return rows


def list_texts(run: Mapping[str, Any], key: str) -> list[str]:
    """A list of texts of `run.json`, such as its warnings; the first of many, and how many more there are.

    Args:
        run: the parsed file.
        key: where the list stands; a file without it gives no texts.
    """
    entries = run.get(key)
    texts = [_shorten(entry) for entry in entries if entry] if isinstance(entries, list) else []
    more = len(texts) - _MAX_LINES
    return [*texts[:_MAX_LINES], f"{more} more in run.json"] if more > 0 else texts


def _walk(path: str, value: Any, depth: int) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and depth < 6:
        for key, inner in value.items():
            yield from _walk(f"{path}.{key}" if path else str(key), inner, depth + 1)
    else:
        yield path, _shorten(value)


def _shorten(value: Any) -> str:
    if isinstance(value, str):
        text = value
    elif isinstance(value, list) and all(not isinstance(item, list | Mapping) for item in value):
        text = " ".join(str(item) for item in value)
    else:
        text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]} … ({len(text):,} characters in the file)"


WORST_METRICS = ("hedps", "lpips_alex", "psnr", "ssim", "l1", "edge_f_drawn", "chamfer_px", "known_drift")
WORST_COUNT = 5
_MAX_BASELINE_ROWS = 600


@dataclass(frozen=True)
class BinTable:
    """A metric over hole-ratio bins: `rows` hold the set and, for each bin, value, interval and a count."""

    title: str
    bins: tuple[str, ...]
    rows: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...]


@dataclass(frozen=True)
class VerdictRow:
    """One metric in words: who leads, and each baseline with the difference and its tests."""

    title: str
    region: str
    leader: str
    decided: bool
    baselines: tuple[tuple[str, ...], ...]
    tied: tuple[str, ...]


@dataclass(frozen=True)
class WorstTable:
    """The worst images in a metric: sample, set, value and hole ratio."""

    metric: str
    title: str
    rows: tuple[tuple[str, str, str, str], ...]


def bin_tables(scores: pd.DataFrame) -> list[BinTable]:
    """Tables of all sets over the hole-ratio bins, for the metrics that have charts of them."""
    bins = bin_names(scores)
    tables = []
    for name in BIN_METRICS:
        rows = scores[(scores["metric"] == name) & scores["bin"].isin(bins) & scores["value"].notna()]
        if rows.empty:
            continue
        region = "full" if "full" in set(rows["region"]) else min(rows["region"])
        rows = rows[rows["region"] == region]
        decimals = column_decimals(list(rows["value"]))
        found = {(set_key(row.method, row.level), row.bin): row for row in rows.itertuples(index=False)}
        lines = []
        for key in set_keys(scores):
            cells = []
            for bin_name in bins:
                row = found.get((key, bin_name))
                cells.append(("–", "", "") if row is None else _bin_cell(row, decimals))
            lines.append((str(key), tuple(cells)))
        metric = known_metric(name)
        tables.append(BinTable(f"{metric.title} {metric.arrow}".strip(), tuple(bins), tuple(lines)))
    return tables


def _bin_cell(row: object, decimals: int) -> tuple[str, str, str]:
    value, low, high, count = (float(getattr(row, name)) for name in ("value", "ci_low", "ci_high", "n"))
    few = " (few)" if count < FEW_IMAGES else ""
    return format_number(value, decimals), _interval(low, high, decimals), f"N={count:.0f}{few}"


def _interval(low: float, high: float, decimals: int) -> str:
    """Both ends in words; empty where there is no interval, as of a single photo."""
    known = math.isfinite(low) and math.isfinite(high)
    return f"{format_number(low, decimals)} to {format_number(high, decimals)}" if known else ""


def verdict_rows(verdicts: Sequence[Verdict]) -> list[VerdictRow]:
    """The paired tests, a row a metric and region; baselines past a limit are left to `scores.json`."""
    rows = []
    left = _MAX_BASELINE_ROWS
    for verdict in verdicts:
        metric = known_metric(verdict.metric)
        baselines = []
        for baseline in verdict.baselines[: max(0, left)]:
            numbers = (baseline.difference, baseline.ci_low, baseline.ci_high)
            decimals = min(6, column_decimals(numbers))
            p_value = "below 0.0001" if baseline.p_value < 1e-4 else f"{baseline.p_value:.4f}"
            baselines.append(
                (
                    str(baseline.key),
                    f"{'+' if baseline.difference > 0 else ''}{format_number(baseline.difference, decimals)}",
                    _interval(baseline.ci_low, baseline.ci_high, decimals) or "–",
                    p_value,
                    f"{100 * baseline.win_rate:.0f} %",
                    str(baseline.count),
                    "separated" if baseline.significant else "not separated",
                )
            )
        left -= len(baselines)
        rows.append(
            VerdictRow(
                f"{SHORT.get(metric.name, metric.title)} {metric.arrow}".strip(),
                verdict.region,
                str(verdict.leader),
                verdict.decided,
                tuple(baselines),
                tuple(str(key) for key in verdict.tied),
            )
        )
    return rows


def list_leads(verdicts: Sequence[Verdict]) -> list[tuple[str, list[str]]]:
    """In short: each set with the metrics that it is best in, then those in which no set is, under an empty name.

    Args:
        verdicts: of the paired tests; of a metric with several regions, the whole image counts.
    """
    leads: dict[str, list[str]] = {}
    undecided: list[str] = []
    for metric, region in {verdict.metric: verdict.region for verdict in reversed(verdicts)}.items():
        chosen = "full" if any(v.metric == metric and v.region == "full" for v in verdicts) else region
        verdict = next(v for v in verdicts if v.metric == metric and v.region == chosen)
        label = SHORT.get(metric, known_metric(metric).title)
        if verdict.decided:
            leads.setdefault(str(verdict.leader), []).insert(0, label)
        elif verdict.baselines:
            undecided.insert(0, label)
    return [*sorted(leads.items(), key=lambda lead: -len(lead[1])), *([("", undecided)] if undecided else [])]


def worst_cases(per_image: pd.DataFrame, count: int = WORST_COUNT) -> list[WorstTable]:
    """The worst values of each metric over all sets, inside the hole where it has one; ties go by name.

    Args:
        per_image: the columns of `per_image.csv`.
        count: rows of each table.
    """
    tables = []
    for name in WORST_METRICS:
        if name not in per_image.columns:
            continue
        rows = per_image[per_image[name].notna()]
        if rows.empty:
            continue
        region = "hole" if "hole" in set(rows["region"]) else min(rows["region"])
        metric = known_metric(name)
        rows = rows[rows["region"] == region].sort_values(
            [name, "id", "method", "level"], ascending=[bool(metric.higher_is_better), True, True, True]
        )
        rows = rows.head(count)
        decimals = column_decimals(list(rows[name]))
        tables.append(
            WorstTable(
                name,
                f"{SHORT.get(name, metric.title)} {metric.arrow}".strip(),
                tuple(
                    (
                        str(row["id"]),
                        str(set_key(row["method"], row["level"])),
                        format_number(float(row[name]), decimals),
                        f"{float(row['hole_ratio']):.2f}",
                    )
                    for _, row in rows.iterrows()
                ),
            )
        )
    return tables


VOTES_FILE = "votes.json"

_GROUP_METRICS = ("id_similarity", "lpips_alex", "hedps", "psnr", "ssim", "edge_f_drawn", "landmark_nme", "chamfer_px")
_MAX_GROUP_ROWS = 300
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
            found.append(GroupTable(str(column), tuple(lines[:_MAX_GROUP_ROWS])))
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
