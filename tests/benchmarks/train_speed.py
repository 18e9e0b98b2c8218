"""Images a core-second of each training, in fp32 and bf16, and how much of the processor's peak that is.

    python tests/benchmarks/train_speed.py [OUT.json] [--sizes 64,128,256] [--steps 6]

One thread; processor time, of a run with more steps less that of one with fewer, so that loading, first steps and
the validation at the end cancel out. `peak` is a matrix product of 1024 x 1024; `convolutions` their share of the time.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from dpsdata.dataset import BuildConfig, build_dataset  # noqa: E402
from dpsdata.samples import write_sample_faces  # noqa: E402
from models.training.catalogue import make_trainer, read_training  # noqa: E402

BATCH = 8
STAGES = (
    'stage=[{{{{network="F",images={f},batch=8,masks=64}}}},{{{{network="G{{size}}",images={g},batch=8,masks=64}}}}]'
)
CASES = {
    "F": ("lite-edit-256", [STAGES.format(f="{n}", g=8)]),
    "G": ("lite-edit-256", [STAGES.format(f=8, g="{n}")]),
    "deepfillv2": ("lite-deepfillv2-256", ["images={n}", "batch_size=8"]),
    "deepfillv2-guided": ("lite-deepfillv2-guided-256", ["images={n}", "batch_size=8"]),
    "scfegan": ("lite-scfegan-256", ["images={n}", "batch_size=8"]),
}


def run(case: str, size: int, steps: int, precision: str, built: Path) -> float:
    """Processor seconds of a training of so many steps, from nothing."""
    name, settings = CASES[case]
    told = [text.format(n=steps * BATCH, size=size) for text in settings]
    config = read_training(name, [*told, f"resolution={size}", "validation_count=1"])
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(config, built, Path(folder) / "run", device="cpu", precision=precision)
        begun = time.process_time()
        trainer.run()
        return time.process_time() - begun


def peak(dtype: torch.dtype) -> float:
    """Floating point operations a second of a matrix product on one core."""
    a, b = (torch.randn(1024, 1024).to(dtype) for _ in range(2))
    a @ b
    begun = time.process_time()
    for _ in range(5):
        a @ b
    return 5 * 2 * 1024**3 / (time.process_time() - begun)


def measure(case: str, size: int, precision: str, built: Path, steps: int) -> dict[str, Any]:
    """The figures of one training."""
    short, long = (run(case, size, count, precision, built) for count in (2, 2 + steps))
    seconds = (long - short) / (steps * BATCH)
    counted = []
    for count in (1, 2):
        with FlopCounterMode(display=False) as flops:
            run(case, size, count, precision, built)
        counted.append(flops.get_total_flops())
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        run(case, size, 2, precision, built)
    events = recorded.key_averages()
    total = sum(event.self_cpu_time_total for event in events)
    convolved = sum(event.self_cpu_time_total for event in events if "conv" in event.key)
    done = (counted[1] - counted[0]) / BATCH
    return {
        "images_a_core_second": round(1 / seconds, 2),
        "giga_operations_an_image": round(done / 1e9, 1),
        "of_peak": round(done / seconds / peak(torch.bfloat16 if precision == "bf16" else torch.float32), 3),
        "convolutions": round(convolved / total, 2),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", nargs="?", type=Path, default=ROOT / "reports/benchmarks/train_speed.json")
    parser.add_argument("--sizes", default="64,128,256")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--cases", default=",".join(CASES))
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        faces = Path(folder) / "faces"
        write_sample_faces(faces, 16, 0)
        for size in map(int, asked.sizes.split(",")):
            built = Path(folder) / f"built-{size}"
            build_dataset(BuildConfig(source=faces, out=built, size=size, workers=1))
            for case in asked.cases.split(","):
                for precision in ("fp32", "bf16"):
                    row = measure(case, size, precision, built, asked.steps)
                    found[f"{case} {size} px {precision}"] = row
                    print(f"{case} {size} px {precision}: {row}", flush=True)
    asked.out.write_text(json.dumps({"threads": 1, "batch": BATCH, "trainings": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
