"""What the paired tests say about each metric, read from the results of a report."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from dpsdata.contracts import MissingError
from dpseval.pairing.files import SetKey

_DAMAGED = "scores.json: damaged, expected the fields of a comparison in each of `comparisons`; run dpseval score again"


@dataclass(frozen=True)
class Baseline:
    """The leader of a metric against one other set; differences are leader minus baseline."""

    key: SetKey
    count: int
    difference: float
    ci_low: float
    ci_high: float
    p_value: float
    win_rate: float
    significant: bool


@dataclass(frozen=True)
class Verdict:
    """The set that leads in a metric and region, and how it fares against each other set."""

    metric: str
    region: str
    leader: SetKey
    baselines: tuple[Baseline, ...]

    @property
    def decided(self) -> bool:
        """Whether the paired tests separate the leader from every other set."""
        return bool(self.baselines) and all(baseline.significant for baseline in self.baselines)

    @property
    def tied(self) -> tuple[SetKey, ...]:
        """Sets that the tests do not separate from the leader."""
        return tuple(baseline.key for baseline in self.baselines if not baseline.significant)

    def mark(self, key: SetKey) -> Literal["best", "tied", ""]:
        """`best` for a leader that is separated from all others, else `tied` for it and those close to it."""
        if self.decided:
            return "best" if key == self.leader else ""
        return "tied" if self.baselines and (key == self.leader or key in self.tied) else ""


def set_key(method: object, level: object) -> SetKey:
    """The set of a row of a table; an empty or NaN level is no level."""
    number = math.nan if level is None or level == "" else float(str(level))
    return SetKey(str(method), None if math.isnan(number) else number)


def read_comparisons(results: Mapping[str, Any]) -> pd.DataFrame:
    """The paired comparisons in `scores.json`; results without them give an empty table."""
    try:
        return pd.DataFrame(results.get("comparisons") or [])
    except (TypeError, ValueError, AttributeError):
        raise MissingError(_DAMAGED) from None


def gather_verdicts(comparisons: pd.DataFrame) -> list[Verdict]:
    """Gather comparisons, one a row, into one verdict for each metric and region, in the order of the table.

    Args:
        comparisons: the columns of `dpseval.statistics.summary.comparisons`; may be empty.

    Raises:
        MissingError: a column is missing or holds something else.
    """
    groups: dict[tuple[str, str, SetKey], list[Baseline]] = {}
    try:
        for row in comparisons.to_dict("records"):
            leader = set_key(row["best_method"], row["best_level"])
            difference, low, high, p_value, win_rate = (
                _number(row[name]) for name in ("difference", "ci_low", "ci_high", "p_holm", "win_rate")
            )
            baseline = Baseline(
                set_key(row["other_method"], row["other_level"]),
                int(row["n"]),
                difference,
                low,
                high,
                p_value,
                win_rate,
                bool(row["significant"]),
            )
            groups.setdefault((str(row["metric"]), str(row["region"]), leader), []).append(baseline)
    except (KeyError, TypeError, ValueError):
        raise MissingError(_DAMAGED) from None
    return [Verdict(*key, tuple(baselines)) for key, baselines in groups.items()]


def _number(value: object) -> float:
    return math.nan if value is None else float(str(value))
