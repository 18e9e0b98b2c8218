"""`dps doctor`: what this installation can do, what it lacks, and the command that fixes it. Nothing is changed."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dpsdata import __version__
from dpsdata.contracts import BrokenImageError, DpsError, MissingError, typed_path
from dpsdata.runtime.processes import core_count
from dpsdata.weights import REINSTALL, WeightStatus, find_weights, verify_weights
from dpsdata.weights.known.inception import INCEPTION
from dpsdata.weights.known.lpips_backbones import BACKBONES
from dpsdata.weights.store import home_folder
from models.methods.registry import METHODS
from models.methods.weights import find_method_weights
from models.weights.official import weight_name

if TYPE_CHECKING:
    from models.networks.config import Task

State = Literal["ok", "note", "problem"]
_TORCH = "pip install --force-reinstall torch torchvision"  # together: their builds must match
_DISTRIBUTIONS = {"torch": _TORCH, "torchvision": _TORCH} | {
    module: f"pip install --force-reinstall {name}"
    for module, name in {"numpy": "numpy", "cv2": "opencv-python", "PIL": "pillow", "safetensors": "safetensors",
                         "skimage": "scikit-image"}.items()
}  # fmt: skip
_OLDEST, _NEWEST = (3, 11), (3, 13)
_FULL_BYTES = 50_000_000  # a photo and its results need a few MB
_MAX_LETTERS = 600
_PROBED_COUNT = 5


@dataclass(frozen=True)
class CheckResult:
    """One thing that was looked at.

    Attributes:
        name: of the check, the same in every version.
        state: `ok`; `note` for what some work lacks; `problem` for what stops work.
        sentence: what was found, for people, in one line that any terminal can show.
        command: what fixes it; empty where it is ok.
    """

    name: str
    state: State
    sentence: str
    command: str = ""

    def __post_init__(self) -> None:
        # File names and messages of libraries may hold anything.
        whole = self.sentence.encode("utf-8", "backslashreplace").decode("utf-8")
        line = " ".join("".join(letter if letter.isprintable() else " " for letter in whole).split())
        object.__setattr__(self, "sentence", line if len(line) <= _MAX_LETTERS else f"{line[:_MAX_LETTERS]}...")


def diagnose(data: Path | None = None) -> tuple[list[CheckResult], list[WeightStatus]]:
    """Look at Python, libraries, processor, GPU, Ray, disk, weights, and at a folder of data.

    Args:
        data: folder or zip of photos, or what `dpsdata build` made.

    Returns:
        What was found, in the order of the checks, and the state of every known weight file.
    """
    weights: list[WeightStatus] = []

    def look_at_weights() -> Iterator[CheckResult]:
        weights.extend(verify_weights())
        yield from check_weights(weights)
        yield from check_tasks({status.name for status in weights if status.status == "ok"})

    checks: list[tuple[str, str, Callable[[], Iterator[CheckResult]]]] = [
        ("libraries", REINSTALL, check_libraries),
        ("device", "pip install torch torchvision", check_device),
        ("ray", "pip install ray", check_ray),
        ("disk", "export DPS_HOME=FOLDER_THAT_CAN_BE_WRITTEN", partial(check_disk, home_folder())),
        ("weights", "dps weights list", look_at_weights),
    ]
    if data is not None:
        checks.append(("data", "dps doctor --data FOLDER_OF_PHOTOS", partial(check_data, typed_path(str(data)))))
    return [finding for check in checks for finding in run_check(*check)], weights


def run_check(name: str, command: str, check: Callable[[], Iterator[CheckResult]]) -> Iterator[CheckResult]:
    """The findings of a check; where it cannot be made, a problem that says why and names `command`."""
    try:
        yield from check()
    except DpsError as error:
        yield CheckResult(name, "problem", str(error), command)
    except (ImportError, OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        command = REINSTALL if isinstance(error, ImportError) else command
        yield CheckResult(name, "problem", f"cannot be checked: {reason}", command)


def to_dict(findings: list[CheckResult], weights: list[WeightStatus]) -> dict[str, Any]:
    """What `--json` prints; keys are only ever added while `schema_version` stays the same."""
    return {
        "schema_version": 2,
        "version": __version__,
        "findings": [asdict(finding) for finding in findings],
        "weights": [{**asdict(status), "path": str(status.path)} for status in weights],
    }


def check_libraries() -> Iterator[CheckResult]:
    """Which Python this is, and whether the libraries load."""
    sentence = f"Python {platform.python_version()} at {sys.executable}"
    if _OLDEST <= sys.version_info[:2] <= _NEWEST:
        yield CheckResult("python", "ok", sentence)
    else:
        yield CheckResult("python", "note", f"{sentence}; tested on 3.11 to 3.13", "python3.13 -m venv .venv")
    found = []
    for name in _DISTRIBUTIONS:
        try:
            found.append(f"{name} {import_module(name).__version__}")
        except (ImportError, OSError, RuntimeError, AttributeError) as error:
            # OpenCV's own wheel needs the desktop's libGL, its headless twin does not.
            is_desktop = name == "cv2" and "libGL" in str(error)
            mending = (
                "pip uninstall -y opencv-python && pip install opencv-python-headless"
                if is_desktop
                else _DISTRIBUTIONS[name]
            )
            yield CheckResult("libraries", "problem", f"{name} does not load: {error}", mending)
    yield CheckResult("versions", "ok", f"deep-plastic-surgery {__version__}, {', '.join(found)}")


def check_device() -> Iterator[CheckResult]:
    """Cores, threads and bf16 of the processor; which GPU `--device auto` would take, or why none."""
    import torch

    from dpsdata.runtime.device import has_fast_bf16

    threads, cores = torch.get_num_threads(), core_count()
    setting = os.environ.get("OMP_NUM_THREADS")
    said = "OMP_NUM_THREADS is not set" if setting is None else f"OMP_NUM_THREADS={setting}"
    bf16 = "" if has_fast_bf16() else "no "
    sentence = f"{cores} cores, {bf16}bf16 in hardware; threads of torch: {threads}; {said}"
    if threads > cores:
        yield CheckResult("cpu", "note", f"{sentence}; they wait for each other", f"export OMP_NUM_THREADS={cores}")
    else:
        yield CheckResult("cpu", "ok", sentence)
    driver, built_for = shutil.which("nvidia-smi"), torch.version.cuda or torch.version.hip
    if torch.cuda.is_available():
        try:
            # A GPU that torch was not built for is listed all the same, and fails on the first sum.
            (torch.zeros(1, device="cuda") + 1).item()
        except RuntimeError as error:
            sentence = f"torch sees a GPU that does not compute ({error}); use --device cpu until it does"
            yield CheckResult("gpu", "note", sentence, "pip install --upgrade torch torchvision")
        else:
            name = torch.cuda.get_device_name(0)
            yield CheckResult("gpu", "ok", f"`--device auto` takes the GPU: {name}, which torch computes on")
    elif driver is None:
        yield CheckResult("gpu", "ok", "none: there is no driver of a GPU here; `--device auto` takes the CPU")
    elif built_for is None:
        sentence = "none: there is an NVIDIA driver, but this torch is built for the CPU alone"
        yield CheckResult("gpu", "note", sentence, _TORCH)
    else:
        hidden = f"; CUDA_VISIBLE_DEVICES={os.environ.get('CUDA_VISIBLE_DEVICES', 'not set')}"
        yield CheckResult("gpu", "note", f"none: torch, built for CUDA {built_for}, sees none{hidden}", "nvidia-smi")


def check_ray() -> Iterator[CheckResult]:
    """What `--engine ray` would run on; no cluster is asked."""
    try:
        sentence = f"Ray {version('ray')}; without --address it takes "
    except PackageNotFoundError:
        yield CheckResult("ray", "ok", "Ray is not installed; `--engine local` needs none")
        return
    address = os.environ.get("RAY_ADDRESS")
    where = f"{core_count()} cores here" if address is None else f"the cluster at RAY_ADDRESS={address}"
    yield CheckResult("ray", "ok", sentence + where)


def check_disk(home: Path) -> Iterator[CheckResult]:
    """Whether weights, cache and results have room, and may be written."""
    for name, place in (("disk", home), ("disk-here", Path.cwd())):
        standing = next(folder for folder in (place, *place.parents) if folder.exists())
        free = shutil.disk_usage(standing).free
        sentence = f"{free / 1e9:,.2f} GB free at {place}"
        other = "export DPS_HOME=FOLDER_ON_ANOTHER_DISK" if name == "disk" else "cd FOLDER_ON_ANOTHER_DISK"
        if free < _FULL_BYTES:
            yield CheckResult(name, "problem", f"{sentence}: the disk is full", other)
        elif not standing.is_dir() or not os.access(standing, os.W_OK):
            yield CheckResult(name, "note", f"{sentence}, but nothing can be written there", other)
        else:
            yield CheckResult(name, "ok", sentence)


def check_weights(statuses: list[WeightStatus]) -> Iterator[CheckResult]:
    """One finding for each wrong file, and one for all that are whole and all that are missing."""
    whole = [status for status in statuses if status.status == "ok"]
    names = [f"{item.name} (not the published file)" if item.verified is False else item.name for item in whole]
    yield CheckResult("weights", "ok", f"{len(whole)} installed, hashes right: {', '.join(names)}")
    missing = []
    for status in statuses:
        file = find_weights(status.name)
        mending = f"dps weights get {file.name}" if file.url is not None else f"dps weights import {file.filename}"
        if file.bundled_folder is not None:
            mending = REINSTALL
        state: State = "problem"
        if status.status == "wrong hash":
            sentence = f"wrong hash, SHA-256 {status.actual_sha256}, expected {status.expected_sha256}"
            if mending.startswith("dps weights get"):  # the first sets a wrong file aside and fails
                mending = f"dps weights path {file.name} || {mending}"
        elif status.status == "missing" and file.bundled_folder is not None:
            sentence = "missing, though it comes with the package"
        elif status.status == "missing" and status.path.exists():
            state, sentence = "note", f"not used, since its card {file.name}.json is missing or damaged"
        else:
            missing += [file.name] if status.status == "missing" else []
            continue
        yield CheckResult(f"weights {file.name}", state, f"{status.path}: {sentence}", mending)
    if missing:
        more = f" and {len(missing) - 4} more" if len(missing) > 4 else ""
        sentence = f"{len(missing)} not installed: {', '.join(missing[:4])}{more}"
        yield CheckResult("weights-missing", "note", sentence, "dps weights list")


def check_tasks(whole: set[str]) -> Iterator[CheckResult]:
    """What can run with the weights that are whole; only an editor without weights stops work."""
    from models.editing.loading import find_sources  # with torch, which may not load

    tasks: tuple[Task, ...] = ("edit", "synthesis")
    for task in tasks:
        names = [weight_name(task, network) for network in ("G64", "G128", "G256", "F256")]
        lacking = [name for name in names if name not in whole]
        if lacking and not _is_there(lambda task=task: find_sources("bundled", task)):  # type: ignore[misc]
            sentence = (
                f"cannot run, since {', '.join(lacking)} are not installed; `dps weights list` says where their files "
                "are, and your own weights of `dps train` go into --weights"
            )
            yield CheckResult(task, "problem" if task == "edit" else "note", sentence, "dps weights import FILE")
        else:
            yield CheckResult(task, "ok", f"{'bundled' if lacking else 'official'} weights are there")
    able = {
        method.name: not method.needs_weights
        or bool(whole & set(method.weight_names) and whole >= set(method.beside))
        or _is_there(partial(find_method_weights, method, "bundled"))
        for method in METHODS.values()
        if method.stem != "dps" and method.made_by is None
    }
    lpips = [backbone.weights for backbone in BACKBONES.values()]
    metrics = {"PSNR, SSIM, L1, edges": True, "LPIPS": bool(whole & set(lpips)), "FID": INCEPTION in whole}
    missing = INCEPTION if metrics["LPIPS"] else lpips[0]
    for kind, found, command in (
        ("baselines", able, "dps weights import FILE"),
        ("metrics", metrics, f"dps weights get {missing}"),
    ):
        sentence = f"can run: {', '.join(name for name in found if found[name])}"
        if all(found.values()):
            yield CheckResult(kind, "ok", sentence)
        else:
            unable = ", ".join(name for name in found if not found[name])
            yield CheckResult(kind, "note", f"{sentence}; cannot, for lack of weights: {unable}", command)


def _is_there(find: Callable[[], object]) -> bool:
    try:
        return bool(find())
    except MissingError:
        return False


def check_data(place: Path) -> Iterator[CheckResult]:
    """Recognise a folder or zip; names and headers are read, `dpsdata verify` reads every byte."""
    from dpsdata.dataset.manifest import read_dataset, read_manifest, root_hash
    from dpsdata.images.header import probe_image
    from dpsdata.sources.layouts import find_samples, read_sample

    again = f"dpsdata build SOURCE {shlex.quote(str(place))}"
    if (place / "dataset.json").is_file():
        try:
            description, rows = read_dataset(place), read_manifest(place)
        except MissingError as error:
            yield CheckResult("data", "problem", str(error), again)
            return
        good = sum(row.status == "ok" for row in rows)
        if good and root_hash(rows) == description["root_hash"]:
            sentence = f"{place}: built by `dpsdata build`, {good:,} samples of {description['size']} px"
            yield CheckResult("data", "ok", f"{sentence}; `dpsdata verify` reads every file")
        else:
            sentence = f"{place}: broken, its manifest.csv holds no sample or is not that of dataset.json"
            yield CheckResult("data", "problem", sentence, again)
        return
    listing = find_samples(place)
    count = len(listing.samples)
    bad, sizes = [f"{path}: {reason}" for path, reason in listing.skipped], []
    for index in sorted({number * (count - 1) // (_PROBED_COUNT - 1) for number in range(_PROBED_COUNT)}):
        sample = listing.samples[index]
        try:
            sizes.append("{}x{}".format(*probe_image(read_sample(sample))))
        except BrokenImageError as error:
            bad.insert(0, f"{sample.relative_path}: {error}")
    if not sizes:
        raise MissingError(f"{place}: no photo in it can be read, such as {bad[0]}")
    sentence = f"{place}: {count:,} photos, layout {listing.layout}, such as {sizes[0]} px"
    if bad:
        sentence += f"; at least {len(bad)} cannot be used, such as {bad[0]}; a build lists them in errors.csv"
    state: State = "note" if bad else "ok"
    yield CheckResult("data", state, sentence, f"dpsdata build {shlex.quote(str(place))} BUILT" if bad else "")
