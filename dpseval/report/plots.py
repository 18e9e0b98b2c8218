"""The charts of a report, from its scores: curves over the level, trade-off paths, hole-ratio bins."""

from __future__ import annotations

import pandas as pd

from dpseval.report.chart_data import bin_names, chart_points, method_styles
from dpseval.report.chart_forms import Chart, draw_intervals, draw_over_bins, draw_over_level, draw_path
from dpseval.report.head_table import known_metric, set_keys

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
