"""The picture of a report in README: the first screen of its page.

    python tests/tools/picture_report.py REPORT/index.html [OUT.jpg]

Wants Debian's chromium and the extra `dev`. README's report is of 16 sample faces of 64 px: `dpseval run` with the
methods dps, deepfillv2, deepfillv2-guided, telea and navier-stokes at five levels.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright


def main(page_file: Path, out: Path) -> None:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(page_file.resolve().as_uri())
        shot = page.screenshot()
        browser.close()
    Image.open(io.BytesIO(shot)).convert("RGB").save(out, quality=85)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else "reports/figures/report.jpg"))
