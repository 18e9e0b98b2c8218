"""What a method costs on this machine: parameters, multiply-adds, memory and time for one photo."""

from __future__ import annotations

import statistics
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from dpsdata.dataset.torch_dataset import EditSample
from models.methods.predictor import MethodPredictor

_TIMED_RUNS = 3
_LEVEL = 0.5
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class MethodCost:
    """The cost of one photo at one level.

    Attributes:
        parameter_count: numbers that were learned.
        multiply_adds: of convolutions and matrix products, as they are run.
        peak_bytes: on CUDA, the most that was allocated; on a CPU, how far the process grew; None where unknown.
        seconds: median of three runs of one photo, after a first.
        size_px: side of the photo.
        device: where it ran.
    """

    parameter_count: int
    multiply_adds: int
    peak_bytes: int | None
    seconds: float
    size_px: int
    device: str


def measure_cost(predictor: MethodPredictor, sample: EditSample) -> dict[str, Any]:
    """Run a method on one photo and measure it.

    Args:
        predictor: the method, loaded; none that runs in another process.
        sample: a photo of the dataset.

    Returns:
        The fields of `MethodCost`; times differ from run to run.
    """
    method, device = predictor.method, predictor.device
    photo, sketch, mask = (item[None].to(device) for item in (sample["photo"], sample["sketch"], sample["mask"]))
    level = _LEVEL if method.has_level else None

    def run() -> float:
        begun = time.perf_counter()
        predictor.predict(photo, sketch, mask, [sample["id"]], level)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - begun

    with FlopCounterMode(display=False) as counter:
        run()
    before = _reset_peak(device)
    times = [run() for _ in range(_TIMED_RUNS)]
    peak = None if before is None else max(0, _read_peak(device) - before)
    cost = MethodCost(
        predictor.provenance.parameter_count,
        counter.get_total_flops() // 2,
        peak,
        statistics.median(times),
        int(sample["photo"].shape[-1]),
        str(device),
    )
    return asdict(cost)


def _reset_peak(device: torch.device) -> int | None:
    """Bytes in use now, from which the peak is counted; None where the system does not tell."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return 0  # the weights count: all that is allocated
    with suppress(OSError):
        _RESET.write_text("5")  # forgets the peak of this process
        return _read_status("VmRSS")
    return None


def _read_peak(device: torch.device) -> int:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _read_status("VmHWM")


def _read_status(key: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"{_STATUS}: no {key}")
