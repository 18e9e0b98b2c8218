"""Reads the table of images: its checks, its order, its bins of the hole ratio, and the sets that it holds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpsdata.contracts import UsageError
from dpseval.metrics.names import METRICS, REGION_NAMES
from dpseval.metrics.regions import hole_bin

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
