"""The picture of the editor in README: a sample face, a hole over the nose, the photo's own lines, five levels.

    python tests/tools/picture_app.py [OUT.jpg]

Wants Debian's chromium and the extras `app` and `dev`.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from dpsdata.images.codec import encode_png
from dpsdata.samples import read_sample_face

_FACE = 5
_HOLE = ((0.36, 0.42), (0.64, 0.42), (0.6, 0.5), (0.42, 0.5), (0.42, 0.58), (0.58, 0.58), (0.56, 0.66), (0.44, 0.66))


def main(out: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    served = subprocess.Popen(["dps", "app", "--port", str(port), "--no-browser"])
    try:
        address = f"http://127.0.0.1:{port}/"
        for _ in range(120):
            try:
                urllib.request.urlopen(address, timeout=2).read()
                break
            except OSError:
                time.sleep(0.5)
        with sync_playwright() as driver, tempfile.TemporaryDirectory() as folder:
            browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
            page = browser.new_context(viewport={"width": 1200, "height": 800}, bypass_csp=True).new_page()
            page.goto(address)
            page.wait_for_selector("body[data-ready]")
            photo = {"name": "face.png", "mimeType": "image/png", "buffer": encode_png(read_sample_face(_FACE))}
            page.set_input_files("#file", photo)  # type: ignore[arg-type]
            page.wait_for_selector("#stage.open")
            place = page.locator("#canvas").bounding_box()
            view = page.evaluate("({...dps.surface.view, w: dps.surface.drawing.width, h: dps.surface.drawing.height})")
            assert place is not None
            page.locator("#size").fill("60")
            spots = [
                (
                    place["x"] + view["x"] + x * view["w"] * view["scale"],
                    place["y"] + view["y"] + y * view["h"] * view["scale"],
                )
                for x, y in _HOLE
            ]
            page.mouse.move(*spots[0])
            page.mouse.down()
            for spot in spots[1:]:
                page.mouse.move(*spot, steps=6)
            page.mouse.up()
            page.click("#lines")
            page.wait_for_function("document.body.dataset.levels === dps.key() && dps.surface.result")
            page.mouse.move(5, 5)
            shot = Path(folder) / "shot.png"
            page.screenshot(path=str(shot))
            browser.close()
            Image.open(shot).convert("RGB").save(out, quality=88)
    finally:
        served.terminate()
        served.wait(20)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("reports/figures/app.jpg"))
