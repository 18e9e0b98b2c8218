"""The values that a chart shows: one point for each set, from the table of scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from dpseval.pairing.files import SetKey
from dpseval.report.head_table import set_keys
from dpseval.report.verdicts import set_key

FEW_IMAGES = 30


@dataclass(frozen=True)
class ChartPoint:
    """The value of a set with its interval, NaN where it has none, and the number of images."""

    key: SetKey
    value: float
    low: float
    high: float
    count: float

    @property
    def level(self) -> float | None:
        """The level of the set."""
        return self.key.level

    @property
    def banded(self) -> bool:
        """Whether there is an interval."""
        return math.isfinite(self.low) and math.isfinite(self.high)


def chart_points(scores: pd.DataFrame, metric: str, bin_name: str = "all") -> list[ChartPoint]:
    """Values of a metric over the whole image, or else in its only region; methods in order and levels rising.

    Args:
        scores: the columns of `scores.csv`.
        metric: its name; a metric without values gives an empty list.
        bin_name: a bin of the hole ratio, or `all`.
    """
    rows = scores[(scores["metric"] == metric) & (scores["bin"] == bin_name)]
    regions = set(rows["region"])
    region = "full" if "full" in regions else min(regions, default="")
    rows = rows[(rows["region"] == region) & (rows["value"].abs() < math.inf)]
    numbers = rows[["value", "ci_low", "ci_high", "n"]].to_numpy(float).tolist()
    keys = [set_key(method, level) for method, level in zip(rows["method"], rows["level"], strict=True)]
    found = {key: ChartPoint(key, *row) for key, row in zip(keys, numbers, strict=True)}
    return [found[key] for key in set_keys(rows)]


def chart_ends(points: Sequence[ChartPoint]) -> list[float]:
    """Values and the ends of intervals, for the limits of an axis."""
    return [number for point in points for number in (point.value, point.low, point.high)]


def method_styles(scores: pd.DataFrame) -> dict[str, int]:
    """Number of the line style of each method, in the order of the file."""
    return {method: index for index, method in enumerate(dict.fromkeys(scores["method"]))}


def bin_names(scores: pd.DataFrame) -> list[str]:
    """Names of the hole-ratio bins that hold images, from small to large."""
    names = [name for name in dict.fromkeys(scores["bin"]) if name not in ("all", "")]
    return sorted(names, key=lambda name: (_bin_start(name), name))


def _bin_start(name: str) -> float:
    try:
        return float(name.split("-")[0])
    except ValueError:
        return math.inf
