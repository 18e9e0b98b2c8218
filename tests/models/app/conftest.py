"""One tab of the app in Debian's Chromium, for the tests that drive it."""

from __future__ import annotations

import json
import runpy
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from models.app.serving import load_engines

CHROMIUM = Path("/usr/bin/chromium")
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
        uvicorn = pytest.importorskip("uvicorn", reason="the extra `app` is not installed")
        from models.app.server import Studio, make_server

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
    if not CHROMIUM.is_file():
        pytest.skip("Debian's chromium is not at /usr/bin/chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
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

    def save_photo(self) -> bytes:
        """What is open, as it would be opened again."""
        text = self.page.evaluate("new Response(dps.source.blob).arrayBuffer().then((one) => [...new Uint8Array(one)])")
        return bytes(text)

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
