"""The page in Debian's Chromium: painted, run, saved, opened again, with nothing but 127.0.0.1 on the line."""

from __future__ import annotations

import io
import json
import runpy
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

uvicorn = pytest.importorskip("uvicorn", reason="the extra `app` is not installed")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from dpsdata.images.codec import encode_png, read_grey, read_photo  # noqa: E402
from dpsdata.runtime.command_line import run_app  # noqa: E402
from models.app.server import Studio, make_server  # noqa: E402
from models.app.serving import load_engines  # noqa: E402
from models.app.strokes import paint_layer, read_layers  # noqa: E402
from models.cli import app  # noqa: E402

CHROMIUM = Path("/usr/bin/chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.is_file(), reason="Debian's chromium is not at /usr/bin/chromium"),
]
shared = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "tiny_weights.py")))
samples = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "method_samples.py")))
Spot = tuple[float, float]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    shared.write_tiny_weights(folder)
    samples.write_baselines(folder)
    return folder


class Served:
    """The page on a port, in this process; it can be stopped and started again."""

    def __init__(self, weights: Path) -> None:
        self.engines = load_engines(str(weights))
        self.port = 0
        self.start()

    def start(self) -> None:
        studio = Studio(lambda: self.engines)
        studio.start()
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        config = uvicorn.Config(make_server(studio), log_level="warning", ws="none", lifespan="off")
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [listener]}, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(20)


@pytest.fixture(scope="module")
def served(weights: Path) -> Iterator[Served]:
    running = Served(weights)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield started
        started.close()


class Tab:
    """One tab, and what it did wrong."""

    def __init__(self, browser: Any, served: Served, width: int = 1280, height: int = 900, **options: Any) -> None:
        # The page's own policy forbids the eval that Playwright's wait_for_function needs.
        self.context = browser.new_context(viewport={"width": width, "height": height}, bypass_csp=True, **options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(60_000)
        self.hosts: set[str] = set()
        self.complaints: list[str] = []
        self.address = f"http://127.0.0.1:{served.port}/"
        self.page.on("request", lambda request: self._note(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda line: self.complaints.append(line.text) if line.type == "error" else None)
        self.load()

    def load(self) -> None:
        self.page.goto(self.address)
        self.page.wait_for_selector("body[data-ready]")

    def _note(self, url: str) -> None:
        if not url.startswith(("data:", "blob:")):
            self.hosts.add(url.split("/")[2].split(":")[0])

    def open(self, name: str, data: bytes) -> None:
        self.page.evaluate("document.getElementById('stage').classList.remove('open')")
        self.page.set_input_files("#file", {"name": name, "mimeType": "application/octet-stream", "buffer": data})
        self.page.wait_for_selector("#stage.open")

    def spot(self, x: float, y: float) -> Spot:
        """Where a share of the photo's width and height lies in the window."""
        place = self.page.locator("#canvas").bounding_box()
        view = self.page.evaluate(
            "({...dps.surface.view, w: dps.surface.drawing.width, h: dps.surface.drawing.height})"
        )
        left, top = place["x"] + view["x"], place["y"] + view["y"]
        return left + x * view["w"] * view["scale"], top + y * view["h"] * view["scale"]

    def drag(self, spots: list[Spot], button: str = "left") -> None:
        count = len(self.steps("mask")) + len(self.steps("sketch"))
        self.page.mouse.move(*self.spot(*spots[0]))
        self.page.mouse.down(button=button)
        for spot in spots[1:]:
            self.page.mouse.move(*self.spot(*spot), steps=4)
        self.page.mouse.up(button=button)
        self.page.wait_for_function(f"dps.surface.drawing.entries.flatMap((one) => one.steps).length > {count}")

    def drawing(self) -> str:
        return str(self.page.evaluate("dps.surface.drawing.text()"))

    def steps(self, role: str) -> Any:
        return json.loads(self.drawing())[role]

    def wait_result(self) -> None:
        self.page.wait_for_function("document.body.dataset.shown === dps.key() && dps.surface.result")

    def wait_levels(self) -> None:
        self.page.wait_for_function("document.body.dataset.levels === dps.key()")

    def slide(self, level: float) -> None:
        self.page.locator("#level").fill(str(level))
        self.wait_result()

    def save(self, kind: str) -> bytes:
        with self.page.expect_download() as caught:
            self.page.click(f"[data-save={kind}]")
        return Path(caught.value.path()).read_bytes()

    def close(self) -> None:
        """Every tab of every test: one host, no complaint."""
        self.context.close()
        assert self.hosts == {"127.0.0.1"}
        assert self.complaints == []


@pytest.fixture
def open_tab(browser: Any, served: Served) -> Iterator[Callable[..., Tab]]:
    tabs: list[Tab] = []

    def opens(**options: Any) -> Tab:
        tabs.append(Tab(browser, served, **options))
        return tabs[-1]

    yield opens
    for tab in tabs:
        tab.close()


def noise_png(height: int = 240, width: int = 320) -> bytes:
    return encode_png(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_paint_undo_live_save_reload_and_open_again(
    open_tab: Callable[..., Tab], weights: Path, tmp_path: Path
) -> None:
    tab = open_tab()
    tab.open("me.png", noise_png())
    tab.drag([(0.4, 0.4), (0.55, 0.45), (0.6, 0.6)])
    painted = tab.steps("mask")
    assert tab.steps("sketch") == []
    tab.page.keyboard.press("n")
    tab.drag([(0.42, 0.42), (0.5, 0.5), (0.58, 0.55)])
    drawn = tab.drawing()
    assert (tab.steps("mask"), len(tab.steps("sketch"))) == (painted, 1)
    tab.page.keyboard.press("Control+z")
    assert tab.steps("sketch") == []
    tab.page.keyboard.press("Control+z")
    assert tab.steps("mask") == []
    tab.page.keyboard.press("Control+y")
    tab.page.keyboard.press("Control+Shift+z")
    assert tab.drawing() == drawn
    tab.wait_levels()
    assert tab.page.locator("#levels button:not(.old)").count() == 5

    layers = read_layers(drawn)
    for role, steps in (("mask", layers.mask), ("sketch", layers.sketch)):
        data = tab.save(role)
        (tmp_path / f"{role}.png").write_bytes(data)
        marks = paint_layer(steps, 240, 320, {}) == 1
        assert np.array_equal(read_grey(data) > 127, marks if role == "mask" else ~marks)
    tab.slide(0.3)
    saved = tab.save("png")
    packed = tab.save("zip")
    assert read_photo(tab.save("jpeg")).shape == (240, 320, 3)
    (tmp_path / "me.png").write_bytes(noise_png())
    words = [f"{tmp_path}/me.png", "--mask", f"{tmp_path}/mask.png", "--sketch", f"{tmp_path}/sketch.png"]
    words += ["--weights", str(weights), "--box", "40,0,240,240", "--levels", "0.3", "-o", str(tmp_path / "cli")]
    assert run_app(app, ["edit", *words, "--blend", "poisson", "--grain"]) == 0
    assert (tmp_path / "cli" / "l0.3.png").read_bytes() == saved
    tab.page.check("#exact")
    tab.wait_result()
    exact = tab.save("png")
    assert run_app(app, ["edit", *words]) == 0
    assert (tmp_path / "cli" / "l0.3.png").read_bytes() == exact != saved
    tab.page.uncheck("#exact")
    tab.wait_result()

    tab.page.wait_for_function("dps.isDirty === false")
    tab.load()
    tab.page.click("#resume")
    tab.page.wait_for_selector("#stage.open")
    tab.wait_result()
    assert tab.drawing() == drawn
    assert tab.save("png") == saved
    tab.open("edit.zip", packed)
    tab.wait_result()
    assert tab.save("png") == saved


def test_mirror_bucket_eraser_history_and_going_on(open_tab: Callable[..., Tab]) -> None:
    tab = open_tab()
    tab.open("a.png", noise_png(256, 256))
    tab.drag([(0.4, 0.4), (0.6, 0.4), (0.6, 0.6), (0.4, 0.6), (0.4, 0.4)])
    outline = paint_layer(read_layers(tab.drawing()).mask, 256, 256, {}).sum()
    tab.page.keyboard.press("g")
    tab.page.mouse.click(*tab.spot(0.5, 0.5))
    tab.page.wait_for_function("dps.surface.drawing.entries.length === 2")
    filled = paint_layer(read_layers(tab.drawing()).mask, 256, 256, {}).sum()
    assert filled > outline
    tab.page.mouse.click(*tab.spot(0.05, 0.05))
    tab.page.wait_for_selector("#message .error")
    assert "not closed" in tab.page.inner_text("#message")
    tab.page.keyboard.press("b")
    tab.drag([(0.4, 0.5), (0.5, 0.5)], button="right")
    assert paint_layer(read_layers(tab.drawing()).mask, 256, 256, {}).sum() < filled
    tab.page.check("#mirror")
    tab.page.keyboard.press("n")
    tab.drag([(0.42, 0.42), (0.45, 0.5)])
    one, two = (step["points"] for step in tab.steps("sketch"))
    axis = tab.page.evaluate("dps.surface.axis")
    assert [2 * axis - x for x in one[::2]] == pytest.approx(two[::2])
    tab.wait_result()
    before = tab.drawing()
    tab.page.click("[data-do=undo]")
    assert tab.steps("sketch") == []
    drawn = "dps.history.slice().reverse().findIndex((one) => one.entries.some(({ role }) => role === 'sketch'))"
    tab.page.evaluate(f"document.querySelectorAll('#history button')[{drawn}].click()")
    tab.page.wait_for_function("dps.surface.drawing.steps('sketch').length === 2")
    assert tab.drawing() == before
    tab.wait_result()
    result = tab.save("png")
    tab.page.click("#go-on")
    tab.page.wait_for_function("dps.source.name === 'a-edited.png'")
    tab.page.wait_for_function("dps.surface.drawing.entries.length === 0")
    tab.page.keyboard.press("b")
    tab.drag([(0.3, 0.3), (0.32, 0.32)])
    tab.wait_result()
    hole = paint_layer(read_layers(tab.drawing()).mask, 256, 256, {}) == 1
    again = read_photo(tab.save("png"))
    assert np.array_equal(again[~hole], read_photo(result)[~hole])


def test_own_lines_keys_alone_and_a_server_that_was_killed(open_tab: Callable[..., Tab], served: Served) -> None:
    tab = open_tab()
    tab.page.click("#sample")
    tab.page.wait_for_selector("#stage.open")
    tab.page.locator("#canvas").focus()
    for key in ("Enter", *["ArrowRight"] * 6, "Enter"):
        tab.page.keyboard.press(key)
    tab.page.wait_for_function("dps.surface.drawing.steps('mask').length === 1")
    tab.wait_result()
    tab.page.click("#lines")
    tab.page.wait_for_function("dps.surface.drawing.steps('sketch').length === 1")
    tab.wait_result()
    hole, lines = read_grey(tab.save("mask")) > 127, read_grey(tab.save("sketch")) < 128
    assert lines.any()
    assert not (lines & ~hole).any()
    tab.wait_levels()
    drawn = tab.drawing()
    result = tab.save("png")
    served.stop()
    tab.page.locator("#level").fill("0.66")
    tab.page.wait_for_selector("#message .error")
    assert "Your drawing is kept here" in tab.page.inner_text("#message")
    served.start()
    tab.page.wait_for_function("document.body.dataset.shown === dps.key() && dps.surface.result")
    assert tab.drawing() == drawn
    tab.slide(0.5)
    assert tab.save("png") == result
    tab.complaints = [line for line in tab.complaints if "ERR_" not in line and "409" not in line]


def test_other_methods_have_one_result_and_say_so(open_tab: Callable[..., Tab]) -> None:
    tab = open_tab()
    tab.open("me.png", noise_png())
    tab.drag([(0.4, 0.4), (0.6, 0.5)])
    tab.wait_levels()
    first = tab.save("png")
    tab.page.select_option("#method", "SC-FEGAN, no level")
    tab.wait_result()
    result = tab.save("png")
    assert result != first
    assert tab.page.locator("#levels button").count() == 0
    tab.page.click("[data-save=zip]")
    tab.page.wait_for_selector("#message .error")
    assert "Save this result as PNG or JPEG" in tab.page.inner_text("#message")
    tab.complaints.clear()
    tab.page.click("#others")
    tab.page.wait_for_function("document.querySelectorAll('#baselines button').length === dps.methods.length")
    tab.page.select_option("#method", "Deep Plastic Surgery")
    tab.wait_result()
    assert tab.save("png") == first


def test_wrong_files_five_files_and_a_turned_photo_on_a_phone(open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(width=390, height=844, has_touch=True, color_scheme="dark")
    assert tab.page.evaluate("document.documentElement.scrollWidth") == 390
    small = tab.page.evaluate(
        "[...document.querySelectorAll('button, select')].filter((one) => one.offsetParent)"
        ".map((one) => one.getBoundingClientRect()).filter((box) => box.width < 40 || box.height < 40).length"
    )
    assert small == 0
    tab.page.set_input_files("#file", {"name": "diary.txt", "mimeType": "text/plain", "buffer": b"dear diary"})
    tab.page.wait_for_selector("#message .error")
    assert "diary.txt" in tab.page.inner_text("#message")
    assert "Choose a JPEG or PNG photo." in tab.page.inner_text("#message")
    tab.complaints.clear()
    slope = np.add.outer(np.arange(1200), np.arange(900)) // 9
    stored = np.stack([slope, slope[::-1], slope[:, ::-1]], axis=2).astype(np.uint8)
    exif = Image.Exif()
    exif[274] = 6
    packed = io.BytesIO()
    Image.fromarray(stored).save(packed, "JPEG", exif=exif, quality=90)
    files = [{"name": f"{i}.jpg", "mimeType": "image/jpeg", "buffer": packed.getvalue()} for i in range(5)]
    tab.page.set_input_files("#file", files)
    tab.page.wait_for_selector("#stage.open")
    tab.page.wait_for_function("document.getElementById('message').innerText.includes('5 files came')")
    tab.drag([(0.5, 0.5), (0.55, 0.55)])
    tab.wait_result()
    upright, result = read_photo(packed.getvalue()), read_photo(tab.save("png"))
    assert upright.shape == result.shape == (900, 1200, 3)
    known = paint_layer(read_layers(tab.drawing()).mask, 900, 1200, {}) == 0
    assert np.array_equal(result[known], upright[known])
    assert not np.array_equal(result, upright)
