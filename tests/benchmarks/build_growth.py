"""How the cost of a build grows with the number of photos: 64 px in, 64 px out, edges by the smallest HED there is.

Run: python tests/benchmarks/build_growth.py [--counts 2000,20000,100000] [--format files]
     python tests/benchmarks/build_growth.py --score --counts 1000,10000
Writes reports/benchmarks/build_growth.json: seconds a photo, peak memory of the process that builds, the time in
which `EditDataset` opens, and that of a repeat of the finished build. Seconds of the clock and of the CPU, that of the
workers included: the latter say the same on a busy machine. What a photo more costs, between two counts, leaves
out the start. The memory of the process itself is told without the pages of shared libraries, which workers share.
Exit 4 where the largest count exceeds a bar: 1.15 times the seconds a photo of the smallest, 1.15 times the CPU seconds
of a photo more, 600 MB, 2 s to open, 20 s to repeat.

With --score the same of `dpseval score` on six sets of outputs, by itself and under the key `score`; a picture is one
output. Exit 4 above 1.15 times the CPU seconds a picture of the smallest count, 4 GB, or a page of 5 MB.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from dpsdata import EditDataset
from dpsdata.hed import HED
from dpsdata.images.codec import encode_png, read_mask, read_photo
from dpsdata.runtime.device import keyed_generator
from dpsdata.weights.store import write_safetensors

REPORT = Path(__file__).resolve().parents[2] / "reports" / "benchmarks" / "build_growth.json"
GROWTH, MEMORY_MB, OPEN_SECONDS, REPEAT_SECONDS = 1.15, 600, 2.0, 20.0
SETS, SCORE_MEMORY_MB, PAGE_MB = 6, 4096, 5.0

WATCH = """
import json, resource, sys, threading, time
started = time.perf_counter()
peak = 0

def watch():
    global peak
    while True:
        with open("/proc/self/status") as lines:  # ru_maxrss would tell of the process that started this one
            cells = dict(line.split(":", 1) for line in lines)
        peak = max(peak, int(cells["RssAnon"].split()[0]))
        time.sleep(0.2)

def tell(**more):
    seconds = time.perf_counter() - started
    time.sleep(0.3)
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(json.dumps({"seconds": seconds, "cpu_seconds": sum(each.ru_utime + each.ru_stime for each in used),
                      "memory_mb": peak / 1024, **more}))

if __name__ == "__main__":
    threading.Thread(target=watch, daemon=True).start()
"""
BUILD = """
from dpsdata import BuildConfig, build_dataset

config = BuildConfig(source=sys.argv[1], out=sys.argv[2], size=64, edges=sys.argv[3], workers=2, masks=("center",),
                     format=sys.argv[4])
if __name__ == "__main__":
    result = build_dataset(config)
    tell(count=result.count, reused=result.reused_count)
"""
SCORE = """
from pathlib import Path

import dpseval.scoring.score as scoring

if __name__ == "__main__":
    run_pass = scoring.run_pass

    def timed(*words):
        used = time.process_time()
        found = run_pass(*words)
        timed.seconds = time.process_time() - used
        return found

    scoring.run_pass = timed
    out = Path(sys.argv[3])
    config = scoring.ScoreConfig(out=out, masks="center", split="all", device="cpu", workers=1, cache=Path(sys.argv[4]))
    scoring.score(Path(sys.argv[1]), Path(sys.argv[2]), config)
    tell(pass_seconds=timed.seconds, page_mb=(out / "index.html").stat().st_size / 1e6)
"""
OPEN = """
import json, sys, time
from dpsdata import EditDataset
started = time.perf_counter()
dataset = EditDataset(sys.argv[1], "all")
seconds = time.perf_counter() - started
dataset[len(dataset) // 2]
print(json.dumps({"open_seconds": seconds, "count": len(dataset)}))
"""


def run(code: str, *words: object) -> dict[str, float]:
    """Run a piece of Python in a process of its own; the last line that it prints is JSON."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "step.py")  # a file, since worker processes read it again
        script.write_text(code)
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, str(script), *map(str, words)], capture_output=True, text=True, check=True, env=environment
        )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def write_photos(folder: Path, count: int) -> None:
    """Coarse noise, each photo another one."""
    folder.mkdir()
    for number in range(count):
        coarse = keyed_generator(0, str(number), "growth").integers(0, 256, (8, 8, 3), dtype=np.uint8)
        (folder / f"{number:06d}.png").write_bytes(encode_png(coarse.repeat(8, 0).repeat(8, 1)))


def write_outputs(folder: Path, built: Path) -> None:
    """Six sets of outputs with noise in the hole, the more of it the later the set."""
    dataset = EditDataset(built, "all")
    for number in range(SETS):
        (folder / f"method{number}" / "none").mkdir(parents=True)
    for row in dataset.rows:
        photo = read_photo(dataset.files.source(f"images/{row.id}.png"))
        hole = read_mask(dataset.files.source(f"masks/center/{row.id}.png")) == 1
        noise = keyed_generator(0, row.id, "outputs").integers(-128, 128, photo.shape)
        for number in range(SETS):
            made = np.where(hole[..., None], np.clip(photo + noise * (number + 1) // SETS, 0, 255), photo)
            (folder / f"method{number}" / "none" / f"{row.id}.png").write_bytes(encode_png(made.astype(np.uint8)))


def measure_score(count: int) -> dict[str, float]:
    """Build without being measured, score once with an empty cache."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        run(WATCH + BUILD, *prepare(place, count), "files")
        write_outputs(place / "outputs", place / "built")
        found = run(WATCH + SCORE, place / "outputs", place / "built", place / "report", place / "cache")
    return {
        "photos": count,
        "pictures": count * SETS,
        "score_seconds": round(found["seconds"], 1),
        "cpu_seconds": round(found["cpu_seconds"], 1),
        "cpu_seconds_of_the_pass": round(found["pass_seconds"], 1),
        "cpu_ms_a_picture": round(1000 * found["cpu_seconds"] / (count * SETS), 2),
        "memory_mb": round(found["memory_mb"]),
        "page_mb": round(found["page_mb"], 2),
    }


def prepare(place: Path, count: int) -> tuple[Path, Path, Path]:
    """Photos and the smallest network: the words of a build but its format."""
    torch.manual_seed(0)
    net = HED(1, "compact")
    state = {key: value.contiguous() for key, value in net.state_dict().items()}
    write_safetensors(place / "smallest.safetensors", state, {"variant": "compact"})
    write_photos(place / "photos", count)
    return place / "photos", place / "built", place / "smallest.safetensors"


def measure(count: int, form: str) -> dict[str, float]:
    """Build, build again, open."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        words = (*prepare(place, count), form)
        first = run(WATCH + BUILD, *words)
        again = run(WATCH + BUILD, *words)
        opened = run(OPEN, place / "built")
    return {
        "photos": count,
        "build_seconds": round(first["seconds"], 2),
        "cpu_seconds": round(first["cpu_seconds"], 2),
        "ms_a_photo": round(1000 * first["seconds"] / count, 3),
        "cpu_ms_a_photo": round(1000 * first["cpu_seconds"] / count, 3),
        "parent_memory_mb": round(max(first["memory_mb"], again["memory_mb"])),
        "repeat_seconds": round(again["seconds"], 2),
        "repeat_cpu_seconds": round(again["cpu_seconds"], 2),
        "repeat_reused": again["reused"],
        "open_seconds": round(opened["open_seconds"], 3),
    }


def store(name: str, report: dict[str, object]) -> None:
    """Print a report, and write it beside the others."""
    print(json.dumps(report, indent=2))
    stored = json.loads(REPORT.read_text()) if REPORT.is_file() else {}
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps({**stored, name: report}, indent=2) + "\n")


def main() -> int:
    """Measure every count and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--counts", default="2000,20000,100000")
    parser.add_argument("--format", default="files")
    parser.add_argument("--score", action="store_true")
    options = parser.parse_args()
    started = time.time()
    if options.score:
        rows = [measure_score(int(count)) for count in options.counts.split(",")]
        growth = round(rows[-1]["cpu_ms_a_picture"] / rows[0]["cpu_ms_a_picture"], 3)
        store("score", {"sets": SETS, "rows": rows, "growth": growth, "wall_seconds": round(time.time() - started)})
        last = rows[-1]
        return 0 if growth <= GROWTH and last["memory_mb"] <= SCORE_MEMORY_MB and last["page_mb"] <= PAGE_MB else 4
    rows = [measure(int(count), options.format) for count in options.counts.split(",")]
    largest, smallest = rows[-1], rows[0]
    more = [
        round(1000 * (after["cpu_seconds"] - before["cpu_seconds"]) / (after["photos"] - before["photos"]), 3)
        for before, after in pairwise(rows)
    ]
    report = {
        "format": options.format,
        "rows": rows,
        "growth": round(largest["ms_a_photo"] / smallest["ms_a_photo"], 3),
        "cpu_ms_a_photo_more": more,
        "growth_of_a_photo_more": round(more[-1] / more[0], 3) if len(more) > 1 else None,
        "wall_seconds": round(time.time() - started),
    }
    store(options.format, report)
    is_good = (
        report["growth"] <= GROWTH
        and (len(more) < 2 or more[-1] <= GROWTH * more[0])
        and largest["parent_memory_mb"] <= MEMORY_MB
        and largest["open_seconds"] <= OPEN_SECONDS
        and largest["repeat_seconds"] <= REPEAT_SECONDS
        and all(row["repeat_reused"] == row["photos"] for row in rows)
    )
    return 0 if is_good else 4


if __name__ == "__main__":
    sys.exit(main())
