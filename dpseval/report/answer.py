"""The answer of a report: which set is better, by how much and how surely, in a sentence and a plot of differences."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dpseval.metrics.names import Metric
from dpseval.report.charts import Chart
from dpseval.report.head_table import SHORT, column_decimals, format_number, known_metric
from dpseval.report.svg_axes import Axes, clip_text, nice_ticks, spread
from dpseval.report.verdicts import Baseline, Verdict
from dpseval.statistics.intervals import SIGNIFICANCE

# The first of these with a test is what the sentence is about: what eyes see before what pixels say.
HEADLINE = ("lpips_alex", "lpips_vgg", "lpips_squeeze", "hedps", "psnr", "ssim", "l1", "edge_f_drawn", "chamfer_px")
# What the page shows beside it.
_BESIDE = ("psnr", "edge_f_drawn", "ssim")
_MAX_ROWS = 15


def answer_question(verdicts: Sequence[Verdict]) -> str:
    """One sentence on which set is better, from the paired tests; empty where there are none.

    It names the leader of the first metric of `HEADLINE` and the set of another method that comes closest to it, or
    of its own method where there is no other; then the metrics in which another method is best.
    """
    verdict = _headline(verdicts)
    if verdict is None:
        return ""
    metric = known_metric(verdict.metric)
    others = [baseline for baseline in verdict.baselines if baseline.key.method != verdict.leader.method]
    baseline = min(others or verdict.baselines, key=lambda baseline: abs(baseline.difference))
    name = SHORT.get(metric.name, metric.title)
    gain, low, high = _gain(metric, baseline)
    decimals = min(6, column_decimals([gain, low, high]))
    unit = f" {metric.unit}" if metric.unit else ""
    amount = f"{format_number(gain, decimals)}{unit} in {name}"
    interval = "no interval"
    if math.isfinite(low):
        interval = f"95 % interval {format_number(low, decimals)} to {format_number(high, decimals)}"
    p_value = "p < 0.0001" if baseline.p_value < 1e-4 else f"p = {baseline.p_value:.2g}"
    proof = f"{interval}, {p_value}, better in {100 * baseline.win_rate:.0f} % of {baseline.count} photos"
    where = "" if verdict.region == "full" else f", inside the {verdict.region}"
    dissent = _name_dissent(verdict, verdicts)
    if not baseline.significant:
        count = len(verdict.baselines) + 1
        # Even if all photos agree, the signed-rank test over all pairs of sets, corrected by Holm, says no less.
        least = 0.5 ** (baseline.count - 1) * count * (count - 1) / 2
        few = f"{baseline.count} photos are too few to separate {count} sets"
        finding = "No method is clearly better" if least <= SIGNIFICANCE else few
        return f"{finding}: {verdict.leader} leads {baseline.key} by {amount}{where} ({proof}).{dissent}"
    beaten = all(other.significant for other in others or verdict.baselines)
    wording = f"{verdict.leader} beats {baseline.key} by {amount}{where} ({proof})"
    if len({other.key.method for other in others}) > 1:
        wording += ", and every other method too" if beaten else ", but the tests do not separate it from all others"
    return f"{wording}.{dissent}"


def _name_dissent(head: Verdict, verdicts: Sequence[Verdict]) -> str:
    """Where the tests say that another method is best."""
    best: dict[str, list[str]] = {}
    for verdict in verdicts:
        metric = known_metric(verdict.metric)
        if verdict.metric in HEADLINE and verdict.region == head.region and verdict.decided:
            best.setdefault(verdict.leader.method, []).append(SHORT.get(metric.name, metric.title))
    best.pop(head.leader.method, None)
    return "".join(f" {method} is best in {', '.join(names)}." for method, names in best.items())


def draw_forests(verdicts: Sequence[Verdict]) -> list[Chart]:
    """For each metric, the leader's gain over every other set with its 95 % interval; the headline's metric first."""
    head = _headline(verdicts)
    chosen = {verdict.metric: verdict for verdict in reversed(verdicts) if verdict.baselines}
    chosen |= {verdict.metric: verdict for verdict in verdicts if verdict.region == "full" and verdict.baselines}
    ranks = {name: rank for rank, name in enumerate(_BESIDE)}
    order = sorted(chosen.values(), key=lambda item: (item is not head, ranks.get(item.metric, len(ranks))))
    return [_draw_forest(verdict) for verdict in order]


def _headline(verdicts: Sequence[Verdict]) -> Verdict | None:
    for name in HEADLINE:
        found = [verdict for verdict in verdicts if verdict.metric == name and verdict.baselines]
        if found:
            return next((verdict for verdict in found if verdict.region == "full"), found[0])
    return None


def _gain(metric: Metric, baseline: Baseline) -> tuple[float, float, float]:
    """How much better the leader is, and the interval: positive is better, whatever the metric."""
    if metric.higher_is_better:
        return baseline.difference, baseline.ci_low, baseline.ci_high
    return -baseline.difference, -baseline.ci_high, -baseline.ci_low


def _draw_forest(verdict: Verdict) -> Chart:
    metric = known_metric(verdict.metric)
    rows = sorted(((_gain(metric, baseline), baseline) for baseline in verdict.baselines), key=lambda row: row[0][0])[
        :_MAX_ROWS
    ]
    ends = [end for gain, _ in rows for end in gain if math.isfinite(end)]
    axes = Axes(spread([0.0, *ends], 0.1), (len(rows) - 0.5, -0.5), left=122, height=64 + 18 * len(rows))
    low, high = axes.x_limits
    axes.draw_x_axis([(tick, f"{tick:.6g}") for tick in nice_ticks(low, high, 4)], metric.unit, grid=True)
    axes.add_whisker(0, (0.0, -0.5), (0.0, len(rows) - 0.5))
    decimals = min(6, column_decimals(ends))
    said = []
    for row, ((gain, least, most), baseline) in enumerate(rows):
        axes.add_text(low, row, clip_text(f"over {baseline.key}", 20), dx=-8, dy=4, anchor="end")
        if math.isfinite(least):
            axes.add_whisker(1, (least, row), (most, row))
        tip = f"over {baseline.key}: {format_number(gain, decimals)}, p {baseline.p_value:.2g}"
        axes.add_mark(1, gain, row, not baseline.significant, tip)
        said.append(tip)
    title = f"{metric.title}: advantage of {verdict.leader}"
    caption = "Paired differences with 95 % intervals; hollow: no clear difference."
    left = len(verdict.baselines) - len(rows)
    return Chart(
        title, axes.render(title, "; ".join(said)), f"{caption} {left} more in the table." if left else caption
    )
