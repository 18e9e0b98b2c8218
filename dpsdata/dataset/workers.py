"""Worker processes of a build: one compute thread each, the network loaded once."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from dpsdata.contracts import BrokenImageError, EnvironmentFailure
from dpsdata.dataset.stages import SampleBuilder, SampleRecord, StageOptions
from dpsdata.hed import load_hed
from dpsdata.runtime.device import use_one_thread
from dpsdata.runtime.files import write_bytes_atomic
from dpsdata.runtime.processes import serve_parent
from dpsdata.sources.layouts import SourceSample, read_sample


@dataclass(frozen=True)
class Task:
    """One sample to build, with what an earlier build recorded of it."""

    sample: SourceSample
    record: SampleRecord


@dataclass(frozen=True)
class WorkerSetup:
    """What a worker needs to start."""

    out: Path
    options: StageOptions
    edges: str
    variant: str
    device: str


def run_task(builder: SampleBuilder, task: Task) -> SampleRecord:
    """Build one sample; a broken photo gives a record with its reason."""
    try:
        return builder.run(task.record, lambda: read_sample(task.sample))
    except BrokenImageError as error:
        return replace(task.record, source_sha256="", keys={}, files={}, facts={}, error=str(error))


def make_builder(setup: WorkerSetup) -> SampleBuilder:
    """The builder of one process; it computes on one thread, so that bytes do not depend on the cores."""
    use_one_thread()
    hed = setup.options.hed
    net = load_hed(setup.edges, setup.variant, precision=hed["precision"], border=hed["border"], device=setup.device)

    def is_intact(path: str, size: int) -> bool:
        try:
            return (setup.out / path).stat().st_size == size
        except OSError:
            return False

    def save(path: str, data: bytes) -> None:
        write_bytes_atomic(setup.out / path, data)

    return SampleBuilder(setup.options, net, is_intact, lambda path: setup.out / path, save)


_builder: SampleBuilder | None = None


def _start_worker(setup: WorkerSetup) -> None:
    global _builder
    serve_parent()
    _builder = make_builder(setup)


def _work(task: Task) -> SampleRecord:
    if _builder is None:
        raise EnvironmentFailure("a worker process was not set up")
    return run_task(_builder, task)


def build_samples(setup: WorkerSetup, tasks: Sequence[Task], workers: int) -> Iterator[SampleRecord]:
    """Build all tasks; yields records as they are done, in any order.

    Args:
        setup: what every process needs.
        tasks: the samples.
        workers: processes; 1 runs in this process.

    Raises:
        EnvironmentFailure: a file cannot be written, or a worker was killed.
    """
    if workers == 1:
        builder = make_builder(setup)
        for task in tasks:
            yield run_task(builder, task)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_start_worker, initargs=(setup,)) as pool:
        try:
            yield from _windowed(pool, _work, tasks, window=4 * workers)
        except BrokenProcessPool as error:
            raise EnvironmentFailure(
                "a worker process died (out of memory, or killed); run the same command again to go on, "
                "with fewer --workers if memory is short"
            ) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def _windowed(
    pool: ProcessPoolExecutor, work: Callable[[_Item], _Result], items: Sequence[_Item], window: int
) -> Iterator[_Result]:
    """Results in order of completion with at most `window` items under way, so that a stop loses little."""
    waiting: set[Future[_Result]] = set()
    for item in items:
        waiting.add(pool.submit(work, item))
        if len(waiting) >= window:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    while waiting:
        done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
        yield from (future.result() for future in done)
