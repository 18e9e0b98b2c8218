"""Bar 6: the page opened from disk in headless Chromium; no request leaves, no console error, no sideways scroll."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# What the browser asks of its maker by itself, whatever page is open; no host can be found in these tests.
OWN_HOSTS = re.compile(r"https?://([\w-]+\.)*(google|googleapis|gvt1|gstatic)\.com[/:]")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (Debian package chromium)")


@dataclass(frozen=True)
class Visit:
    """What the browser did with a page."""

    dom: str
    console: list[str]
    addresses: list[str]


def visit(path: Path, folder: Path, width_px: int = 1280) -> Visit:
    assert CHROMIUM is not None
    log = folder / "net.json"
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={folder / 'profile'}",
            f"--window-size={width_px},900",
            "--enable-logging=stderr",
            f"--log-net-log={log}",
            "--dump-dom",
            path.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    events = json.loads(log.read_text())["events"]
    found = {str(event.get("params", {}).get("url", "")) for event in events}
    addresses = [url for url in found if url.startswith(("http", "ws", "ftp")) and not OWN_HOSTS.match(url)]
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    return Visit(done.stdout, console, sorted(addresses))


def test_nothing_leaves_and_nothing_fails(drawn_report: Path, tmp_path: Path) -> None:
    seen = visit(drawn_report / "index.html", tmp_path)
    assert "Provenance" in seen.dom
    assert seen.dom.count('class="sort"') > 30  # the script ran under the page's policy
    assert seen.addresses == []
    assert seen.console == []


def test_the_check_can_fail(tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text('<img src="http://example.org/x.png"><script>missing_function()</script>')
    seen = visit(page, tmp_path)
    assert seen.addresses == ["http://example.org/x.png"]
    assert any("missing_function" in line for line in seen.console)


PROBE = """<script>
document.documentElement.style.width = "390px";
const wide = [...document.querySelectorAll("body *")].filter((part) => !part.closest(".scroll, .strip, svg")
  && part.getBoundingClientRect().right > 390.5).map((part) => part.tagName + "." + part.className);
const boxes = [...document.querySelectorAll(".scroll")].filter((box) => box.getBoundingClientRect().right > 390.5);
const table = document.querySelector("table.sortable");
const values = () => [...table.tBodies[0].rows].map((row) => row.cells[7].dataset.value).join(" ");
const before = values();
const button = table.tHead.rows[1].cells[7].querySelector(".sort");
button.click(); const up = values();
button.click(); const down = values();
button.click(); const back = values();
document.body.dataset.probe = JSON.stringify({ wide, boxes: boxes.length, before, up, down, back });
</script></body>"""


def test_on_a_phone_the_body_never_scrolls_sideways_and_heads_sort(drawn_report: Path, tmp_path: Path) -> None:
    text = (drawn_report / "index.html").read_text()
    probed = tmp_path / "probe.html"
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    probed.write_text(text.replace("</body>", PROBE))
    found = re.search(r'data-probe="([^"]*)"', visit(probed, tmp_path, 500).dom)
    assert found
    probe = json.loads(found[1].replace("&quot;", '"'))
    assert probe["wide"] == []
    assert probe["boxes"] == 0
    rising = [float(value) for value in probe["up"].split()]
    assert len(rising) == 11
    assert rising == sorted(rising)
    assert probe["down"].split() == probe["up"].split()[::-1]
    assert probe["back"] == probe["before"] != probe["up"]


@pytest.mark.parametrize(("width_px", "height_px"), [(1440, 900), (820, 1180), (390, 844)])
def test_the_answer_is_in_the_first_screen(drawn_report: Path, width_px: int, height_px: int) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width_px, "height": height_px})
        page.goto((drawn_report / "index.html").as_uri())
        whole = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
        assert whole[0] <= width_px
        assert whole[1] < 3000
        for part in (".answer", ".lead .chart"):
            box = page.locator(part).first.bounding_box()
            assert box["y"] + box["height"] < height_px
        table = page.locator(".scroll").first
        if width_px == 1440:
            assert table.evaluate("box => box.scrollWidth <= box.clientWidth")
        page.locator("#gallery > summary").click()
        page.locator("#gallery .zoom").nth(3).click()
        large = page.locator("#large")
        assert large.locator("b").text_content().startswith("dps 0 of")
        assert large.locator("img").bounding_box()["height"] > 300
        page.keyboard.press("ArrowRight")
        assert large.locator("b").text_content().startswith("dps 0.25 of")
        page.keyboard.press("ArrowDown")
        assert large.locator("b").text_content() == "dps 0.25 of NA, hedps 0.123"
        page.keyboard.press("Escape")
        assert not large.is_visible()
        page.goto((drawn_report / "index.html").as_uri() + "#worst")
        assert page.locator("#worst").get_attribute("open") is not None
        browser.close()


CONTRAST = """(selector) => {
  const lightness = (text) => text.match(/[\\d.]+/g).slice(0, 3).map((value) => value / 255)
    .map((value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
    .reduce((sum, value, at) => sum + value * [0.2126, 0.7152, 0.0722][at], 0);
  const ink = lightness(getComputedStyle(document.querySelector(selector)).color);
  const paper = lightness(getComputedStyle(document.body).backgroundColor);
  return [paper, (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05)];
}"""


def test_the_answer_can_be_read_in_the_dark_and_on_the_first_printed_page(drawn_report: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        # A4 on its side inside its margins, as the page asks for.
        page = browser.new_page(viewport={"width": 1031, "height": 702}, color_scheme="dark")
        page.goto((drawn_report / "index.html").as_uri())
        for part in (".answer", "header .soft, main .soft"):
            paper, contrast = page.evaluate(CONTRAST, part)
            assert paper < 0.1
            assert contrast >= 4.5
        page.emulate_media(media="print")
        paper, contrast = page.evaluate(CONTRAST, ".answer")
        assert paper > 0.9
        assert contrast >= 7
        for part in (".answer", ".lead .chart"):
            box = page.locator(part).first.bounding_box()
            assert box["y"] + box["height"] < 702
        assert page.evaluate("document.documentElement.scrollWidth") <= 1031
        browser.close()
