"""The engine of many machines: actors of a Ray cluster, each set up once. Needs the extra `[ray]`."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import socket
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from dpsdata.contracts import DpsError, EnvironmentFailure
from dpsdata.engines.contract import Job, Result, Task, schedule
from dpsdata.runtime.processes import core_count

_ADVICE = "run the same command again to resume, with fewer --workers if memory is short"
_STORE_BYTES = 512 * 2**20  # of the cluster that is started here: tasks and results are small and soon taken


def import_ray() -> Any:
    """The module `ray`, which sends no usage statistics from here.

    Raises:
        EnvironmentFailure: Ray is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise EnvironmentFailure(
            "engine: Ray is not installed; run `pip install 'deep-plastic-surgery[ray]'`, or use --engine local"
        ) from None
    return ray


class RayEngine:
    """Actors with one core each; a lost one is replaced and its tasks are given to others.

    Tasks name files, so every machine of the cluster must see sources and targets under the same paths.

    Args:
        workers: actors; 0 for one per core of the cluster. No more than it has cores.
        address: of a running cluster; None for the one that the variable RAY_ADDRESS names, else one is started here
            and ends with this process.

    Raises:
        EnvironmentFailure: Ray is not installed, or the cluster cannot be reached.
    """

    def __init__(self, workers: int, address: str | None = None) -> None:
        self._ray = import_ray()
        if not self._ray.is_initialized():
            self._connect(workers, address or os.environ.get("RAY_ADDRESS") or "local")
        cores = max(1, int(self._ray.cluster_resources().get("CPU", 1)))
        self.workers = min(workers, cores) if workers else cores

    def _connect(self, workers: int, address: str) -> None:
        options: dict[str, Any] = {}
        if address == "local":
            options = {"num_cpus": workers or core_count(), "object_store_memory": _STORE_BYTES}
        try:
            _check_address(address)
            self._ray.init(
                address=address, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False, **options
            )
        except Exception as error:  # a bare one where a busy machine does not start Ray within its 30 s
            reason = " ".join(str(error).split())[:200]
            if address == "local":
                raise EnvironmentFailure(
                    f"engine: Ray did not start ({reason}); run it again when the machine is less busy, or use "
                    "--engine local"
                ) from error
            raise EnvironmentFailure(
                f"engine: no Ray cluster at {address} ({reason}); start one with `ray start --head`, leave --address "
                "out to start one here, or use --engine local"
            ) from error

    def run(self, job: Job[Task, Result], tasks: Iterable[Task]) -> Iterator[Result]:
        """See `Engine`."""
        workers = self.workers
        if job.gpus:  # an actor that no GPU is left for would wait for ever
            workers = min(workers, int(self._ray.cluster_resources().get("GPU", 0)) // job.gpus)
        if not workers:
            raise EnvironmentFailure("engine: the Ray cluster has no GPU; use --device cpu, or another --address")
        crew = _RayCrew(self._ray, job, workers)
        return schedule(crew, tasks, job.tasks_ahead * workers, job.is_ordered, _ADVICE)


def _check_address(address: str) -> None:
    """Raise OSError where nobody answers: Ray itself would end this process without a word."""
    if address in ("local", "auto") or "://" in address:
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise ValueError("expected HOST:PORT, auto, or ray://HOST:PORT")
    socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


class _Actor:
    """One worker: set up by its first task, so that a failure to is told as the failure of a task."""

    def __init__(self, prepare: bytes) -> None:
        self._prepare = prepare  # pickled, as its module may be missing on the actor's machine
        self._work: Callable[[Any], Any] | None = None

    def work(self, task: Any) -> Any:
        if self._work is None:
            prepare: Callable[[], Callable[[Any], Any]] = pickle.loads(self._prepare)  # noqa: S301 - of our own driver
            self._work = prepare()
        return self._work(task)


class _RayCrew:
    def __init__(self, ray: Any, job: Job[Any, Any], workers: int) -> None:
        self._ray = ray
        self._class = ray.remote(num_cpus=1, num_gpus=job.gpus, max_restarts=0, max_task_retries=0)(_Actor)
        self._prepare = pickle.dumps(job.prepare)
        self._actors = [self._class.remote(self._prepare) for _ in range(workers)]
        self._loads = [0] * workers
        self._waiting: dict[Any, tuple[int, int]] = {}  # reference -> number of the task, place of its actor

    def submit(self, number: int, task: Any) -> None:
        place = min(range(len(self._actors)), key=self._loads.__getitem__)
        self._loads[place] += 1
        self._waiting[self._actors[place].work.remote(task)] = number, place

    def collect(self) -> tuple[list[tuple[int, Any]], list[int]]:
        try:
            ready, _ = self._ray.wait(list(self._waiting), num_returns=1)
        except self._ray.exceptions.RayError as error:
            raise EnvironmentFailure(f"the Ray cluster was lost ({type(error).__name__}); {_ADVICE}") from error
        done: list[tuple[int, Any]] = []
        lost: list[int] = []
        for reference in ready:
            number, place = self._waiting.pop(reference)
            self._loads[place] -= 1
            try:
                done.append((number, self._ray.get(reference)))
            except self._ray.exceptions.RayTaskError as error:
                raise _cause(error) from None
            except self._ray.exceptions.RayError:  # the actor or its machine is gone
                lost.append(number)
                lost += self._replace(place)
        return done, lost

    def _replace(self, place: int) -> list[int]:
        """Put a new actor in the place of a lost one; returns the other tasks that it had."""
        with contextlib.suppress(Exception):
            self._ray.kill(self._actors[place])
        self._actors[place] = self._class.remote(self._prepare)
        self._loads[place] = 0
        gone = [reference for reference, (_, where) in self._waiting.items() if where == place]
        return [self._waiting.pop(reference)[0] for reference in gone]

    def close(self, is_done: bool) -> None:
        for actor in self._actors:
            with contextlib.suppress(Exception):  # the cluster may be gone, and all its actors with it
                self._ray.kill(actor)


def _cause(error: Any) -> BaseException:
    """What the task raised, as it would have been raised here."""
    cause = error.cause if isinstance(error.cause, BaseException) else error
    return cause if isinstance(cause, DpsError) else error
