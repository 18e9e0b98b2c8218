"""From values per image to the table of scores: means, pooled PSNR, intervals and bins, by method, level and region."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpsdata.contracts import UsageError
from dpseval.metrics.names import METRICS, REGION_NAMES
from dpseval.statistics.comparisons import comparisons
from dpseval.statistics.image_table import EXACT_DB, prepare_image_table
from dpseval.statistics.intervals import bootstrap_intervals

__all__ = ["ALL_BINS", "SCORE_COLUMNS", "SetScore", "comparisons", "pooled_psnr", "summarise"]

SCORE_COLUMNS = (
    "method", "level", "region", "metric", "bin", "n", "value", "ci_low", "ci_high", "higher_is_better", "note",
)  # fmt: skip
ALL_BINS = "all"
FEW_IMAGES = 30

_NORMAL_95 = 1.959963984540054
_RESAMPLE_KEY = "scores"
# The composite has the photo's own pixels in the ring, so these three say nothing about an output there.
_FIXED_IN_RING = ("psnr", "psnr_pooled", "l1")


class SetScore(NamedTuple):
    """One value of a whole set, such as an FID, or the reason why there is none (n 0, value NaN, a note).

    Args:
        method: its name.
        level: None for a method without one.
        metric: a name of `METRICS`.
        n: number of images.
        value: NaN where there is none.
        note: what the reader of the table must know.
        region: where it was measured.
        bin: `all`, or a bin of hole ratios.
        error: standard error over photos, which gives the interval; NaN where there is none.
    """

    method: str
    level: float | None
    metric: str
    n: int
    value: float
    note: str = ""
    region: str = "full"
    bin: str = ALL_BINS
    error: float = math.nan


@dataclass(frozen=True)
class _Group:
    method: str
    level: float
    region: str
    bin: str
    rows: pd.DataFrame


def summarise(per_image: pd.DataFrame, distribution: Iterable[SetScore | tuple[Any, ...]], seed: int) -> pd.DataFrame:
    """Means of every metric over the images of each set, region and bin, with their intervals.

    The value of a row is the plain mean of its column of `per_image`, without NaN and with PSNR capped at 100 dB, so
    that the table can be worked out again from the file. `psnr_pooled` is the PSNR of the mean squared error over the
    images, each of which counts the same. Intervals are those of `bootstrap_interval`, cut to the range of the metric.

    Args:
        per_image: the columns of `per_image.csv`.
        distribution: values of whole sets, as `SetScore` or tuples in its order; they carry N, and an interval
            where they have a standard error.
        seed: seed of the run.

    Returns:
        The columns of `scores.csv` (`SCORE_COLUMNS`), sorted by method, level, region, metric and bin; `level` NaN
        where a method has none, intervals NaN where there is none, `higher_is_better` None for a guard.

    Raises:
        UsageError: a table or row is not as described.
    """
    table = prepare_image_table(per_image)
    rows = [row for group in _split_groups(table) for row in _score_group(group, seed)]
    rows += [_score_set(SetScore(*row)) for row in distribution]
    return _sort_scores(pd.DataFrame(rows, columns=list(SCORE_COLUMNS)))


def pooled_psnr(relative_error: float) -> float:
    """PSNR of a mean squared error over the squared peak, capped like an exact image's.

    Args:
        relative_error: in units of 255 squared, at least 0.
    """
    return EXACT_DB if relative_error <= 0 else min(EXACT_DB, -10 * math.log10(relative_error))


def _split_groups(table: pd.DataFrame) -> Iterable[_Group]:
    bins = [ALL_BINS, *sorted(table["bin"].unique())]
    # Bins outermost: all sets of one bin have the same N, and so share the drawn resamples.
    for bin_name in bins:
        chosen = table if bin_name == ALL_BINS else table[table["bin"] == bin_name]
        keys = ["method", "level", "region"]
        for key, rows in chosen.groupby(keys, dropna=False, sort=True, observed=True):
            method, level, region = cast("tuple[str, float, str]", key)
            yield _Group(method, level, region, bin_name, rows)


def _score_group(group: _Group, seed: int) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for names, values in _columns_by_validity(group):
        low, high = bootstrap_intervals(values, seed, _RESAMPLE_KEY)
        mean = values.mean(axis=0)
        exact = int(group.rows["exact"].sum()) if "exact" in group.rows else 0
        for index, name in enumerate(names):
            ends = (float(low[index]), float(high[index]))
            if name == "error":
                numbers = (
                    pooled_psnr(mean[index]),
                    *(math.nan if math.isnan(e) else pooled_psnr(e) for e in ends[::-1]),
                )
                rows.append(_row(group, "psnr_pooled", len(values), numbers, exact if mean[index] == 0 else 0))
            else:
                numbers = (float(mean[index]), *ends)
                rows.append(_row(group, name, len(values), numbers, exact if name == "psnr" else 0))
    return rows


def _columns_by_validity(group: _Group) -> list[tuple[list[str], NDArray[np.float64]]]:
    """Columns that have a value in the same images, together, without the images that have none."""
    measured = [name for name, metric in METRICS.items() if metric.kind == "image" and group.region in metric.regions]
    names = [name for name in (*measured, "error") if name in group.rows]
    together: dict[bytes, list[str]] = {}
    for name in names:
        present = group.rows[name].notna().to_numpy()
        if present.any():
            together.setdefault(present.tobytes(), []).append(name)
    found = []
    for key, members in together.items():
        present = np.frombuffer(key, dtype=bool)
        found.append((members, np.ascontiguousarray(group.rows[members].to_numpy(np.float64)[present])))
    return found


def _row(group: _Group, name: str, n: int, numbers: tuple[float, ...], exact: int) -> tuple[Any, ...]:
    metric = METRICS[name]
    value, low, high = numbers
    notes = []
    if exact:
        notes.append(f"{exact} exact image{'s' if exact > 1 else ''} counted as {EXACT_DB:g} dB")
    if group.region == "ring" and name in _FIXED_IN_RING:
        notes.append("the composite keeps the pixels of the ring")
    if n < FEW_IMAGES:
        notes.append(f"n < {FEW_IMAGES}")
    low, high = max(low, metric.lowest), min(high, metric.highest)
    ids = (group.method, group.level, group.region, name, group.bin)
    return (*ids, n, value, low, high, metric.higher_is_better, "; ".join(notes))


def _score_set(score: SetScore) -> tuple[Any, ...]:
    if score.metric not in METRICS:
        raise UsageError(f"distribution: expected a metric of {', '.join(METRICS)}, got {score.metric!r}")
    if score.region not in REGION_NAMES:
        raise UsageError(f"distribution: expected a region of {', '.join(REGION_NAMES)}, got {score.region!r}")
    ids = (score.method, math.nan if score.level is None else float(score.level), score.region, score.metric, score.bin)
    better = METRICS[score.metric].higher_is_better
    reach = _NORMAL_95 * float(score.error)
    return (*ids, int(score.n), float(score.value), score.value - reach, score.value + reach, better, score.note)


def _sort_scores(scores: pd.DataFrame) -> pd.DataFrame:
    scores["level"] = scores["level"].astype(np.float64)
    keys = pd.DataFrame(
        {
            "method": scores["method"],
            "level": scores["level"],
            "region": scores["region"].map({name: rank for rank, name in enumerate(REGION_NAMES)}),
            "metric": scores["metric"].map({name: rank for rank, name in enumerate(METRICS)}),
            "bin": scores["bin"].where(scores["bin"] != ALL_BINS, ""),  # names of bins sort as their numbers do
        }
    )
    order = keys.sort_values(list(keys.columns), na_position="first", kind="stable").index
    return scores.loc[order].reset_index(drop=True)
