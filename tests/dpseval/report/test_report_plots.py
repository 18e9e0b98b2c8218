"""Charts: places of marks worked out by hand, what is drawn for which method, and the same bytes every time."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pandas as pd
import pytest

from dpsdata.contracts import UsageError
from dpseval.report.charts import bin_names, chart_points, draw_bins, draw_curves, draw_trade_offs
from dpseval.report.stored import read_report
from dpseval.report.svg_axes import Axes, draw_key, nice_ticks, spread
from dpseval.statistics.summary import SCORE_COLUMNS

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def scores(made_report: Path) -> pd.DataFrame:
    return read_report(made_report).scores


def parse(svg: str) -> ET.Element:
    return ET.fromstring(svg)


def parts(svg: str, name: str) -> list[ET.Element]:
    return [part for part in parse(svg).iter("path") if name in part.get("class", "").split()]


def test_places_on_the_axes() -> None:
    axes = Axes((0.0, 1.0), (0.0, 10.0), width=200, height=100, left=50, right=10, top=5, bottom=15)
    assert axes.x(0.0) == 50
    assert axes.x(0.5) == 120
    assert axes.x(1.0) == 190
    assert axes.y(0.0) == 85
    assert axes.y(10.0) == 5
    turned = Axes((0.0, 1.0), (10.0, 0.0), width=200, height=100, left=50, right=10, top=5, bottom=15)
    assert turned.y(0.0) == 5  # the smaller value lies above


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0, 1, [0, 0.25, 0.5, 0.75, 1]), (26.3, 29.9, [27, 28, 29]), (-0.013, 0.021, [-0.01, 0, 0.01, 0.02])],
)
def test_ticks_are_round(low: float, high: float, ticks: list[float]) -> None:
    assert nice_ticks(low, high) == pytest.approx(ticks)


def test_ticks_refuse_an_empty_axis() -> None:
    with pytest.raises(UsageError):
        nice_ticks(1.0, 1.0)
    low, high = spread([3.0, math.nan, 3.0])
    assert low < 3.0 < high
    assert spread([]) == (0.0, 1.0)


def test_curves_have_bands_and_flat_lines(scores: pd.DataFrame) -> None:
    charts = {chart.title.split(" ")[0]: chart for chart in draw_curves(scores)}
    assert {"PSNR,", "SSIM", "L1", "HED", "Frechet", "Chamfer", "Edge", "Drift"} == set(charts)
    psnr = charts["PSNR,"].svg
    assert len(parts(psnr, "band")) == 3
    assert len(parts(psnr, "mark")) == 5 + 5 + 1
    flat = next(line for line in parts(psnr, "line") if "s2" in line.get("class", ""))
    places = re.findall(r"([\d.]+) ([\d.]+)", flat.get("d", ""))
    assert len(places) == 2
    assert places[0][1] == places[1][1]
    frechet = charts["Frechet"]
    assert not parts(frechet.svg, "band")
    assert frechet.caption == "No interval: one number a set, N=40."


def test_methods_differ_by_dash_and_shape_not_only_by_colour() -> None:
    keys = [parse(draw_key(style)) for style in range(16)]
    looks = [tuple(path.get(name) for path in key for name in ("d", "stroke-dasharray")) for key in keys]
    assert len(set(looks)) == 16


def test_a_chart_says_its_values(scores: pd.DataFrame) -> None:
    for chart in [*draw_curves(scores), *draw_trade_offs(scores), *draw_bins(scores)]:
        root = parse(chart.svg)
        assert root.get("role") == "img"
        label = root.get("aria-label") or ""
        assert "dps" in label
        assert re.search(r"\d\.\d", label)
        assert "nan" not in chart.svg.lower()


def test_without_any_level_the_sets_lie_side_by_side(scores: pd.DataFrame) -> None:
    some = scores[scores["level"].isna() | (scores["level"] == 0)].copy()
    some["level"] = math.nan
    chart = next(chart for chart in draw_curves(some) if chart.title.startswith("PSNR"))
    assert len(parts(chart.svg, "whisker")) == 3
    assert len(parts(chart.svg, "mark")) == 3
    assert not parts(chart.svg, "line")


def test_realism_is_drawn_upwards(scores: pd.DataFrame) -> None:
    frechet, hedps = draw_trade_offs(scores)
    assert "FD-HED" in frechet.title
    assert "HEDPS" in hedps.title
    places = []
    for mark in parts(hedps.svg, "mark"):
        if "s0" in mark.get("class", ""):
            found = re.match(r"translate\(([\d.]+) ([\d.]+)\)", mark.get("transform", ""))
            assert found
            places.append((float(found[1]), float(found[2])))
    # `dps` gets less faithful (left) and more real (up, so a smaller y) with the level.
    assert places == sorted(places, key=lambda place: -place[0])
    assert places == sorted(places, key=lambda place: -place[1])


def test_bins_go_from_small_to_large_and_few_images_are_hollow(scores: pd.DataFrame) -> None:
    names = bin_names(scores)
    assert names == sorted(names, key=lambda name: float(name.split("-")[0]))
    assert "all" not in names
    chart = draw_bins(scores)[0]
    assert len(parts(chart.svg, "hollow")) == len(parts(chart.svg, "mark")) == 3 * len(names)
    assert chart.caption == "Hollow marks: fewer than 30 images."


def test_one_value_a_bin_and_one_level_can_be_drawn() -> None:
    rows = [
        ("m", 0.5, region, metric, bin_name, 1, 0.5, math.nan, math.nan, True, "")
        for region, metric in (("full", "psnr"), ("full", "hedps"), ("hole", "edge_f_drawn"))
        for bin_name in ("all", "0.1-0.2", "0.6-1")
    ]
    table = pd.DataFrame(rows, columns=list(SCORE_COLUMNS))
    assert len(draw_curves(table)) == 3
    assert len(draw_trade_offs(table)) == 1
    assert len(draw_bins(table)) == 3
    assert chart_points(table, "fid") == []


def test_same_scores_same_bytes(scores: pd.DataFrame) -> None:
    assert draw_curves(scores) == draw_curves(scores.copy())
