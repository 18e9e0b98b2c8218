"""The page in Debian's Chromium: painted, run, saved, opened again, with nothing but 127.0.0.1 on the line.

DPS_APP_SPEED_WEIGHTS=DIR measures the page with these weights and writes reports/benchmarks/app_speed.json.
"""

from __future__ import annotations

import io
import json
import os
import platform
import runpy
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("gradio", reason="the extra `app` is not installed")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from dpsdata.images.codec import encode_png, read_grey, read_photo  # noqa: E402
from dpsdata.runtime.command_line import run_app  # noqa: E402
from dpsdata.samples import crop_astronaut  # noqa: E402
from models.app.engine import Engine  # noqa: E402
from models.app.serving import launch_page, make_page, quiet_gradio  # noqa: E402
from models.app.strokes import paint_layer, read_layers  # noqa: E402
from models.cli import app  # noqa: E402

CHROMIUM = Path("/usr/bin/chromium")
ROOT = Path(__file__).resolve().parents[3]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.is_file(), reason="Debian's chromium is not at /usr/bin/chromium"),
]
shared = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "tiny_weights.py")))
samples = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "method_samples.py")))
WAIT_MS = 45_000
Spot = tuple[float, float]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    shared.write_tiny_weights(folder)
    return folder


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Path], str]]:
    """Starts the page in this process: weights to its address."""
    kept = dict(os.environ)
    quiet_gradio(tmp_path_factory.mktemp("gradio"))
    pages = []

    def start(weights: Path) -> str:
        page = make_page(str(weights), tmp_path_factory.mktemp("downloads"))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        launch_page(page, port)
        pages.append(page)
        return f"http://127.0.0.1:{port}"

    yield start
    for page in pages:
        page.close(verbose=False)
    os.environ.clear()
    os.environ.update(kept)


@pytest.fixture(scope="module")
def address(serve: Callable[[Path], str], weights: Path) -> str:
    return serve(weights)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield started
        started.close()


class Tab:
    """One tab, and what it did wrong."""

    def __init__(self, browser: Any, address: str, width: int = 1280, height: int = 1000) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": height}, accept_downloads=True)
        self.page = self.context.new_page()
        self.page.set_default_timeout(WAIT_MS)
        self.hosts: set[str] = set()
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self._note(request.url))
        self.page.on("websocket", lambda opened: self._note(opened.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda line: self.complaints.append(line.text) if line.type == "error" else None)
        self.page.goto(address)
        self.page.wait_for_selector("#dps-sketch canvas", state="attached")

    def _note(self, url: str) -> None:
        if not url.startswith(("data:", "blob:")):
            self.hosts.add(url.split("/")[2].split(":")[0])

    def upload(self, part: str, name: str, data: bytes) -> None:
        box = {"photo": "#dps-photo input[type=file]"}.get(part, f'[data-testid^="{part}"]')
        self.page.set_input_files(box, {"name": name, "mimeType": "application/octet-stream", "buffer": data})

    def open(self, name: str, data: bytes) -> None:
        opened = "(document.querySelector('#dps-sketch [data-layer]').dataset.opened || '')"
        before = self.page.evaluate(opened)
        self.upload("photo", name, data)
        self.wait(f"{opened} !== '{before}'")
        for role in ("mask", "sketch"):
            self.page.click(f"#dps-{role} [data-do=fit]")

    def wait(self, condition: str) -> None:
        self.page.wait_for_function(condition)

    def drag(self, role: str, spots: list[Spot]) -> None:
        """Draw over the canvas, in shares of its width and height."""
        canvas = self.page.locator(f"#dps-{role} canvas")
        canvas.scroll_into_view_if_needed()
        place = canvas.bounding_box()
        at = [(place["x"] + x * place["width"], place["y"] + y * place["height"]) for x, y in spots]
        self.page.mouse.move(*at[0])
        self.page.mouse.down()
        for spot in at[1:]:
            self.page.mouse.move(*spot, steps=5)
        self.page.mouse.up()

    def drawing(self) -> str:
        return str(self.page.evaluate("window.dps.drawing()"))

    def steps(self, role: str) -> Any:
        return json.loads(self.drawing())[role]

    def levels(self) -> None:
        old = "document.querySelectorAll('.dps-pair, .dps-error').forEach((part) => part.setAttribute('data-old', ''))"
        self.page.evaluate(old)
        self.page.click("#dps-show")
        self.page.wait_for_selector(".dps-pair:not([data-old]), .dps-error:not([data-old])")
        assert self.page.locator(".dps-error").count() == 0, self.error()
        self.page.wait_for_selector("#dps-show:not([disabled])")

    def choose(self, method: str, button: str) -> None:
        self.page.click("#dps-method input")
        self.page.get_by_role("option", name=method, exact=True).click()
        self.page.wait_for_selector(f"#dps-show:has-text('{button}')")

    def slide(self, level: float) -> None:
        slider = self.page.locator("#dps-level input")
        slider.fill(str(level))
        slider.dispatch_event("change")
        self.page.wait_for_selector(f'#dps-result img[alt="After, level {level:g}"]')

    def download(self, button: str) -> bytes:
        with self.page.expect_download() as caught:
            self.page.click(button)
        return Path(caught.value.path()).read_bytes()

    def error(self) -> str:
        return str(self.page.locator("#dps-status .dps-error").inner_text())

    def close(self) -> None:
        """Every tab of every test: one host, no complaint."""
        self.context.close()
        assert self.hosts == {"127.0.0.1"}
        assert self.complaints == []


@pytest.fixture(scope="module")
def tab(browser: Any, address: str) -> Iterator[Tab]:
    opened = Tab(browser, address)
    yield opened
    opened.close()


def noise_png(height: int = 240, width: int = 320) -> bytes:
    return encode_png(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_paint_run_undo_save_and_open_again(
    tab: Tab, browser: Any, address: str, weights: Path, tmp_path: Path
) -> None:
    tab.open("me.png", noise_png())
    tab.drag("mask", [(0.4, 0.4), (0.55, 0.45), (0.6, 0.6)])
    painted = tab.steps("mask")
    assert tab.steps("sketch") == []
    tab.drag("sketch", [(0.42, 0.42), (0.5, 0.5), (0.58, 0.55)])
    drawn = tab.drawing()
    assert tab.steps("mask") == painted
    assert len(tab.steps("sketch")) == 1

    tab.page.click("#dps-sketch [data-do=undo]")
    assert tab.steps("sketch") == []
    assert tab.steps("mask") == painted
    tab.page.click("#dps-sketch [data-do=redo]")
    tab.page.locator("#dps-mask canvas").focus()
    tab.page.keyboard.press("Control+z")
    assert tab.steps("mask") == []
    tab.page.keyboard.press("Control+Shift+z")
    assert tab.drawing() == drawn

    layers = read_layers(drawn)
    for role, steps in (("mask", layers.mask), ("sketch", layers.sketch)):
        data = tab.download(f"#dps-{role}-get")
        (tmp_path / f"{role}.png").write_bytes(data)
        marks = paint_layer(steps, 240, 320, {}) == 1
        assert np.array_equal(read_grey(data) > 127, marks if role == "mask" else ~marks)
        # What is seen on the canvas is what is run.
        seen = tab.page.evaluate(
            f"""(() => {{ const layer = window.dps.editors.{role}.layer;
            const small = Object.assign(document.createElement('canvas'), {{ width: 320, height: 240 }});
            const pen = small.getContext('2d'); pen.drawImage(layer, 0, 0, 320, 240);
            return Array.from(pen.getImageData(0, 0, 320, 240).data.filter((_, at) => at % 4 === 3)); }})()"""
        )
        shown = np.array(seen).reshape(240, 320) > 127
        for inner, outer in ((shown, marks), (marks, shown)):  # to a pixel, as a browser smooths its borders
            wide = cv2.dilate(outer.astype(np.uint8), np.ones((3, 3), np.uint8)) == 1
            assert not (inner & ~wide).any()

    tab.levels()
    assert tab.page.locator("#dps-strip img").count() == 5
    tab.slide(0.3)
    tab.page.check("#dps-refined input")
    tab.page.wait_for_selector(".dps-refined img")
    saved = tab.download("#dps-save-photo")
    packed = tab.download("#dps-save-edit")
    (tmp_path / "me.png").write_bytes(noise_png())
    words = [f"{tmp_path}/me.png", "--mask", f"{tmp_path}/mask.png", "--sketch", f"{tmp_path}/sketch.png"]
    words += ["--weights", str(weights), "--box", "40,0,240,240", "--levels", "0.3", "-o", str(tmp_path / "cli")]
    assert run_app(app, ["edit", *words]) == 0
    assert (tmp_path / "cli" / "l0.3.png").read_bytes() == saved

    other = Tab(browser, address)
    other.upload("Open a saved edit", "edit.zip", packed)
    other.wait("JSON.parse(window.dps.drawing()).sketch.length === 1")
    other.levels()
    assert other.page.locator('#dps-result img[alt="After, level 0.3"]').count() == 1
    assert other.download("#dps-save-photo") == saved
    other.close()


def test_pens_eraser_square_and_uploads(tab: Tab) -> None:
    tab.open("a.png", noise_png())
    tab.drag("mask", [(0.3, 0.3), (0.6, 0.3)])
    full = paint_layer(read_layers(tab.drawing()).mask, 240, 320, {}).sum()
    tab.page.click("#dps-mask [data-do=eraser]")
    tab.drag("mask", [(0.5, 0.2), (0.5, 0.4)])
    assert 0 < paint_layer(read_layers(tab.drawing()).mask, 240, 320, {}).sum() < full
    assert json.loads(tab.drawing())["box"] is None
    tab.page.click("#dps-mask [data-do=square]")
    tab.drag("mask", [(0.5, 0.5), (0.4, 0.6)])
    assert json.loads(tab.drawing())["box"] == pytest.approx([8, 24, 240], abs=2)
    assert len(tab.steps("mask")) == 2
    tab.page.click("#dps-mask [data-do=clear]")
    assert tab.steps("mask")[-1] == {"kind": "clear"}
    tab.page.click("#dps-mask [data-do=undo]")
    assert len(tab.steps("mask")) == 2

    sketch = np.full((240, 320), 255, np.uint8)
    sketch[100:104, 120:200] = 0
    tab.upload("Upload sketch.png", "sketch.png", encode_png(sketch))
    tab.wait("JSON.parse(window.dps.drawing()).sketch.length === 1")
    assert len(tab.steps("mask")) == 2
    assert np.array_equal(read_grey(tab.download("#dps-sketch-get")), sketch)
    tab.upload("Upload sketch.png", "small.png", encode_png(sketch[:50]))
    tab.page.wait_for_selector("#dps-status .dps-error")
    assert "has 320 x 50 px, but the photo has 320 x 240 px" in tab.error()
    assert len(tab.steps("sketch")) == 1
    tab.levels()


def test_a_large_turned_photo_comes_back_upright_and_whole(tab: Tab) -> None:
    slope = np.add.outer(np.arange(4000), np.arange(3000)) // 28
    stored = np.stack([slope, slope[::-1], slope[:, ::-1]], axis=2).astype(np.uint8)
    exif = Image.Exif()
    exif[274] = 6
    packed = io.BytesIO()
    Image.fromarray(stored).save(packed, "JPEG", exif=exif, quality=90)
    upright = read_photo(packed.getvalue())
    assert upright.shape == (3000, 4000, 3)
    tab.open("turned.jpg", packed.getvalue())
    tab.drag("mask", [(0.5, 0.5), (0.55, 0.55)])
    tab.drag("sketch", [(0.5, 0.5), (0.54, 0.54)])
    tab.levels()
    result = read_photo(tab.download("#dps-save-photo"))
    assert result.shape == (3000, 4000, 3)
    known = paint_layer(read_layers(tab.drawing()).mask, 3000, 4000, {}) == 0
    assert np.array_equal(result[known], upright[known])
    assert not np.array_equal(result, upright)


def test_a_rival_gives_one_result_and_the_way_back(
    serve: Callable[[Path], str], browser: Any, weights: Path, tmp_path: Path
) -> None:
    shutil.copytree(weights, tmp_path / "both")
    samples.write_rivals(tmp_path / "both")
    tab = Tab(browser, serve(tmp_path / "both"))
    tab.open("me.png", noise_png())
    tab.drag("mask", [(0.4, 0.4), (0.6, 0.5)])
    tab.drag("sketch", [(0.42, 0.42), (0.58, 0.5)])
    tab.levels()
    first = tab.download("#dps-save-photo")

    tab.choose("SC-FEGAN, no level", "Show result")
    assert not tab.page.locator("#dps-result").is_visible()
    tab.levels()
    assert tab.page.locator('#dps-result img[alt="After, SC-FEGAN"]').count() == 1
    assert tab.page.locator("#dps-strip img").count() == 0
    assert tab.page.locator("#dps-level input").count() == 0
    assert not tab.page.locator("#dps-refined").is_visible()
    assert "SC-FEGAN has no level, so there is one result." in tab.page.inner_text(".dps-results")
    if "DPS_APP_PICTURES" in os.environ:
        tab.page.screenshot(path=Path(os.environ["DPS_APP_PICTURES"]) / "rival.png", full_page=True)
    photo, result = read_photo(noise_png()), read_photo(tab.download("#dps-save-photo"))
    known = paint_layer(read_layers(tab.drawing()).mask, 240, 320, {}) == 0
    assert np.array_equal(result[known], photo[known])
    assert not np.array_equal(result, photo)
    tab.page.click("#dps-save-edit")
    tab.page.wait_for_selector("#dps-status .dps-error")
    assert "Press Save full-size PNG" in tab.error()

    tab.choose("Deep Plastic Surgery", "Show levels")
    tab.levels()
    assert tab.page.locator("#dps-strip img").count() == 5
    assert tab.download("#dps-save-photo") == first
    tab.slide(0.3)
    tab.page.click("#dps-strip [data-level='1']")
    tab.page.wait_for_selector('#dps-result img[alt="After, level 1"]')
    assert tab.page.locator("#dps-refined").is_visible()
    tab.close()


def test_wrong_files_and_two_tabs(tab: Tab, browser: Any, address: str) -> None:
    tab.upload("photo", "diary.txt", b"dear diary")
    tab.wait("document.querySelector('#dps-status .dps-error')?.innerText.includes('diary.txt')")
    assert "Choose a JPEG or PNG photo." in tab.error()
    tab.open("a.png", noise_png())
    other = Tab(browser, address)
    other.page.click("#dps-show")
    other.page.wait_for_selector("#dps-status .dps-error")
    assert other.error() == "Choose a photo first, or take the sample."
    other.close()
    tab.page.click("#dps-show")
    tab.page.wait_for_selector("#dps-status .dps-error")
    assert "The hole is empty." in tab.error()


def test_a_tab_closed_in_mid_run(browser: Any, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    levels: list[float] = []
    edit = Engine.edit

    def slow(self: Engine, *words: Any) -> Any:
        levels.append(words[4])
        time.sleep(0.5)
        return edit(self, *words)

    monkeypatch.setattr(Engine, "edit", slow)
    first = Tab(browser, address)
    first.open("a.png", noise_png())
    first.drag("mask", [(0.4, 0.4), (0.6, 0.6)])
    first.page.click("#dps-show")
    first.page.wait_for_selector("#dps-strip .dps-wait")
    first.close()
    monkeypatch.setattr(Engine, "edit", edit)
    second = Tab(browser, address, width=390, height=844)
    second.open("a.png", noise_png())
    second.drag("mask", [(0.4, 0.4), (0.6, 0.6)])
    second.levels()
    assert second.page.evaluate("document.documentElement.scrollWidth") == 390
    second.close()
    assert len(levels) < 5, "the run of a closed tab goes on to its end"


@pytest.mark.skipif("DPS_APP_SPEED_WEIGHTS" not in os.environ, reason="DPS_APP_SPEED_WEIGHTS names no weights")
def test_first_levels_within_3_s_and_a_slider_move_within_1_5_s(serve: Callable[[Path], str], browser: Any) -> None:
    weights = Path(os.environ["DPS_APP_SPEED_WEIGHTS"])
    kept = torch.get_num_threads()
    torch.set_num_threads(2)  # of the server's threads too, as they are started after this
    tab = Tab(browser, serve(weights))
    tab.open("face.png", encode_png(crop_astronaut()))
    tab.drag("mask", [(0.35, 0.7), (0.65, 0.7)])
    tab.drag("sketch", [(0.4, 0.7), (0.6, 0.68)])
    start = time.perf_counter()
    tab.levels()
    first_s = time.perf_counter() - start
    moves = []
    for level in (0.1, 0.33, 0.6, 0.9):
        start = time.perf_counter()
        tab.slide(level)
        moves.append(time.perf_counter() - start)
    tab.close()
    torch.set_num_threads(kept)
    measured = {
        "what": "seconds from a press in Chromium to pictures on the page, photo of 256 x 256 px",
        "weights": weights.parent.name if weights.name == "weights" else weights.name,
        "resolution_px": Engine(str(weights)).resolution,
        "first_levels_s": round(first_s, 3),
        "slider_moves_s": [round(value, 3) for value in moves],
        "bars": {"first_levels_s": 3.0, "slider_move_s": 1.5},
        "cpu_count": os.cpu_count(),
        "load_average": [round(value, 2) for value in os.getloadavg()],
        "torch": torch.__version__,
        "machine": platform.machine(),
    }
    report = ROOT / "reports" / "benchmarks" / "app_speed.json"
    report.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
    assert first_s <= 3.0
    assert max(moves) <= 1.5
