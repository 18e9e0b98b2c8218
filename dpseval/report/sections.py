"""The lower sections of the page as plain rows: hole-ratio bins, paired tests, worst cases."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from dpseval.report.chart_data import FEW_IMAGES, bin_names
from dpseval.report.head_table import SHORT, column_decimals, format_number, known_metric, set_keys
from dpseval.report.plots import BIN_METRICS
from dpseval.report.verdicts import Verdict, set_key

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
