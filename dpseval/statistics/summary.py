"""From values per image to the table of scores: means, pooled PSNR, intervals and bins, by method, level and region."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpsdata.contracts import UsageError
from dpseval.metrics.names import METRICS, REGION_NAMES
from dpseval.metrics.regions import hole_bin
from dpseval.statistics.intervals import SIGNIFICANCE, bootstrap_intervals, holm, paired_difference, signed_rank_p

EXACT_DB = 100.0
"""PSNR that an exact image counts as in means and comparisons; the table of images keeps inf."""

KEY_COLUMNS = ("id", "method", "level", "region", "hole_ratio")


def prepare_image_table(per_image: pd.DataFrame) -> pd.DataFrame:
    """Check a table of images and bring it into the one order in which all numbers are computed.

    Args:
        per_image: the columns of `per_image.csv`; `level` NaN or None where a method has none.

    Returns:
        A sorted copy with `level` as float, PSNR capped at `EXACT_DB`, and three columns more: `bin` of the hole
        ratio, `exact` (PSNR was inf) and `error` (mean squared error over the squared peak, from the uncapped PSNR).

    Raises:
        UsageError: a column is missing, a row comes twice, or a value is none that the column can hold.
    """
    missing = [name for name in KEY_COLUMNS if name not in per_image.columns]
    if missing:
        raise UsageError(
            f"per_image: expected the columns {', '.join(KEY_COLUMNS)}, but {', '.join(missing)} is missing"
        )
    table = per_image.copy()
    table["level"] = _read_levels(table["level"])
    unknown = sorted(set(table["region"]) - set(REGION_NAMES))
    if unknown:
        raise UsageError(f"per_image: expected the regions {', '.join(REGION_NAMES)}, got {unknown[0]!r}")
    twice = table.duplicated(["id", "method", "level", "region"])
    if twice.any():
        row = table[twice].iloc[0]
        raise UsageError(f"per_image: image {row['id']!r} of {row['method']!r} comes twice in region {row['region']!r}")
    names = [name for name in METRICS if name in table.columns]
    table[names] = table[names].astype(np.float64)
    _check_finite(table, names)
    if "psnr" in names:
        table["exact"] = np.isposinf(table["psnr"])
        table["error"] = 10 ** (-table["psnr"] / 10)
        table["psnr"] = table["psnr"].clip(upper=EXACT_DB)
    table["bin"] = table["hole_ratio"].map({ratio: hole_bin(float(ratio)) for ratio in table["hole_ratio"].unique()})
    table["region"] = pd.Categorical(table["region"], categories=REGION_NAMES, ordered=True)
    order = ["method", "level", "region", "id"]
    return table.sort_values(order, na_position="first", ignore_index=True)


def _read_levels(levels: pd.Series[Any]) -> pd.Series[Any]:
    try:
        return levels.replace("", math.nan).astype(np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"per_image: expected numbers or nothing in the column level: {error}") from None


def _check_finite(table: pd.DataFrame, names: list[str]) -> None:
    for name in names:
        endless = np.isneginf(table[name]) if name == "psnr" else np.isinf(table[name])
        if endless.any():
            row = table[endless].iloc[0]
            raise UsageError(f"per_image: {name} of image {row['id']!r} of {row['method']!r} is infinite")


def values_by_set(table: pd.DataFrame, metric: str, region: str) -> dict[tuple[str, float | None], NDArray[np.float64]]:
    """One metric in one region, aligned by image.

    Args:
        table: a prepared table.
        metric: a column of it.
        region: full, hole or ring.

    Returns:
        For each set that has a value at all, (N,) over the sorted ids of the whole region; NaN where it has none.
    """
    rows = table[(table["region"] == region) & table[metric].notna()]
    ids = np.sort(rows["id"].unique())
    aligned: dict[tuple[str, float | None], NDArray[np.float64]] = {}
    for (method, level), group in rows.groupby(["method", "level"], dropna=False, sort=True):
        values = group.set_index("id")[metric].reindex(ids).to_numpy(np.float64)
        aligned[str(method), _as_level(level)] = values
    return aligned


def _as_level(level: Any) -> float | None:
    return None if math.isnan(level) else float(level)


COMPARISON_COLUMNS = (
    "metric", "region", "best_method", "best_level", "other_method", "other_level", "n", "difference",
    "ci_low", "ci_high", "median_difference", "p_value", "p_holm", "win_rate", "significant", "best_marked",
)  # fmt: skip

SetKey = tuple[str, float | None]
_SetValues = Mapping[SetKey, NDArray[np.float64]]


def comparisons(per_image: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Compare the best set of each metric and region with every other set, image by image.

    The best set has the best mean. Because it is chosen by looking, Holm's correction runs over all pairs of sets of
    the metric and region, and not just over those with the best: of 400 drawn tables of 15 equal methods, 3 % then held
    a false difference, else 17 %. A difference is significant where that p-value is below 0.05 and the interval of the
    mean difference leaves out 0, on the side of the best. The intervals are those of single differences, not widened
    for their number.

    Args:
        per_image: the columns of `per_image.csv`.
        seed: seed of the run.

    Returns:
        `COMPARISON_COLUMNS`, one row per metric, region and other set; `difference` is best minus other, in the unit of
        the metric, `win_rate` the share of images on which the best is better (ties count one half), `best_marked`
        whether the best differs significantly from every other set. A metric in which no two sets differ on any image
        has no rows; neither has a guard.

    Raises:
        UsageError: the table is not as described.
    """
    table = prepare_image_table(per_image)
    rows: list[tuple[Any, ...]] = []
    for name, metric in METRICS.items():
        if metric.kind != "image" or metric.higher_is_better is None or name not in table:
            continue
        for region in metric.regions:
            rows += _compare_metric(values_by_set(table, name, region), name, region, metric.higher_is_better, seed)
    found = pd.DataFrame(rows, columns=list(COMPARISON_COLUMNS))
    for column in ("best_level", "other_level"):
        found[column] = found[column].astype(np.float64)
    return found


def _compare_metric(values: _SetValues, name: str, region: str, higher: bool, seed: int) -> list[tuple[Any, ...]]:
    pairs = list(itertools.combinations(values, 2))
    if not pairs:
        return []
    differences = np.stack([values[a] - values[b] for a, b in pairs], axis=1)
    if not np.nan_to_num(differences).any():
        return []
    adjusted = dict(zip(pairs, holm(signed_rank_p(differences)), strict=True))
    sign = 1.0 if higher else -1.0
    best = max(values, key=lambda key: sign * float(np.nanmean(values[key])))
    rows = []
    for other in values:
        if other == best:
            continue
        pair = (best, other) if (best, other) in adjusted else (other, best)
        found = paired_difference(values[best], values[other], seed, "comparisons", higher)
        nearest_0 = found.ci_low if higher else -found.ci_high
        significant = bool(adjusted[pair] < SIGNIFICANCE and nearest_0 > 0)
        numbers = (found.n, found.mean, found.ci_low, found.ci_high, found.median)
        tests = (found.p_value, adjusted[pair], found.win_rate, significant)
        rows.append((name, region, *best, *other, *numbers, *tests))
    marked = all(row[-1] for row in rows)
    return [(*row, marked) for row in rows]


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
