"""The forms of chart: over the level, side by side, as a path between two metrics, over hole-ratio bins."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dpseval.metrics.names import Metric
from dpseval.pairing.files import SetKey
from dpseval.report.chart_data import FEW_IMAGES, ChartPoint, chart_ends
from dpseval.report.head_table import SHORT, column_decimals, format_number
from dpseval.report.svg_axes import Axes, clip_text, nice_ticks, spread

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
