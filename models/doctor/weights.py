"""Weights as `dps doctor` sees them: what is installed, whether it is whole, and what can run with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dpsdata.contracts import MissingError
from dpsdata.weights import WeightStatus, find_weights
from dpsdata.weights.known.inception import INCEPTION
from dpsdata.weights.known.lpips_backbones import BACKBONES
from models.doctor.findings import INSTALL, Finding, printable
from models.methods.registry import METHODS, Method
from models.weights.official import weight_name

if TYPE_CHECKING:
    from models.networks.config import Task

# metric -> weights, one of which lets it run; the preferred first
METRIC_WEIGHTS: Final[Mapping[str, tuple[str, ...]]] = {
    "lpips": tuple(backbone.weights for backbone in BACKBONES.values()),
    "fid": (INCEPTION,),
}
_NETWORKS = ("G64", "G128", "G256", "F256")


@dataclass(frozen=True)
class TaskState:
    """Whether a task can run.

    Attributes:
        name: `edit`, `synthesis`, a method of `dps predict`, or a metric that needs weights.
        kind: `edit`, `synthesis`, `baseline` or `metric`.
        can_run: whether it has weights, or needs none.
        origin: `official`, `bundled`, or `none` where it needs none or has none.
        lacking: names of weights that would let it run; empty where it can, or where none were published.
    """

    name: str
    kind: str
    can_run: bool
    origin: str
    lacking: tuple[str, ...]


def _is_bundled(name: str) -> bool:
    return find_weights(name).bundled_folder is not None


def _mending(name: str) -> str:
    if _is_bundled(name):
        return INSTALL
    if find_weights(name).url is not None:
        # The first sets a wrong file aside and fails, the second gets it anew.
        return f"dps weights path {name} || dps weights get {name}"
    return f"dps weights import {find_weights(name).filename}"


def check_files(statuses: list[WeightStatus]) -> Iterator[Finding]:
    """One finding for each wrong file, and one for all that are whole and all that are missing."""
    whole = [status for status in statuses if status.status == "ok"]
    if whole:
        names = [f"{item.name} (not the published file)" if item.verified is False else item.name for item in whole]
        yield Finding("weights", "ok", f"{len(whole)} installed, hashes right: {', '.join(names)}")
    for status in statuses:
        if status.status == "wrong hash":
            sentence = (
                f"{status.path}: wrong hash, SHA-256 {status.actual_sha256}, but {status.expected_sha256} was expected"
            )
            yield Finding(f"weights {status.name}", "problem", printable(sentence), _mending(status.name))
        elif status.status == "missing" and _is_bundled(status.name):
            sentence = printable(f"{status.path}: missing, though it comes with the package")
            yield Finding(f"weights {status.name}", "problem", sentence, INSTALL)
        elif status.status == "missing" and status.path.exists():
            sentence = printable(f"{status.path}: not used, since its card {status.name}.json is missing or damaged")
            command = _mending(status.name).rpartition("|| ")[2]
            yield Finding(f"weights {status.name}", "note", sentence, command)
    missing = [item.name for item in statuses if item.status == "missing" and not _is_bundled(item.name)]
    if missing:
        sentence = f"{len(missing)} not installed: {', '.join(missing)}"
        yield Finding("weights-missing", "note", sentence, "dps weights list")


def list_tasks(statuses: list[WeightStatus]) -> list[TaskState]:
    """What can run with the weights that are whole; nothing is loaded."""
    whole = {status.name for status in statuses if status.status == "ok"}
    tasks: list[TaskState] = []
    editing: tuple[Task, ...] = ("edit", "synthesis")
    for task in editing:
        names = [weight_name(task, network) for network in _NETWORKS]
        lacking = tuple(name for name in names if name not in whole)
        origin = "official" if not lacking else "bundled" if _has_bundled_net(task) else "none"
        tasks.append(TaskState(task, task, origin != "none", origin, () if origin != "none" else lacking))
    can_refine = tasks[0].can_run
    for method in METHODS.values():
        if method.name != "dps" and method.made_by is None:
            tasks.append(_method_state(method, whole, can_refine))
    for metric, nets in METRIC_WEIGHTS.items():
        there = any(name in whole for name in nets)
        tasks.append(TaskState(metric, "metric", there, "official" if there else "none", () if there else nets[:1]))
    return tasks


def _has_bundled_net(task: Task) -> bool:
    try:
        from models.editing.loading import find_sources

        return all(Path(source).is_file() for source in find_sources("bundled", task).values())
    except (MissingError, ImportError, OSError, RuntimeError):  # of these, torch that does not load has its own finding
        return False


def _method_state(method: Method, whole: set[str], can_refine: bool) -> TaskState:
    from models.methods.weights import find_method_weights

    if not method.needs_weights:
        return TaskState(method.name, "baseline", True, "none", ())
    origin = "official" if whole & set(method.weight_names) else "none"
    if origin == "none":
        try:
            find_method_weights(method, "bundled")
            origin = "bundled"
        except MissingError:
            pass
    # What it is fed with is G's sketch, so it needs Deep Plastic Surgery too.
    can_run = origin != "none" and (method.sketch_from is None or can_refine)
    return TaskState(method.name, "baseline", can_run, origin, method.weight_names if origin == "none" else ())


def check_tasks(tasks: list[TaskState]) -> Iterator[Finding]:
    """One finding for each kind of task: only an editor without weights stops work."""
    by_kind: dict[str, list[TaskState]] = {}
    for task in tasks:
        by_kind.setdefault(task.kind, []).append(task)
    for kind in ("edit", "synthesis"):
        (task,) = by_kind[kind]
        if task.can_run:
            yield Finding(kind, "ok", f"{task.origin} weights are there")
            continue
        sentence = (
            f"cannot run, since {', '.join(task.lacking)} are not installed; `dps weights list` says where their files "
            "are, and your own weights of `dps train` go into --weights"
        )
        yield Finding(kind, "problem" if kind == "edit" else "note", sentence, "dps weights import FILE")
    yield _check_kind("baselines", by_kind["baseline"], "dps weights import FILE")
    first = next((task.lacking[0] for task in by_kind["metric"] if task.lacking), "")
    needless = "psnr, ssim, l1 and edges need no weights"
    yield _check_kind("metrics", by_kind["metric"], f"dps weights get {first}", needless)


def _check_kind(name: str, tasks: list[TaskState], command: str, also: str = "") -> Finding:
    able = [task.name for task in tasks if task.can_run]
    unable = [
        f"{task.name} ({', '.join(task.lacking)})" if task.lacking else task.name for task in tasks if not task.can_run
    ]
    parts = [also] if also else []
    parts += [f"can run: {', '.join(able)}"] if able else []
    parts += [f"cannot, for lack of weights: {', '.join(unable)}"] if unable else []
    return Finding(name, "note" if unable else "ok", "; ".join(parts), command if unable else "")
