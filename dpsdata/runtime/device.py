"""Device and precision choice, keyed randomness, threads."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dpsdata.contracts import UsageError

if TYPE_CHECKING:
    import torch

PRECISIONS = ("fp32", "fp32-winograd", "bf16")


def keyed_seed(seed: int, sample_id: str, purpose: str) -> int:
    """A 63-bit seed that depends on (seed, sample id, purpose) and on nothing else."""
    digest = hashlib.sha256(f"{seed}\0{sample_id}\0{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def keyed_generator(seed: int, sample_id: str, purpose: str) -> np.random.Generator:
    """A numpy generator keyed by (seed, sample id, purpose): the same for any worker count or order."""
    return np.random.Generator(np.random.PCG64(keyed_seed(seed, sample_id, purpose)))


def has_fast_bf16() -> bool:
    """Whether this CPU multiplies bf16 matrices in hardware (avx512_bf16 or amx_bf16)."""
    try:
        with Path("/proc/cpuinfo").open(encoding="ascii", errors="ignore") as lines:
            flags = next((line for line in lines if line.startswith("flags")), "").split()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def choose_device(name: str = "auto") -> torch.device:
    """The device to compute on: CUDA when there is one, else the CPU; or the one that is named.

    Raises:
        UsageError: `name` is no torch device, or CUDA was named and is not there.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"device: expected auto, cpu, cuda or cuda:N, got {name!r}")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"device: {name} was asked for, but torch sees no CUDA device here; use --device cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"device: {name} was asked for, but torch sees {torch.cuda.device_count()} CUDA devices here")
    return device


def check_precision(precision: str, device: torch.device) -> str:
    """Return `precision`; raise UsageError where it is not made for `device`, or would be emulated and slow.

    Args:
        precision: `fp32` (the reference), `fp32-winograd` (CPU; fewer products, maps within 1e-4) or `bf16` (a GPU or
            CPU with bf16 in hardware).
        device: where the network will run.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"precision: expected {', '.join(PRECISIONS[:-1])} or {PRECISIONS[-1]}, got {precision!r}")
    if precision == "fp32-winograd" and device.type != "cpu":
        raise UsageError(f"precision: fp32-winograd is for the CPU, not for {device}; use --precision fp32 or bf16")
    if precision == "bf16" and device.type == "cpu" and not has_fast_bf16():
        raise UsageError("precision: bf16 needs CUDA or a CPU with avx512_bf16 or amx_bf16; use --precision fp32")
    if precision == "bf16" and device.type == "cuda":
        import torch

        if torch.cuda.is_available() and torch.cuda.get_device_capability(device) < (8, 0):
            name = torch.cuda.get_device_name(device)
            raise UsageError(f"precision: {name} has no bf16; use --precision fp32, or fp16 to train")
    return precision


def use_one_thread() -> None:
    """Give this worker process one compute thread: one process per core beats threads inside an image."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    import cv2
    import torch

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
