"""How a metric of one method goes over the refinement levels, and whether it rises or falls at every step."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from dpsdata.contracts import UsageError
from dpseval.metrics.names import METRICS
from dpseval.statistics.image_table import prepare_image_table, values_by_set
from dpseval.statistics.intervals import SIGNIFICANCE, PairedDifference, holm, paired_difference

Direction = Literal["falls", "rises", "flat", "mixed"]


@dataclass(frozen=True)
class LevelTrend:
    """A curve over the levels, with the paired tests of its steps.

    Args:
        method: whose curve it is.
        metric: a name of `METRICS`.
        region: full, hole or ring.
        levels: rising.
        n: images with a value, per level.
        means: per level; PSNR is capped at 100 dB.
        steps: each level after the first minus the one before, on the same images.
        step_p_holm: p-values of the steps, after Holm's correction over the steps.
        span: last level minus first, on the same images.
        direction: `falls` or `rises` where the mean does so at every step, `flat` where it never moves, else `mixed`.
        significant: whether every step is significant by itself, after the correction; for many close levels that is
            much to ask, and `span` is the milder test.
    """

    method: str
    metric: str
    region: str
    levels: tuple[float, ...]
    n: tuple[int, ...]
    means: tuple[float, ...]
    steps: tuple[PairedDifference, ...]
    step_p_holm: tuple[float, ...]
    span: PairedDifference
    direction: Direction
    significant: bool


def level_trend(per_image: pd.DataFrame, method: str, metric: str, region: str, seed: int) -> LevelTrend:
    """Follow a metric of one method over its levels.

    Args:
        per_image: the columns of `per_image.csv`.
        method: a method with at least two levels.
        metric: a metric with one value per image.
        region: full, hole or ring.
        seed: seed of the run.

    Raises:
        UsageError: there is no such metric, or the method has no value of it at two levels or more.
    """
    known = METRICS.get(metric)
    if known is None or known.kind != "image" or metric not in per_image.columns:
        raise UsageError(f"level_trend: expected a metric of per_image.csv, got {metric!r}")
    table = prepare_image_table(per_image[per_image["method"] == method])
    values = {level: column for (_, level), column in values_by_set(table, metric, region).items() if level is not None}
    if len(values) < 2:
        raise UsageError(
            f"level_trend: expected two levels or more with {metric} of {method!r} in {region}, got {len(values)}"
        )
    levels = tuple(sorted(values))
    present = [values[level][~np.isnan(values[level])] for level in levels]
    higher = known.higher_is_better is not False
    steps = tuple(
        paired_difference(values[after], values[before], seed, "levels", higher)
        for before, after in itertools.pairwise(levels)
    )
    corrected = tuple(holm([step.p_value for step in steps]))
    direction = _direction(steps)
    return LevelTrend(
        method=method,
        metric=metric,
        region=region,
        levels=levels,
        n=tuple(len(column) for column in present),
        means=tuple(float(column.mean()) for column in present),
        steps=steps,
        step_p_holm=corrected,
        span=paired_difference(values[levels[-1]], values[levels[0]], seed, "levels", higher),
        direction=direction,
        significant=direction in ("falls", "rises") and all(p < SIGNIFICANCE for p in corrected),
    )


def _direction(steps: tuple[PairedDifference, ...]) -> Direction:
    moves = [step.mean for step in steps]
    if all(move < 0 for move in moves):
        return "falls"
    if all(move > 0 for move in moves):
        return "rises"
    return "flat" if all(move == 0 for move in moves) else "mixed"
