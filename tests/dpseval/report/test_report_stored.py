"""Reading a report back: values, names that look like numbers, and one sentence for each damage."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from dpsdata.contracts import MissingError
from dpseval.report.page import draw_report
from dpseval.report.stored import read_report


def test_values_come_back_as_they_were_written(made_report: Path) -> None:
    stored = read_report(made_report)
    names = set(stored.per_image["id"])
    assert {"NA", "007", '<script>alert("id")</script>'} <= names
    assert len(names) == 40
    lines = (made_report / "per_image.csv").read_text().splitlines()
    column = lines[0].split(",").index("hedps")
    assert stored.per_image["hedps"].iloc[200] == float(lines[201].split(",")[column])
    assert math.isinf(stored.per_image["psnr"].max())
    guards = stored.scores[stored.scores["metric"] == "edge_density"]
    assert all(flag is None for flag in guards["higher_is_better"])
    assert stored.scores.loc[stored.scores["metric"] == "psnr", "higher_is_better"].all()


@pytest.mark.parametrize("name", ["per_image.csv", "scores.csv", "scores.json", "run.json"])
def test_a_missing_file_is_named(own_report: Path, name: str) -> None:
    (own_report / name).unlink()
    with pytest.raises(MissingError, match=rf"{name}: this file is missing; run dpseval score again"):
        draw_report(own_report)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("scores.csv", b"", "damaged, expected a CSV table"),
        ("scores.csv", b"\xff\xfe\x00\x81", "damaged"),
        ("scores.csv", b'method,level\n"a,b', "damaged"),
        ("scores.csv", b"method,level\na,0\n", "it has no column 'region'"),
        ("scores.csv", b"method,level,region,metric,bin,n,value,ci_low,ci_high,higher_is_better,note\n", "no rows"),
        (
            "scores.csv",
            b"method,level,region,metric,bin,n,value,ci_low,ci_high,higher_is_better,note\n"
            b"dps,0,full,psnr,all,3,big,1,2,True,\n",
            "expected a number in column 'value', line 2, got 'big'",
        ),
        (
            "scores.csv",
            b"method,level,region,metric,bin,n,value,ci_low,ci_high,higher_is_better,note\n"
            b"dps,0,full,psnr,all,3,1,1,2,perhaps,\n",
            "expected True or False",
        ),
        ("per_image.csv", b"id,method\nx,y\n", "it has no column 'level'"),
        ("run.json", b"{", "damaged, expected JSON"),
        ("run.json", b"[]", "expected a JSON object"),
        ("run.json", b"[" * 100_000, "damaged"),
        ("scores.json", b'{"comparisons": [{"metric": 1}]}', "scores.json: damaged"),
        ("scores.json", b'{"comparisons": "none"}', "scores.json: damaged"),
        ("gallery/gallery.json", b'[{"id": "x"}]', "expected a list of rows"),
        ("gallery/gallery.json", b"{]", "damaged, expected JSON"),
    ],
)
def test_damage_gives_one_sentence(own_report: Path, name: str, content: bytes, sentence: str) -> None:
    (own_report / name).write_bytes(content)
    with pytest.raises(MissingError) as caught:
        draw_report(own_report)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (own_report / "index.html").exists()


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no such folder"):
        read_report(tmp_path / "none")
