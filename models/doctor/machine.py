"""The machine as `dps doctor` sees it: Python, libraries, torch, device, threads, disk. Nothing is changed."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from dpsdata.runtime.processes import core_count
from models.doctor.findings import INSTALL, Finding, printable

_OLDEST, _NEWEST = (3, 11), (3, 13)
_OLDEST_TORCH = (2, 6)
_MODULES = ("numpy", "cv2", "PIL", "safetensors", "skimage")
# A photo and its results need a few MB; every weight file that is known here, with downloads, under 2 GB.
FREE_BYTES_NEEDED, FREE_BYTES_WANTED = 50_000_000, 2_000_000_000


def check_python(version: tuple[int, int] = sys.version_info[:2]) -> Finding:
    """Whether this Python is one that the product is tested on."""
    sentence = f"Python {platform.python_version()} at {sys.executable}"
    if _OLDEST <= version <= _NEWEST:
        return Finding("python", "ok", sentence)
    tested = "3.11 to 3.13"
    return Finding("python", "note", f"{sentence}; tested on {tested}", "python3.13 -m venv .venv")


def check_libraries() -> Finding:
    """Whether the libraries beside torch load."""
    for name in _MODULES:
        try:
            import_module(name)
        except (ImportError, OSError) as error:
            # OpenCV's own wheel needs the desktop's libGL, its headless twin does not.
            is_desktop = name == "cv2" and "libGL" in str(error)
            command = "pip uninstall -y opencv-python && pip install opencv-python-headless" if is_desktop else INSTALL
            return Finding("libraries", "problem", printable(f"{name} does not load: {error}"), command)
    return Finding("libraries", "ok", f"{', '.join(_MODULES)} load")


def check_torch() -> Finding:
    """Whether torch loads, and which it is."""
    try:
        import torch
    except (ImportError, OSError, RuntimeError) as error:
        return Finding("torch", "problem", printable(f"torch does not load: {error}"), "pip install torch torchvision")
    found = str(torch.__version__)
    numbers = tuple(int(part) for part in found.split("+")[0].split(".")[:2] if part.isdigit())
    if numbers < _OLDEST_TORCH:
        sentence = f"torch {found} is older than 2.6, which this version needs"
        return Finding("torch", "problem", sentence, "pip install --upgrade torch torchvision")
    return Finding("torch", "ok", f"torch {found}")


def check_ray() -> Finding:
    """What `--engine ray` would run on. A cluster is asked in a process of its own: Ray ends the one it fails in."""
    try:
        number = version("ray")
    except PackageNotFoundError:
        return Finding("ray", "ok", "Ray is not installed; `--engine local` needs none")
    address = os.environ.get("RAY_ADDRESS")
    if address is None:
        return Finding("ray", "ok", f"Ray {number}; without --address it starts a cluster of {core_count()} cores here")
    try:
        done = subprocess.run(  # noqa: S603 - this Python, our own words
            [sys.executable, "-c", _ASK_RAY, address], capture_output=True, text=True, timeout=60, check=True
        )
        resources = json.loads(done.stdout.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        sentence = printable(f"Ray {number}: no cluster answers at RAY_ADDRESS={address}")
        return Finding("ray", "note", sentence, "ray start --head")
    cores, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
    sentence = printable(f"Ray {number}: the cluster at {address} has {cores} cores and {gpus} GPUs")
    return Finding("ray", "ok", sentence)


_ASK_RAY = """
import json, os, sys
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
from dpsdata.engines import open_engine
import ray
open_engine("ray", 1, sys.argv[1])
print(json.dumps(ray.cluster_resources()))
"""


def check_device() -> Finding:
    """What `--device auto` would take, and why."""
    try:
        import torch
    except (ImportError, OSError, RuntimeError):
        return Finding("device", "note", "unknown, since torch does not load", "pip install torch torchvision")
    if torch.cuda.is_available():
        return _check_gpu(torch)
    tail = "`--device auto` takes the cpu"
    built_for = torch.version.cuda or torch.version.hip
    has_driver = shutil.which("nvidia-smi") is not None
    if built_for is None and has_driver:
        sentence = f"{tail}: there is an NVIDIA driver, but this torch is built for the CPU alone"
        return Finding("device", "note", sentence, "pip install --force-reinstall torch torchvision")
    if built_for is None:
        return Finding("device", "ok", f"{tail}: this torch is built for the CPU alone")
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None and has_driver:
        sentence = f"{tail}: CUDA_VISIBLE_DEVICES={printable(hidden)!r} may hide the GPU"
        return Finding("device", "note", sentence, "unset CUDA_VISIBLE_DEVICES")
    if has_driver:
        sentence = f"{tail}: torch is built for CUDA {built_for}, but this driver gives it no GPU"
        return Finding("device", "note", sentence, "nvidia-smi")
    return Finding("device", "ok", f"{tail}: torch is built for CUDA {built_for}, but there is no driver of a GPU here")


def _check_gpu(torch: Any) -> Finding:
    try:
        # A GPU that torch was not built for is listed all the same, and fails on the first sum.
        name = torch.cuda.get_device_name(0)
        (torch.zeros(1, device="cuda") + 1).item()
    except RuntimeError as error:
        sentence = printable(f"torch sees a GPU that does not compute ({error}); use --device cpu until it does")
        return Finding("device", "note", sentence, "pip install --upgrade torch torchvision")
    return Finding("device", "ok", f"`--device auto` takes the GPU: {name}, which torch sees and computes on")


def check_threads() -> Finding:
    """Whether torch starts more threads than there are cores, which makes it many times slower."""
    try:
        import torch
    except (ImportError, OSError, RuntimeError):
        return Finding("threads", "note", "unknown, since torch does not load", "pip install torch torchvision")
    threads, cores = torch.get_num_threads(), core_count()
    setting = os.environ.get("OMP_NUM_THREADS")
    said = "OMP_NUM_THREADS is not set" if setting is None else f"OMP_NUM_THREADS={printable(setting)}"
    sentence = f"threads of torch: {threads}, cores: {cores}; {said}"
    if threads > cores:
        return Finding("threads", "note", f"{sentence}; they wait for each other", f"export OMP_NUM_THREADS={cores}")
    return Finding("threads", "ok", sentence)


def _standing(place: Path) -> Path:
    """`place`, or the nearest folder above it that exists."""
    for folder in (place, *place.parents):
        if folder.exists():
            return folder
    return Path()


def check_disk(name: str, place: Path, purpose: str) -> Finding:
    """Whether there is room at `place`, which need not exist yet.

    Args:
        name: of the finding.
        place: a folder.
        purpose: what goes there, for the sentence.
    """
    standing = _standing(place)
    free = shutil.disk_usage(standing).free
    sentence = printable(f"{free / 1e9:,.2f} GB free at {place}, where {purpose} go")
    other = "export DPS_HOME=FOLDER_ON_ANOTHER_DISK" if name == "disk" else "cd FOLDER_ON_ANOTHER_DISK"
    if free < FREE_BYTES_NEEDED:
        return Finding(name, "problem", f"{sentence}: the disk is full", other)
    if not standing.is_dir() or not os.access(standing, os.W_OK):
        return Finding(name, "note", f"{sentence}, but nothing can be written there", other)
    if free < FREE_BYTES_WANTED:
        return Finding(name, "note", f"{sentence}: not enough for all weights", other)
    return Finding(name, "ok", sentence)


def check_disks(home: Path) -> list[Finding]:
    """The disk of weights and cache, and that of the working folder where it is another one."""
    found = [check_disk("disk", home, "weights and the cache")]
    here = Path.cwd()
    if here.stat().st_dev != _standing(home).stat().st_dev:
        found.append(check_disk("disk-here", here, "results"))
    return found
