"""Speed of the sketch chain on one core, against the published form, in one run.

Usage: PYTHONPATH=. python tests/benchmarks/sketch_speed.py [OUT.json]    (default reports/benchmarks/sketch_speed.json)
Ends with 4 when a bar is missed.
"""

from __future__ import annotations

import datetime
import importlib.util
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

from dpsdata.runtime.device import use_one_thread

use_one_thread()

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402

from dpsdata.sketch import (  # noqa: E402
    SimplifyConfig,
    dilate_sketch,
    dilate_sketch_array,
    draw_rough,
    make_rough_sketch,
    simplify_edge_map,
    smooth_sketch,
    truth_sketches,
)

ROOT = Path(__file__).resolve().parents[2]
LEVELS_21 = [step / 20 for step in range(21)]
BARS = {"simplify_ms_at_most": 6.0, "dilation_speedup_at_least": 25.0}


def measure(work: Callable[[], object], runs: int, warm_up: int = 3) -> dict[str, float]:
    for _ in range(warm_up):
        work()
    wall, processor = [], []
    for _ in range(runs):
        start, start_processor = time.perf_counter(), time.process_time()
        work()
        processor.append(time.process_time() - start_processor)
        wall.append(time.perf_counter() - start)
    low, median, high = np.percentile(np.array(wall) * 1e3, [5, 50, 95])
    cpu = float(np.median(processor)) * 1e3
    return {"median_ms": median, "p5_ms": low, "p95_ms": high, "cpu_median_ms": cpu, "runs": runs}


def drawn_edges() -> dict[str, np.ndarray]:
    """Edge maps of 256 px: face-like lines, the same over texture, and noise (the worst case)."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:256, 0:256].astype(np.float64)
    distance = np.full((256, 256), 1e3)
    for cy, cx, ry, rx in [
        (130, 128, 85, 62),
        (115, 98, 8, 16),
        (115, 158, 8, 16),
        (185, 128, 10, 24),
        (90, 128, 70, 90),
    ]:
        radius = np.sqrt(((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2)
        distance = np.minimum(distance, np.abs(radius - 1) * min(ry, rx))
    lines = 0.95 / (1 + (distance / 1.5) ** 4)
    texture = cv2.GaussianBlur(rng.random((256, 256)), (0, 0), 2.0)
    texture = (texture - texture.min()) / (texture.max() - texture.min())
    maps = {"lines": lines, "lines_and_texture": np.maximum(lines, 0.25 * texture**2), "noise": rng.random((256, 256))}
    return {name: np.rint(values * 65535).astype(np.uint16) for name, values in maps.items()}


def published_dilation(sketch: torch.Tensor) -> torch.Tensor:
    """All 21 labels as published: 3 equal channels, each label with its own all-ones convolutions, signs +1 and -1."""
    ink = (1 - sketch) / 2

    def box(diameter: int) -> torch.Tensor:
        kernel = torch.ones(3, 1, diameter, diameter)
        return F.conv2d(F.pad(ink, (diameter // 2,) * 4, mode="replicate"), kernel, groups=3)

    results = []
    for label in range(1, 22):
        total = box(label) if label % 2 else (box(label - 1) + box(label + 1)) / 2
        results.append(1 - 2 * total.clamp(0, 1))
    return torch.cat(results)


def load_loop_reference() -> object:
    path = ROOT / "tests/dpsdata/sketch/loop_reference.py"
    spec = importlib.util.spec_from_file_location("loop_reference", path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def machine() -> dict[str, object]:
    model = platform.processor()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="ignore").splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "load_before": list(os.getloadavg()),
        "threads": 1,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "opencv": cv2.__version__,
        "numpy": np.__version__,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def run() -> dict[str, object]:
    report: dict[str, object] = {"machine": machine(), "bars": BARS}
    edges = drawn_edges()
    simplify = {name: measure(lambda stored=stored: simplify_edge_map(stored), 60) for name, stored in edges.items()}
    values = (edges["lines"].astype(np.float32) / np.float32(65535)).astype(np.float64).tolist()
    reference = load_loop_reference()
    loops = measure(lambda: reference.simplify(values, SimplifyConfig()), 2, warm_up=0)
    equal = bool((np.array(reference.simplify(values, SimplifyConfig())) == simplify_edge_map(edges["lines"])).all())

    thin = torch.from_numpy(simplify_edge_map(edges["lines_and_texture"])).float()[None, None]
    smooth = smooth_sketch(thin)
    array = smooth[0, 0].numpy()
    three_channels = (1 - 2 * smooth).expand(1, 3, 256, 256).contiguous()
    with torch.inference_mode():
        published = measure(lambda: published_dilation(three_channels), 8, warm_up=1)
        difference = np.abs(
            (1 - published_dilation(three_channels)[:, 0].numpy()) / 2 - dilate_sketch_array(array, LEVELS_21)
        )
        batch = smooth.expand(8, -1, -1, -1).contiguous()
        draws = draw_rough([str(index) for index in range(8)], 256, 256, seed=1)
        ours = measure(lambda: dilate_sketch_array(array, LEVELS_21), 60)
        rest = {
            "dilate_one_level_tensor": measure(lambda: dilate_sketch(smooth, 0.37), 30),
            "smooth": measure(lambda: smooth_sketch(thin), 30),
            "truth_sketches": measure(lambda: truth_sketches(thin), 30),
            "rough_sketch_batch_of_8": measure(lambda: make_rough_sketch(batch, 0.37, draws), 8),
        }
    report |= {
        "simplify": simplify,
        "simplify_loop_reference": loops | {"equal": equal},
        "simplify_speedup": loops["median_ms"] / simplify["lines"]["median_ms"],
        "dilation_21_levels": ours,
        "dilation_21_levels_published_form": published,
        "dilation_max_difference": float(difference.max()),
        "dilation_speedup": published["median_ms"] / ours["median_ms"],
    } | rest
    slowest = max(simplify[name]["median_ms"] for name in ("lines", "lines_and_texture"))
    report["bars_met"] = {
        "simplify": bool(slowest <= BARS["simplify_ms_at_most"]),
        "dilation": bool(report["dilation_speedup"] >= BARS["dilation_speedup_at_least"]),
    }
    return report


def main() -> int:
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "reports/benchmarks/sketch_speed.json"
    report = run()
    text = json.dumps(report, indent=1, default=float)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f"{out.name}.{os.getpid()}.tmp")
    partial.write_text(text + "\n", encoding="utf-8")
    partial.replace(out)
    print(text)
    print(f"written: {out}")
    return 0 if all(report["bars_met"].values()) else 4


if __name__ == "__main__":
    sys.exit(main())
