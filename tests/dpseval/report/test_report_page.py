"""The page: whole, small, safe against hostile names, with nothing from outside."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from dpsdata.contracts import MissingError
from dpseval.report.gallery import GalleryItem, Panel, save_gallery
from dpseval.report.page import PAGE_LIMIT_BYTES, draw_report, write_page
from dpseval.report.sections import flatten_metadata, list_texts, verdict_rows, worst_cases
from dpseval.report.stored import read_report
from dpseval.report.verdicts import Baseline, SetKey, Verdict


class Elements(HTMLParser):
    """All start tags with their attributes, and the text inside scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.inside = tag

    def handle_data(self, data: str) -> None:
        if self.inside == "script" and data.strip():
            self.scripts.append(data)


@pytest.fixture(scope="module")
def page(drawn_report: Path) -> str:
    return (drawn_report / "index.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def elements(page: str) -> Elements:
    return Elements(page)


def test_one_file_without_any_outside_address(page: str, elements: Elements) -> None:
    assert len(page.encode()) < PAGE_LIMIT_BYTES
    for tag, attributes in elements.tags:
        for name in ("src", "href", "srcset", "action", "data", "poster", "xlink:href"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")), (tag, name, value)
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
    assert "url(" not in page
    assert "@import" not in page
    assert "http:" not in page
    assert "https:" not in page


def test_only_our_script_may_run(page: str, elements: Elements) -> None:
    assert len(elements.scripts) == 1
    digest = base64.b64encode(hashlib.sha256(elements.scripts[0].encode()).digest()).decode()
    policy = next(a["content"] for tag, a in elements.tags if tag == "meta" and "content" in a and "http-equiv" in a)
    assert policy is not None
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_hostile_names_are_text(page: str, elements: Elements) -> None:
    assert "&lt;script&gt;alert(&#34;id&#34;)&lt;/script&gt;" in page
    assert page.count("<script>") == 1
    assert "gated_conv &amp; &lt;b&gt;co&lt;/b&gt;" in page
    assert "<b>co</b>" not in page


def test_every_picture_has_words(elements: Elements) -> None:
    pictures = [attributes for tag, attributes in elements.tags if tag == "img"]
    assert len(pictures) == 5 * 10
    assert all(attributes.get("alt") for attributes in pictures)
    assert pictures[0]["alt"] == 'input of <script>alert("id")</script>'
    drawings = [a for tag, a in elements.tags if tag == "svg"]
    assert all(a.get("aria-label") or a.get("aria-hidden") == "true" for a in drawings)


def test_the_sections_are_there(page: str) -> None:
    for anchor in ("scores", "missing", "curves", "trade", "bins", "tests", "gallery", "worst", "provenance"):
        assert f'id="{anchor}"' in page
    assert "★ <b>dps 1</b> is best in PSNR, HEDPS" in page
    assert "≈ No single set, a method at a level, is best in F drawn" in page
    assert "<b>FID, KID, LPIPS alex</b>: weights missing: <code>dps weights get inception-fid</code>" in page
    assert page.count("Not measured, and why") == page.count("FID, KID, LPIPS alex") == 1
    assert "FID ↓" not in page
    assert page.count("<details") == page.count("</details>") > 10
    assert "<details open" not in page
    assert "versions.torch</td><td><code>2.15.0" in page
    assert "prep</td><td><code>pytorch-fid" in page
    assert "Worst in HEDPS" in page
    assert "Worst in PSNR" in page
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page


def test_best_is_bold_and_starred(page: str) -> None:
    starred = re.findall(r'<td class="number best"[^>]*><b>([\d.]+)</b> <span class="mark"[^>]*>★</span>', page)
    assert len(starred) == 4  # hedps and psnr, over the whole image and inside the hole


def test_drawn_again_it_is_the_same(drawn_report: Path, page: str) -> None:
    before = {path.name: path.read_bytes() for path in drawn_report.iterdir() if path.is_file()}
    write_page(drawn_report)
    draw_report(drawn_report)
    assert {path.name: path.read_bytes() for path in drawn_report.iterdir() if path.is_file()} == before


def test_too_many_pictures_are_left_out_and_said(own_report: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dpseval.report.page.PAGE_LIMIT_BYTES", 420_000)
    path = write_page(own_report)
    assert path.stat().st_size < 420_000
    assert re.search(r"\d more rows are in <code>gallery/</code>", path.read_text())


def test_the_largest_gallery_stays_below_the_limit(own_report: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (80, 208, 208, 3)).astype(np.uint8)
    items = [GalleryItem(f"n{i}", "sample", 0.2, [Panel("x", p) for p in noise[i * 8 : i * 8 + 8]]) for i in range(10)]
    save_gallery(own_report, items)
    path = write_page(own_report)
    assert PAGE_LIMIT_BYTES / 3 < path.stat().st_size < PAGE_LIMIT_BYTES


def test_a_report_without_pictures_or_tests(own_report: Path) -> None:
    (own_report / "gallery" / "gallery.json").unlink()
    (own_report / "scores.json").write_text("{}")
    text = draw_report(own_report).read_text()
    assert "This report has no pictures." in text
    assert "There are no paired tests" in text
    assert 'class="number best"' not in text


def test_a_lost_picture_leaves_a_place(own_report: Path) -> None:
    next((own_report / "gallery").glob("*.jpg")).unlink()
    assert "picture missing" in draw_report(own_report).read_text()


def test_lone_surrogates_and_control_characters_do_no_harm(own_report: Path) -> None:
    (own_report / "run.json").write_text('{"x\\ud800": "a\\u0000b\\u202e", "warnings": ["\\udfff"]}')
    text = draw_report(own_report).read_text(encoding="utf-8")
    assert "a\ufffdb\ufffd" in text


def test_worst_cases_by_hand(made_report: Path) -> None:
    per_image = read_report(made_report).per_image
    tables = {table.metric: table for table in worst_cases(per_image, 3)}
    hole = per_image[per_image["region"] == "hole"]
    lowest = hole.loc[hole["psnr"].idxmin()]
    assert tables["psnr"].rows[0][0] == lowest["id"]
    assert tables["psnr"].rows[0][2] == f"{lowest['psnr']:.2f}"
    highest = hole.loc[hole["hedps"].idxmax()]
    assert tables["hedps"].rows[0][0] == highest["id"]
    assert "lpips_alex" not in tables
    assert all(len(table.rows) == 3 for table in tables.values())


def test_facts_are_flat_and_cut() -> None:
    rows = dict(flatten_metadata({"a": {"b": [1, 2], "c": {}}, "text": "x" * 5000, "scores": [1]}, ("scores",)))
    assert rows["a.b"] == "1 2"
    assert rows["text"].endswith("(5,000 characters in the file)")
    assert "scores" not in rows
    many = flatten_metadata({str(number): number for number in range(1000)})
    assert many[-1] == ("…", "600 more values in the file")
    assert list_texts({"findings": ["x"] * 60}, "findings")[-1] == "10 more in run.json"
    assert list_texts({"findings": 3}, "findings") == []


def test_a_damaged_file_leaves_the_old_page(own_report: Path) -> None:
    path = draw_report(own_report)
    before = path.read_bytes()
    (own_report / "scores.csv").write_text("x")
    with pytest.raises(MissingError):
        draw_report(own_report)
    assert path.read_bytes() == before
    assert json.loads((own_report / "scores.json").read_text())


def test_a_single_photo_has_no_interval() -> None:
    baseline = Baseline(SetKey("b", None), 1, 9.4, math.nan, math.nan, 1.0, 1.0, False)
    row = verdict_rows([Verdict("psnr", "hole", SetKey("a", None), (baseline,))])[0]
    assert row.baselines[0][:3] == ("b", "+9.400", "–")
