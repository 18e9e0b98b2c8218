"""How long a person waits for `dps app`: the page, the first result after a stroke, the level slider.

python tests/benchmarks/app_speed.py [--out FILE] [--rounds 5]

Starts the command as a person does and drives its page in Chromium: the sample photo, one stroke of the hole, then a
level that was not painted yet. Writes reports/benchmarks/app_speed.json with the load of the machine before and after;
exit code 4 where a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BARS = {"page_s": 4.0, "first_result_s": 1.5, "slider_s": 0.3}
SHOWN = "document.body.dataset.shown === dps.key() && dps.surface.result"
WAIT = f"""(level) => new Promise((done) => {{
  const start = performance.now();
  if (level === null) dps.surface.events.stroke(); else dps.setLevel(level, true);
  const look = () => {SHOWN} ? done((performance.now() - start) / 1000) : requestAnimationFrame(look);
  look();
}})"""
STROKE = """async (at) => {
  const step = { kind: "stroke", erase: false, width: 40, points: [200, 300 + at, 300, 300 + at] };
  await dps.surface.drawing.add({ role: "mask", steps: [step] });
}"""


def measure(browser: Any, rounds: int) -> dict[str, list[float]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    found: dict[str, list[float]] = {name: [] for name in (*BARS, "message_s")}
    start = time.perf_counter()
    words = [sys.executable, "-m", "models.cli", "app", "--no-browser", "--port", str(port)]
    server = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert server.stdout is not None
        server.stdout.readline()
        found["message_s"].append(time.perf_counter() - start)
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 0.2).close()
                break
            except OSError:
                time.sleep(0.02)
        page = browser.new_page(viewport={"width": 1280, "height": 900}, bypass_csp=True)
        page.goto(f"http://127.0.0.1:{port}/")
        found["page_s"].append(time.perf_counter() - start)
        page.wait_for_selector("body[data-ready]")
        page.click("#sample")
        page.wait_for_selector("#stage.open")
        for turn in range(rounds):
            page.evaluate(STROKE, 8 * turn)
            found["first_result_s"].append(page.evaluate(WAIT, None))
            page.wait_for_function("document.body.dataset.levels === dps.key()")
            found["slider_s"].append(page.evaluate(WAIT, 0.33 + 0.01 * turn))
            page.wait_for_function("document.body.dataset.levels === dps.key()")
        page.close()
    finally:
        server.terminate()
        server.wait(20)
    return found


def main() -> int:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=ROOT / "reports" / "benchmarks" / "app_speed.json")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    load = [os.getloadavg()[0]]
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        found = measure(browser, options.rounds)
        browser.close()
    load.append(os.getloadavg()[0])
    medians = {name: round(statistics.median(values), 3) for name, values in found.items()}
    fastest = {name: round(min(values), 3) for name, values in found.items()}
    told = {"cores": os.cpu_count(), "load": [round(value, 1) for value in load], "rounds": options.rounds}
    result = {**told, "median": medians, "fastest": fastest, "bars": BARS}
    options.out.write_text(json.dumps(result, indent=1, sort_keys=True) + "\n")
    print(json.dumps(result))
    return 0 if all(medians[name] <= bar for name, bar in BARS.items()) else 4


if __name__ == "__main__":
    sys.exit(main())
