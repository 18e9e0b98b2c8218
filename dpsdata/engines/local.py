"""The engines of one machine: this process, or a pool of processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from dpsdata.contracts import EnvironmentFailure
from dpsdata.engines.contract import Job, Result, Task, schedule
from dpsdata.runtime.processes import interrupts_held, serve_parent, spawn_context

_ADVICE = "run the same command again to resume, with fewer --workers if memory is short"


class SerialEngine:
    """Works in this process, one task after the other."""

    workers = 1

    def run(self, job: Job[Task, Result], tasks: Iterable[Task]) -> Iterator[Result]:
        """See `Engine`."""
        work: Callable[[Task], Result] | None = None
        for task in tasks:
            work = work or job.prepare()
            yield work(task)


class PoolEngine:
    """Processes of this machine; they are started for a run and end with it, or with this process."""

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def run(self, job: Job[Task, Result], tasks: Iterable[Task]) -> Iterator[Result]:
        """See `Engine`."""
        crew = _PoolCrew(job, self.workers)
        return schedule(crew, tasks, job.tasks_ahead * self.workers, job.is_ordered, _ADVICE)


class _PoolCrew:
    """A pool that is made anew with all its tasks when one of its processes dies."""

    def __init__(self, job: Job[Any, Any], workers: int) -> None:
        self._job, self._workers = job, workers
        self._pool = self._start()
        self._waiting: dict[Future[Any], int] = {}
        self._lost: list[int] = []

    def _start(self) -> ProcessPoolExecutor:
        context = spawn_context()
        return ProcessPoolExecutor(self._workers, context, _start_worker, (self._job.prepare,))

    def submit(self, number: int, task: Any) -> None:
        try:
            with interrupts_held():  # the first task starts the processes
                self._waiting[self._pool.submit(_do, task)] = number
        except BrokenProcessPool:
            self._lost.append(number)

    def collect(self) -> tuple[list[tuple[int, Any]], list[int]]:
        ended = wait(self._waiting, return_when=FIRST_COMPLETED).done if self._waiting else set()
        done: list[tuple[int, Any]] = []
        lost, self._lost = self._lost, []
        for future in ended:
            number = self._waiting.pop(future)
            try:
                done.append((number, future.result()))
            except BrokenProcessPool:
                lost.append(number)
        if lost:
            # A broken pool ends all its futures: results that were there already count, the rest is lost.
            for future, number in self._waiting.items():
                is_result = future.done() and not future.cancelled() and future.exception() is None
                done += [(number, future.result())] if is_result else []
                lost += [] if is_result else [number]
            self._waiting.clear()
            self._pool.shutdown(wait=True)
            self._pool = self._start()
        return done, lost

    def close(self, is_done: bool) -> None:
        self._pool.shutdown(wait=is_done, cancel_futures=not is_done)


_prepare: Callable[[], Callable[[Any], Any]] | None = None
_work: Callable[[Any], Any] | None = None


def _start_worker(prepare: Callable[[], Callable[[Any], Any]]) -> None:
    global _prepare
    serve_parent()
    _prepare = prepare


def _do(task: Any) -> Any:
    global _work
    if _work is None:
        # Set up with the first task, not by the initializer: a pool tells no reason of an initializer that fails.
        if _prepare is None:
            raise EnvironmentFailure("a worker process was not set up")
        _work = _prepare()
    return _work(task)
