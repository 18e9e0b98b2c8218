"""Markdown and LaTeX tables: marks, intervals, missing weights, and names that mean something to a typesetter."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpsdata.contracts import MissingError
from dpseval.pairing.files import SetKey
from dpseval.report.head_table import build_head_table, column_decimals, format_number, missing_notes, split_columns
from dpseval.report.tables import (
    escape_latex,
    escape_markdown,
    format_head,
    format_latex,
    format_markdown,
    write_tables,
)
from dpseval.report.verdicts import gather_verdicts, read_comparisons, set_key
from dpseval.statistics.summary import COMPARISON_COLUMNS, SCORE_COLUMNS

NOTE = "weights missing: dps weights get inception-fid"


def small_scores() -> pd.DataFrame:
    nan = math.nan
    rows = [
        ("dps", 0.0, "full", "psnr", "all", 40, 28.12345, 27.5, 28.9, True, ""),
        ("dps", 1.0, "full", "psnr", "all", 40, 29.5, 29.0, 30.0, True, ""),
        ("a_b&c|d", nan, "full", "psnr", "all", 39, 27.0, 26.0, 28.0, True, ""),
        ("dps", 0.0, "full", "fid", "all", 0, nan, nan, nan, False, NOTE),
        ("dps", 1.0, "full", "fid", "all", 0, nan, nan, nan, False, NOTE),
        ("a_b&c|d", nan, "full", "fid", "all", 40, 12.5, nan, nan, False, "N < 2048"),
        ("dps", 0.0, "ring", "psnr", "all", 40, 100.0, 100.0, 100.0, True, ""),
        ("dps", 0.0, "ring", "ssim", "all", 40, 0.91234, 0.9, 0.92, True, ""),
        ("dps", 0.0, "full", "ssim", "all", 40, 0.95, 0.94, 0.96, True, ""),
        ("dps", 0.0, "hole", "chamfer_px", "all", 38, 2.5, 2.4, 2.6, False, ""),
        ("dps", 0.0, "full", "psnr", "0.1-0.2", 12, 20.0, 19.0, 21.0, True, ""),
    ]
    return pd.DataFrame(rows, columns=list(SCORE_COLUMNS))


def small_comparisons(**changed: Any) -> pd.DataFrame:
    first = ("psnr", "full", "dps", 1.0, "dps", 0.0, 40, 1.4, 1.0, 1.8, 1.4, 1e-9, 3e-9, 1.0, True, True)
    other = ("psnr", "full", "dps", 1.0, "a_b&c|d", math.nan, 39, 2.5, 2.0, 3.0, 2.5, 1e-9, 3e-9, 1.0, True, True)
    table = pd.DataFrame([first, other], columns=list(COMPARISON_COLUMNS))
    for name, value in changed.items():
        table[name] = value
    return table


def test_best_is_marked_only_where_every_test_says_so() -> None:
    table = build_head_table(small_scores(), gather_verdicts(small_comparisons()))
    assert [str(row.key) for row in table.rows] == ["dps 0", "dps 1", "a_b&c|d"]
    column = next(i for i, c in enumerate(table.columns) if c.metric.name == "psnr")
    assert [row.cells[column].mark for row in table.rows] == ["", "best", ""]
    unsure = gather_verdicts(small_comparisons(significant=[True, False]))
    marks = [row.cells[column].mark for row in build_head_table(small_scores(), unsure).rows]
    assert marks == ["", "tied", "tied"]
    none = build_head_table(small_scores(), [])
    assert {row.cells[column].mark for row in none.rows} == {""}


def test_columns_by_region() -> None:
    full, hole, ring = (build_head_table(small_scores(), [], region) for region in ("full", "hole", "ring"))
    assert [(c.metric.name, c.region) for c in full.columns] == [
        ("fid", "full"),
        ("psnr", "full"),
        ("ssim", "full"),
        ("chamfer_px", "hole"),
    ]
    assert full.groups == [("Realism of the set", 1), ("Pixels", 2), ("Faithful to the sketch", 1)]
    assert [row.count for row in full.rows] == [40, 40, 40]
    assert hole.columns == ()
    assert [c.metric.name for c in ring.columns] == ["ssim"]  # PSNR in the ring is that of the truth for every set


def test_markdown() -> None:
    text = format_markdown([build_head_table(small_scores(), gather_verdicts(small_comparisons()))])
    lines = text.splitlines()
    assert lines[2] == "| method | level | N | FID ↓ | PSNR, dB ↑ | SSIM ↑ | Chamfer, px ↓ |"
    assert lines[4] == (
        "| dps | 0 | 40 | weights missing | 28.12 (27.50 to 28.90) | 0.9500 (0.9400 to 0.9600) "
        "| 2.500 (2.400 to 2.600, N=38) |"
    )
    assert "**29.50 ★** (29.00 to 30.00)" in lines[5]
    assert lines[6].startswith(r"| a\_b&amp;c\|d | – | 40 | 12.50 | 27.00 (26.00 to 28.00, N=39) | – | – |")
    assert lines[-1] == "* FID: weights missing: `dps weights get inception-fid`"


def test_a_method_that_could_not_run_is_said_once() -> None:
    gone = "sketchrefiner: weights missing: get `a_b.pth` (see *there*)"
    scores = small_scores()
    row = scores[(scores["method"] == "dps") & (scores["level"] == 0)]
    scores = pd.concat([scores, row.assign(method="sketchrefiner", level=math.nan, value=math.nan, n=0, note=gone)])
    tables = [build_head_table(scores, [])]
    assert missing_notes(tables) == [
        (NOTE, ["FID"]),
        ("weights missing: get `a_b.pth` (see *there*)", ["sketchrefiner"]),
    ]
    assert format_markdown(tables).splitlines()[-1] == (
        r"* sketchrefiner: weights missing: get `a_b.pth` (see \*there\*)"
    )


def test_names_that_do_not_explain_themselves_are_explained() -> None:
    scores = small_scores()
    assert "G makes" not in format_markdown([build_head_table(scores, [])])
    scores["method"] = scores["method"].replace("dps", "dps-g")
    assert "dps-g: the photo that G makes" in format_markdown([build_head_table(scores, [])])


def test_latex() -> None:
    text = format_latex([build_head_table(small_scores(), gather_verdicts(small_comparisons()))])
    assert r"\textbf{29.50}$^\star$ &" in text
    assert r"a\_b\&c\textbar{}d & -- & 12.50 &" in text
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == text.count(r"\begin{tabular}{lrrrrr}") == 1
    assert "Whole image, N=40." in text
    assert r"PSNR, dB $\uparrow$" in text
    assert "% FID: weights missing: dps weights get inception-fid" in text
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {row.replace(r"\&", "").count("&") for row in rows} == {5}


def test_the_first_columns_are_those_that_a_reader_looks_at() -> None:
    whole = build_head_table(small_scores(), [])
    first, rest = split_columns(whole, 2)
    assert [column.metric.name for column in first.columns] == ["fid", "psnr"]
    assert [column.metric.name for column in rest.columns] == ["ssim", "chamfer_px"]
    assert [row.cells[1].text for row in first.rows] == ["28.12", "29.50", "27.00"]
    nowhere = small_scores().assign(value=lambda table: table["value"].where(table["metric"] != "fid"))
    kept, none = split_columns(build_head_table(nowhere, []), 9)
    assert [column.metric.name for column in kept.columns] == ["psnr", "ssim", "chamfer_px"]
    assert none.columns == ()


def test_missing_notes_name_each_metric_once() -> None:
    assert missing_notes([build_head_table(small_scores(), [])]) == [(NOTE, ["FID"])]


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [(28.125, 2, "28.12"), (-0.0001, 2, "0.00"), (math.inf, 2, "∞"), (-math.inf, 1, "−∞"), (-1.5, 1, "-1.5")],
)
def test_numbers(value: float, decimals: int, text: str) -> None:
    assert format_number(value, decimals) == text


@pytest.mark.parametrize(
    ("values", "decimals"),
    [([28.3, 29.1], 2), ([0.93], 4), ([0.0213], 5), ([1e-9], 6), ([12345.0], 0), ([], 2), ([0.0], 2)],
)
def test_decimals_show_four_digits(values: list[float], decimals: int) -> None:
    assert column_decimals(values) == decimals


@given(st.text())
def test_no_name_breaks_out_of_a_table(name: str) -> None:
    safe = escape_markdown(name)
    assert "\n" not in safe
    assert "<" not in safe
    assert safe.replace(r"\\", "").replace(r"\|", "").count("|") == 0
    latex = escape_latex(name)
    for char in "&%$#_{}~^":
        bare = latex.replace("\\" + char, "")
        if char in "&%#_":
            assert char not in bare
    assert "\n" not in latex


def test_latex_characters() -> None:
    assert escape_latex(r"\a{b}_^~%") == r"\textbackslash{}a\{b\}\_\textasciicircum{}\textasciitilde{}\%"


def test_redrawn_tables_equal_those_from_memory(drawn_report: Path, made_report: Path, tmp_path: Path) -> None:
    import json

    from dpseval.report.stored import read_report

    stored = read_report(made_report)
    results = json.loads((made_report / "scores.json").read_text())
    write_tables(tmp_path, stored.scores, pd.DataFrame(results["comparisons"]))
    for name in ("table.md", "table.tex"):
        assert (tmp_path / name).read_bytes() == (drawn_report / name).read_bytes()


def test_comparisons_that_are_none() -> None:
    assert gather_verdicts(read_comparisons({})) == []
    with pytest.raises(MissingError, match="run dpseval score again"):
        gather_verdicts(small_comparisons().drop(columns="p_holm"))
    assert set_key("m", "") == SetKey("m", None)


def test_the_head_for_a_terminal() -> None:
    lines = format_head(small_scores(), gather_verdicts(small_comparisons()))
    assert lines == [
        "set      FID ↓  PSNR, dB ↑  SSIM ↑  Chamfer, px ↓",
        "dps 1        –     29.50 ★       –              –",
        "dps 0        –       28.12  0.9500          2.500",
        "a_b&c|d  12.50       27.00       –              –",
    ]
    many = pd.concat([small_scores().assign(method=f"{number:02}-" + "m" * 60) for number in range(9)])
    lines = format_head(many, [])
    assert lines[-1] == "17 more sets in scores.csv"
    assert len(lines) == 12
    assert max(map(len, lines)) <= 100
    assert format_head(small_scores().iloc[:0], []) == []
