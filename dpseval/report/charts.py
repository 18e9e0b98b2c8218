"""The charts of a report, from its scores: the values they show, their forms, and which are drawn."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from dpseval.metrics.names import Metric
from dpseval.pairing.files import SetKey
from dpseval.report.head_table import SHORT, column_decimals, format_number, known_metric, set_keys
from dpseval.report.svg_axes import Axes, clip_text, nice_ticks, spread
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


_LEVEL_LABEL = "level (0 follows the drawing, 1 corrects it most)"


@dataclass(frozen=True)
class Chart:
    """A drawing with its heading and a line of text below it."""

    title: str
    svg: str
    caption: str = ""


def draw_over_level(metric: Metric, points: Sequence[ChartPoint], styles: Mapping[str, int]) -> Chart:
    """Curves with bands over the level; a set without a level is a flat line."""
    levels = [point.level for point in points if point.level is not None]
    axes = Axes(spread(levels, 0.04), spread(chart_ends(points)))
    left, right = min(levels), max(levels)
    if left == right:
        left, right = axes.x_limits
    axes.draw_y_axis(count=5)
    axes.draw_x_axis(_level_ticks(levels), _LEVEL_LABEL)
    decimals = column_decimals([point.value for point in points])
    curves = []
    for (method, flat), group in itertools.groupby(points, key=lambda point: (point.key.method, point.level is None)):
        own = list(group)
        places = [(own[0], left), (own[0], right)] if flat else [(point, point.level or 0.0) for point in own]
        curves.append((styles[method], places, places[1:] if flat else places))
    for style, places, _ in curves:
        axes.add_band(style, [(x, point.low, point.high) for point, x in places if point.banded])
    for style, places, marks in curves:
        axes.add_line(style, [(x, point.value) for point, x in places])
        for point, x in marks:
            axes.add_mark(style, x, point.value, tip=_tip(point, decimals))
    title = _title(metric)
    return Chart(title, axes.render(title, f"Over the level: {_say(points)}"), _band_note(points))


def draw_intervals(metric: Metric, points: Sequence[ChartPoint], styles: Mapping[str, int]) -> Chart:
    """Values and intervals side by side, a set a row."""
    axes = Axes(spread(chart_ends(points), 0.1), (len(points) - 0.5, -0.5), left=104, height=64 + 26 * len(points))
    low, high = axes.x_limits
    axes.draw_x_axis([(tick, f"{tick:.6g}") for tick in nice_ticks(low, high, 4)], metric.unit, grid=True)
    decimals = column_decimals([point.value for point in points])
    for row, point in enumerate(points):
        style = styles[point.key.method]
        axes.add_text(low, row, clip_text(str(point.key), 16), dx=-8, dy=4, anchor="end")
        if point.banded:
            axes.add_whisker(style, (point.low, row), (point.high, row))
        axes.add_mark(style, point.value, row, tip=_tip(point, decimals))
    title = _title(metric)
    return Chart(title, axes.render(title, f"By method: {_say(points)}"), _band_note(points))


def draw_path(metric: Metric, pairs: Sequence[tuple[ChartPoint, ChartPoint]], styles: Mapping[str, int]) -> Chart:
    """One metric over another, where the levels of a method are a path; pairs are (faithfulness, realism)."""
    low, high = spread([end for _, real in pairs for end in chart_ends([real])], 0.1)
    limits = (low, high) if metric.higher_is_better else (high, low)
    axes = Axes(spread([end for faith, _ in pairs for end in chart_ends([faith])], 0.08), limits, 440, 330, left=60)
    name = SHORT.get(metric.name, metric.title)
    axes.draw_y_axis(f"{name} (better is up)", 5)
    axes.draw_x_axis(
        [(tick, f"{tick:g}") for tick in nice_ticks(*axes.x_limits, 5)],
        "edge F to the drawn sketch (right: more faithful)",
        grid=True,
    )
    said = []
    for method in dict.fromkeys(real.key.method for _, real in pairs):
        style = styles[method]
        path = [(faith.value, real) for faith, real in pairs if faith.key.method == method]
        axes.add_line(style, [(x, real.value) for x, real in path])
        for faith, real in pairs:
            if faith.key.method == method:
                if faith.banded:
                    axes.add_whisker(style, (faith.low, real.value), (faith.high, real.value))
                if real.banded:
                    axes.add_whisker(style, (faith.value, real.low), (faith.value, real.high))
        for x, real in path:
            text = f"{real.key!s}: edge F {x:.3f}, {name} {real.value:.4g}"
            axes.add_mark(style, x, real.value, tip=text)
            axes.add_text(x, real.value, clip_text(method if real.level is None else f"{real.level:g}", 18), 8, -7)
            said.append(text)
    title = f"Faithful to the sketch against {name}"
    levelled = any(real.level is not None for _, real in pairs)
    caption = "Numbers at the marks are levels; thin lines are intervals." if levelled else "Thin lines are intervals."
    return Chart(title, axes.render(title, "; ".join(said)), caption)


def draw_over_bins(
    metric: Metric, points: Mapping[str, list[ChartPoint]], shown: Sequence[SetKey], styles: Mapping[str, int]
) -> Chart:
    """Values over bins of the hole ratio, by name of the bin, for the sets that are shown."""
    names = [name for name, found in points.items() if found]
    chosen = [(place, point) for place, name in enumerate(names) for point in points[name] if point.key in shown]
    axes = Axes((-0.4, len(names) - 0.6), spread(chart_ends([point for _, point in chosen])))
    axes.draw_y_axis(count=5)
    axes.draw_x_axis([(place, name) for place, name in enumerate(names)], "hole ratio")
    decimals = column_decimals([point.value for _, point in chosen])
    for number, key in enumerate(shown):
        style = styles[key.method]
        # Side by side inside a bin, so that whiskers do not cover each other.
        shift = (number - (len(shown) - 1) / 2) * min(0.12, 0.6 / len(shown))
        own = [(place + shift, point) for place, point in chosen if point.key == key]
        axes.add_line(style, [(place, point.value) for place, point in own])
        for place, point in own:
            if point.banded:
                axes.add_whisker(style, (place, point.low), (place, point.high))
            axes.add_mark(style, place, point.value, point.count < FEW_IMAGES, _tip(point, decimals))
    title = _title(metric)
    said = "; ".join(f"{names[place]}, {_tip(point, decimals)}" for place, point in chosen)
    few = any(point.count < FEW_IMAGES for _, point in chosen)
    return Chart(title, axes.render(title, said), f"Hollow marks: fewer than {FEW_IMAGES} images." if few else "")


def _tip(point: ChartPoint, decimals: int) -> str:
    band = ""
    if point.banded:
        band = f", 95 % from {format_number(point.low, decimals)} to {format_number(point.high, decimals)}"
    return f"{point.key!s}: {format_number(point.value, decimals)}{band}, N={point.count:.0f}"


def _say(points: Sequence[ChartPoint]) -> str:
    decimals = column_decimals([point.value for point in points])
    return "; ".join(f"{point.key!s}: {format_number(point.value, decimals)}" for point in points)


def _title(metric: Metric) -> str:
    unit = f", {metric.unit}" if metric.unit else ""
    better = {True: " ↑ higher is better", False: " ↓ lower is better", None: ""}[metric.higher_is_better]
    return f"{metric.title}{unit}{better}"


def _level_ticks(levels: Sequence[float]) -> list[tuple[float, str]]:
    ticks: Sequence[float] = sorted(set(levels))
    low, high = min(ticks), max(ticks)
    if len(ticks) > 7 or any(right - left < 0.08 * (high - low) for left, right in itertools.pairwise(ticks)):
        ticks = nice_ticks(low, high, 5) if high > low else [low]
    return [(tick, f"{tick:g}") for tick in ticks]


def _band_note(points: Sequence[ChartPoint]) -> str:
    return "" if any(point.banded for point in points) else f"No interval: one number a set, N={points[0].count:.0f}."


CURVE_METRICS = (
    "fid",
    "kid",
    "fd_hed",
    "kd_hed",
    "lpips_alex",
    "lpips_vgg",
    "lpips_squeeze",
    "hedps",
    "psnr",
    "ssim",
    "l1",
    "edge_f_drawn",
    "edge_f_refined",
    "chamfer_px",
    "hed_ssim",
    "lineart_ssim",
    "id_similarity",
    "landmark_nme",
    "edge_density",
    "known_drift",
)
BIN_METRICS = ("hedps", "lpips_alex", "psnr", "ssim", "edge_f_drawn")
# The realism axis: of each pair the first that has values.
REALISM = (("fid", "fd_hed"), ("lpips_alex", "hedps"))


def draw_curves(scores: pd.DataFrame) -> list[Chart]:
    """One chart a metric: over the level with bands, or, where no method has a level, its intervals side by side."""
    charts = []
    for name in CURVE_METRICS:
        points = chart_points(scores, name)
        if not points:
            continue
        levelled = any(point.level is not None for point in points)
        drawing = draw_over_level if levelled else draw_intervals
        charts.append(drawing(known_metric(name), points, method_styles(scores)))
    return charts


def draw_trade_offs(scores: pd.DataFrame) -> list[Chart]:
    """Faithfulness to the drawn sketch against realism; the level is the path."""
    faithful = {point.key: point for point in chart_points(scores, "edge_f_drawn")}
    charts = []
    for names in REALISM:
        found = next((name for name in names if chart_points(scores, name)), None)
        pairs = [(faithful[p.key], p) for p in chart_points(scores, found) if p.key in faithful] if found else []
        if found and pairs:
            charts.append(draw_path(known_metric(found), pairs, method_styles(scores)))
    return charts


def draw_bins(scores: pd.DataFrame) -> list[Chart]:
    """Metrics over the hole ratio; of a method with levels, the level in the middle."""
    keys = set_keys(scores)
    shown = []
    for method in dict.fromkeys(key.method for key in keys):
        own = [key for key in keys if key.method == method]
        shown.append(own[(len(own) - 1) // 2])
    bins = bin_names(scores)
    charts = []
    for name in BIN_METRICS:
        rows = scores[scores["metric"] == name]
        points = {bin_name: chart_points(rows, name, bin_name) for bin_name in bins}
        if len([bin_name for bin_name in bins if points[bin_name]]) > 1:
            charts.append(draw_over_bins(known_metric(name), points, shown, method_styles(scores)))
    return charts
