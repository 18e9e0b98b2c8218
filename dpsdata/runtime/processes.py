"""Worker processes: how many, and how they live and end with the process that started them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.process import BaseProcess
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUPS = Path("/proc/self/cgroup")


def core_count() -> int:
    """CPU cores that this process may use: the fewer of its affinity and of the quota of its container, at least 1.

    A part of a core is not counted: on a quota of 1.5 cores a second process would mostly wait.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cores, *(int(quota) for quota in _cpu_quotas())]))


def _cpu_quotas() -> Iterator[float]:
    """The limits on this process's control groups, in cores, of cgroup v2 and v1; a parent's limit counts as well."""
    for folder in _control_groups():
        try:
            if (folder / "cpu.max").is_file():
                quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
            else:
                quota, period = ((folder / f"cpu.cfs_{name}_us").read_text(encoding="ascii") for name in _V1_NAMES)
            if int(quota) > 0:
                yield int(quota) / int(period)
        except (OSError, ValueError, ZeroDivisionError):  # no such limit, or `max`, where it is not set
            continue


_V1_NAMES = ("quota", "period")


def _control_groups() -> Iterator[Path]:
    """The folders of this process's control groups and of all above; in a container its own is the root."""
    yield from (_CGROUPS, _CGROUPS / "cpu")
    try:
        lines = _OWN_CGROUPS.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return
    for line in lines:
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        below = PurePosixPath(path.lstrip("/"))
        for part in (below, *below.parents):
            yield (_CGROUPS / "cpu" if controllers else _CGROUPS) / part


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Start processes inside: Ctrl-C reaches none of them, also while they are still importing, but their parent."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # else it would be started inside, and let signals through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Process(SpawnProcess):
    """A spawned process that does not import the script that its parent runs."""

    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Any:  # noqa: N802 (the name that multiprocessing calls)
        script, sys.modules["__main__"] = sys.modules["__main__"], ModuleType("__main__")
        try:
            return SpawnProcess._Popen(process_obj)
        finally:
            sys.modules["__main__"] = script


class _Context(SpawnContext):
    Process = _Process


def spawn_context() -> SpawnContext:
    """The context of worker processes: new ones, which import our modules and never the script that was started.

    So a script without `if __name__ == "__main__"` may call us at its top level: it is not run again in every worker.
    What is sent to a worker must therefore come from a module that can be imported.
    """
    return _Context()


def serve_parent() -> None:
    """Make this worker process leave Ctrl-C to its parent, and end when the parent is gone.

    A killed parent must not leave workers behind that go on writing.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)
