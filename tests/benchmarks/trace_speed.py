"""Speed of the trace term of FID from features, against SciPy's matrix square root and torchmetrics, in one run.

Each side starts from the same features (N = 1000, D = 2048) and runs on one thread. The bars are held against the
processor's time, which on an idle machine is the wall time and on a busy one is fairer.

Usage: PYTHONPATH=. python tests/benchmarks/trace_speed.py [OUT.json]    (default reports/benchmarks/trace_speed.json)
Ends with 4 when a bar is missed.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from dpsdata.runtime.device import use_one_thread

use_one_thread()

import numpy as np  # noqa: E402
import scipy  # noqa: E402
import torch  # noqa: E402
import torchmetrics  # noqa: E402
from scipy.linalg import sqrtm  # noqa: E402
from torchmetrics.image.fid import _compute_fid  # noqa: E402

from dpsdata.runtime.files import write_text_atomic  # noqa: E402
from dpseval.metrics.frechet import frechet_distance  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
COUNT, SIZE = 1000, 2048
BARS = {"sqrtm_speedup_at_least": 50.0, "torchmetrics_speedup_at_least": 10.0, "relative_difference_at_most": 1e-3}


def measure(work: Callable[[], float], runs: int) -> dict[str, float]:
    wall, processor = [], []
    for _ in range(runs):
        start, start_processor = time.perf_counter(), time.process_time()
        value = work()
        processor.append(time.process_time() - start_processor)
        wall.append(time.perf_counter() - start)
    return {
        "value": value,
        "wall_median_s": float(np.median(wall)),
        "cpu_median_s": float(np.median(processor)),
        "runs": runs,
    }


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
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "torch": torch.__version__,
        "torchmetrics": torchmetrics.__version__,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def features(seed: int) -> np.ndarray:
    """Skewed, correlated and not negative, as pooled Inception features are."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(64, SIZE)) * 0.3
    return np.maximum(rng.gamma(0.5, 0.6, (COUNT, SIZE)) + rng.normal(size=(COUNT, 64)) @ mixing, 0).astype(np.float32)


def run() -> dict[str, object]:
    report: dict[str, object] = {"machine": machine(), "bars": BARS, "count": COUNT, "dimension": SIZE}
    a, b = features(1), features(2) * np.float32(1.1)

    def by_sqrtm() -> float:
        product = np.cov(a, rowvar=False) @ np.cov(b, rowvar=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return float(np.trace(np.asarray(sqrtm(product))).real)

    def by_torchmetrics() -> float:
        mean, first, second = torch.zeros(SIZE, dtype=torch.float64), *(torch.cov(x) for x in turned)
        return float((first.trace() + second.trace() - _compute_fid(mean, first, mean, second)) / 2)

    turned = [torch.from_numpy(x).double().T for x in (a, b)]
    gap = a.mean(0) - b.mean(0)
    rest = float(gap @ gap + a.var(0, ddof=1).sum() + b.var(0, ddof=1).sum())
    ours = measure(lambda: (rest - frechet_distance(a, b)) / 2, 7)
    theirs = {"torchmetrics": measure(by_torchmetrics, 2), "sqrtm": measure(by_sqrtm, 1)}
    worst = max(abs(other["value"] / ours["value"] - 1) for other in theirs.values())
    speedups = {f"{name}_speedup": other["cpu_median_s"] / ours["cpu_median_s"] for name, other in theirs.items()}
    wall = {f"{name}_speedup_wall": other["wall_median_s"] / ours["wall_median_s"] for name, other in theirs.items()}
    report |= {"ours": ours, **theirs, **speedups, **wall, "relative_difference": worst}
    report["frechet_distance"] = measure(lambda: frechet_distance(a, b), 3)
    report["bars_met"] = {
        "sqrtm": speedups["sqrtm_speedup"] >= BARS["sqrtm_speedup_at_least"],
        "torchmetrics": speedups["torchmetrics_speedup"] >= BARS["torchmetrics_speedup_at_least"],
        "same_value": worst <= BARS["relative_difference_at_most"],
    }
    return report


def main() -> int:
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "reports/benchmarks/trace_speed.json"
    report = run()
    text = json.dumps(report, indent=1)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text_atomic(out, text + "\n")
    print(text)
    print(f"written: {out}")
    return 0 if all(report["bars_met"].values()) else 4


if __name__ == "__main__":
    sys.exit(main())
