"""Two reports against each other: paired deltas with intervals, and a refusal where they do not measure the same."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dpsdata.contracts import MissingError, UsageError
from dpseval.metrics.names import METRICS
from dpseval.pairing.files import SetKey
from dpseval.report.stored import load_json, read_image_table
from dpseval.statistics.intervals import SIGNIFICANCE, holm, paired_difference
from dpseval.statistics.summary import prepare_image_table

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
    table = prepare_image_table(read_image_table(file.parent))
    try:
        keys = tuple(
            SetKey(str(item["method"]), None if item["level"] is None else float(item["level"]))
            for item in results["sets"]
        )
    except (TypeError, KeyError, ValueError):
        raise MissingError(f"{file}: its list of sets is damaged; run `dpseval score` again") from None
    return Side(file, results, table, keys)


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
        f"sets: A holds {names[0]}, and B holds {names[1]}; choose two, such as --pair '{a.keys[0]}={b.keys[0]}'"
    )


def _find_set(side: Side, name: str) -> SetKey:
    for key in side.keys:
        if str(key) == name.strip():
            return key
    raise UsageError(f"pair: {side.path} holds {', '.join(map(str, side.keys))}, got {name!r}")


@dataclass(frozen=True)
class Delta:
    """One metric of one pair of sets, B minus A.

    Attributes:
        first: set of A.
        second: set of B.
        region: full, hole or ring.
        metric: a name of `METRICS`.
        n: photos in both.
        a: value of A.
        b: value of B.
        delta: b - a.
        ci_low: low end of the 95 % interval of the mean paired difference; NaN for a metric of a whole set.
        ci_high: high end.
        p_value: Wilcoxon's; NaN for a metric of a whole set.
        p_holm: with Holm's correction over the pairs of sets of this metric and region.
        verdict: `better` or `worse` where that test and the interval both say so, `same` where no photo differs, else
            `unclear`; `` where there is no test or no better side.
    """

    first: SetKey
    second: SetKey
    region: str
    metric: str
    n: int
    a: float
    b: float
    delta: float
    ci_low: float
    ci_high: float
    p_value: float
    p_holm: float = math.nan
    verdict: str = ""


@dataclass(frozen=True)
class Comparison:
    """What `compare_reports` found.

    Attributes:
        deltas: by set, region and metric.
        notes: what was not compared, and why.
        outside: sentences on deltas outside of their tolerance.
    """

    deltas: tuple[Delta, ...]
    notes: tuple[str, ...]
    outside: tuple[str, ...]

    def table(self) -> pd.DataFrame:
        """The deltas, one a row."""
        rows = [{**vars(item), "first": str(item.first), "second": str(item.second)} for item in self.deltas]
        return pd.DataFrame(rows, columns=list(Delta.__dataclass_fields__))


def compare_reports(
    first: str | Path,
    second: str | Path,
    tolerances: Mapping[str, float] | None = None,
    pairs: Sequence[tuple[str, str]] = (),
    seed: int = 0,
) -> Comparison:
    """Compare two reports of `dpseval score`; `per_image.csv` must lie beside each file.

    Args:
        first: A: a `scores.json`, or its REPORT folder.
        second: B: likewise.
        tolerances: largest absolute delta by metric, for all its regions.
        pairs: sets to compare, as (`dps 0.5`, `lama`); by default those that both hold, or the only one of each.
        seed: of the intervals.

    Raises:
        UsageError: they do not measure the same, and the field is named; or an unknown metric or set.
        MissingError: a file is missing or damaged.
    """
    wanted = dict(tolerances or {})
    for metric, limit in wanted.items():
        if metric not in METRICS:
            raise UsageError(f"tolerance: expected a metric of {', '.join(METRICS)}, got {metric!r}")
        if not limit >= 0:
            raise UsageError(f"tolerance: expected a number of at least 0 for {metric}, got {limit!r}")
    a, b = read_side(first), read_side(second)
    refuse_different(a, b)
    notes: list[str] = []
    skipped = find_skipped(a, b, notes)
    deltas: list[Delta] = []
    for own, other in choose_pairs(a, b, pairs):
        deltas += _image_deltas(a, b, own, other, skipped, seed)
        deltas += _set_deltas(a, b, own, other, skipped)
    deltas = _add_verdicts(deltas)
    absent = [metric for metric in wanted if metric not in {item.metric for item in deltas}]
    if absent:
        reason = "; ".join(notes) or "`dpseval score` names the weights that it lacks"
        raise UsageError(f"tolerance: {absent[0]} has no value in both reports; {reason}")
    outside = [
        f"{item.metric} ({item.region}, {_pair_name(item)}): {item.a:.6g} -> {item.b:.6g}, "
        f"delta {item.delta:+.6g} outside of {wanted[item.metric]:g}"
        for item in deltas
        if item.metric in wanted and not abs(item.delta) <= wanted[item.metric]
    ]
    return Comparison(tuple(deltas), tuple(notes), tuple(outside))


def _image_deltas(a: Side, b: Side, own: SetKey, other: SetKey, skipped: set[str], seed: int) -> list[Delta]:
    deltas = []
    for region in METRICS["psnr"].regions:
        ours, theirs = _rows_of(a, own, region), _rows_of(b, other, region)
        if set(ours.index) != set(theirs.index):
            raise UsageError(
                f"{a.path} and {b.path} differ in ids: {own} holds {len(ours)} photos, and {other} {len(theirs)}; "
                "score both on the same photos"
            )
        theirs = theirs.reindex(ours.index)
        for name, metric in METRICS.items():
            if metric.kind != "image" or region not in metric.regions or name in skipped:
                continue
            if name not in ours or name not in theirs:
                continue
            before, after = ours[name].to_numpy(np.float64), theirs[name].to_numpy(np.float64)
            if np.isnan(before).all() and np.isnan(after).all():
                continue
            deltas.append(_paired_delta(own, other, region, name, before, after, seed))
    return deltas


def _paired_delta(own: SetKey, other: SetKey, region: str, name: str, before: Any, after: Any, seed: int) -> Delta:
    both = ~(np.isnan(before) | np.isnan(after))
    if not both.any():
        low, high = _mean(before), _mean(after)
        return Delta(own, other, region, name, 0, low, high, math.nan, math.nan, math.nan, math.nan)
    found = paired_difference(after, before, seed, "compare", METRICS[name].higher_is_better is not False)
    values = (float(before[both].mean()), float(after[both].mean()), found.mean)
    return Delta(own, other, region, name, found.n, *values, found.ci_low, found.ci_high, found.p_value)


def _add_verdicts(deltas: Sequence[Delta]) -> list[Delta]:
    """The same deltas with corrected p-values and verdicts, by the rule that marks the best set of a report."""
    families: dict[tuple[str, str], list[int]] = {}
    for index, item in enumerate(deltas):
        families.setdefault((item.metric, item.region), []).append(index)
    judged = list(deltas)
    for members in families.values():
        for index, p_holm in zip(members, holm([deltas[index].p_value for index in members]), strict=True):
            judged[index] = replace(deltas[index], p_holm=p_holm, verdict=_verdict(deltas[index], p_holm))
    return judged


def _verdict(item: Delta, p_holm: float) -> str:
    higher = METRICS[item.metric].higher_is_better
    if higher is None or math.isnan(p_holm) or item.n < 2:
        return ""
    if item.delta == item.ci_low == item.ci_high == 0:
        return "same"
    low, high = (item.ci_low, item.ci_high) if higher else (-item.ci_high, -item.ci_low)
    if p_holm >= SIGNIFICANCE or low <= 0 <= high:
        return "unclear"
    return "better" if low > 0 else "worse"


def _mean(values: Any) -> float:
    return math.nan if np.isnan(values).all() else float(np.nanmean(values))


def _rows_of(side: Side, key: SetKey, region: str) -> pd.DataFrame:
    table = side.per_image
    level = table["level"].isna() if key.level is None else table["level"] == key.level
    return table[(table["method"] == key.method) & level & (table["region"] == region)].set_index("id")


def _set_deltas(a: Side, b: Side, own: SetKey, other: SetKey, skipped: set[str]) -> list[Delta]:
    ours, theirs = _set_values(a, own), _set_values(b, other)
    deltas = []
    for place in ours:
        region, name = place
        if place not in theirs or name in skipped:
            continue
        (count, before), (_, after) = ours[place], theirs[place]
        values = (count, before, after, after - before, math.nan, math.nan, math.nan)
        if not (math.isnan(before) and math.isnan(after)):
            deltas.append(Delta(own, other, region, name, *values))
    return deltas


def _set_values(side: Side, key: SetKey) -> dict[tuple[str, str], tuple[int, float]]:
    """Metrics of whole sets over all hole ratios: (region, metric) -> (n, value)."""
    found = {}
    try:
        for row in side.results["scores"]:
            level = None if row["level"] is None else float(row["level"])
            metric = METRICS.get(row["metric"])
            if row["bin"] != "all" or (row["method"], level) != key or metric is None or metric.kind == "image":
                continue
            value = math.nan if row["value"] is None else float(row["value"])
            found[str(row["region"]), str(row["metric"])] = (int(row["n"]), value)
    except (TypeError, KeyError, ValueError):
        raise MissingError(f"{side.path}: its list of scores is damaged; run `dpseval score` again") from None
    return found


def _pair_name(item: Delta) -> str:
    return str(item.first) if item.first == item.second else f"{item.first} and {item.second}"
