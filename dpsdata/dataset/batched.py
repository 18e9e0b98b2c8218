"""Builds on a GPU: many readers, one process that detects in batches of one size, many finishers.

The last batch is filled up with black photos, so that every photo goes through the same kernels and no byte depends on
who shared its batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from dpsdata.contracts import BrokenImageError
from dpsdata.dataset.stages import (
    BegunSample,
    FolderFiles,
    SampleBuilder,
    SampleRecord,
    Task,
    WorkerSetup,
    broken_record,
    load_net,
    quantise_edges,
    run_task,
)
from dpsdata.engines import Job, open_engine
from dpsdata.hed import HED
from dpsdata.hed.network import detect_stream
from dpsdata.runtime.device import use_one_thread
from dpsdata.runtime.processes import core_count
from dpsdata.sources.layouts import read_sample


@dataclass(frozen=True)
class _Half:
    """A task between its readers and its finishers; `begun` is its record where the photo is broken."""

    task: Task
    begun: BegunSample | SampleRecord
    edges: NDArray[np.float32] | None = None

    @property
    def image(self) -> NDArray[np.uint8] | None:
        return self.begun.image if isinstance(self.begun, BegunSample) else None


def build_in_batches(setup: WorkerSetup, tasks: Iterable[Task], workers: int, batch: int) -> Iterator[SampleRecord]:
    """Build samples into files of their own, with HED in this process alone.

    Args:
        setup: of the build.
        tasks: the samples.
        workers: processes that read, and as many that finish; 1 for this process alone.
        batch: photos in one pass of HED.

    Returns:
        Records as samples are done, in any order.
    """
    net = load_net(setup)
    readers, finishers = open_engine("local", workers), open_engine("local", workers)
    ahead = 4 + 2 * batch // workers
    begun = readers.run(Job(prepare=partial(_reader, setup), tasks_ahead=ahead), tasks)
    return finishers.run(Job(prepare=partial(_finisher, setup), tasks_ahead=ahead), _detect(net, begun, batch))


def file_worker(setup: WorkerSetup) -> Callable[[tuple[Task, ...]], tuple[SampleRecord, ...]]:
    """A worker that builds at most a batch of samples after the other into files of their own."""
    builder, batch = SampleBuilder(setup.options, load_net(setup), FolderFiles(setup.out)), setup.options.batch
    pool = ThreadPoolExecutor(core_count()) if batch > 1 else None

    def work(tasks: tuple[Task, ...]) -> tuple[SampleRecord, ...]:
        if pool is None or builder.net is None:
            records: Iterable[SampleRecord] = [run_task(builder, task) for task in tasks]
        else:
            records = run_batch(builder, builder.net, list(tasks), batch, pool)
        pairs = zip(records, tasks, strict=True)
        return tuple(record if record.error else record.keep_others(task.record) for record, task in pairs)

    return work


def run_batch(
    builder: SampleBuilder, net: HED, tasks: list[Task], batch: int, pool: ThreadPoolExecutor
) -> Iterator[SampleRecord]:
    """Build at most one batch of samples in one process, read and decoded by threads; records in their order."""
    halves = list(pool.map(partial(_begin, builder), tasks))
    places = [place for place, half in enumerate(halves) if half.image is not None]
    edges: dict[int, NDArray[np.float32]] = {}
    if places:
        images = [image for half in halves if (image := half.image) is not None]
        edges = dict(zip(places, next(detect_stream(net, [_fill(images, batch)])), strict=False))
    for place, half in enumerate(halves):
        yield _finish(builder, _Half(half.task, half.begun, edges.get(place)))


def _fill(images: list[NDArray[np.uint8]], batch: int) -> NDArray[np.uint8]:
    blank = np.zeros_like(images[0])
    return np.stack(images + [blank] * (batch - len(images)))


def _detect(net: HED, halves: Iterable[_Half], batch: int) -> Iterator[_Half]:
    """Halves with their edges; one whose edges are there already goes on at once."""
    groups: list[list[_Half]] = []

    def batches() -> Iterator[NDArray[np.uint8]]:
        group: list[_Half] = []
        for half in halves:
            if half.image is None:
                ready.append(half)
                continue
            group.append(half)
            if len(group) == batch:
                groups.append(group)
                yield _fill([image for each in group if (image := each.image) is not None], batch)
                group = []
        if group:
            groups.append(group)
            yield _fill([image for each in group if (image := each.image) is not None], batch)

    ready: list[_Half] = []
    for found in detect_stream(net, batches()):
        yield from ready
        ready.clear()
        for half, edges in zip(groups.pop(0), found, strict=False):
            yield _Half(half.task, half.begun, edges)
    yield from ready


def _begin(builder: SampleBuilder, task: Task) -> _Half:
    try:
        return _Half(task, builder.begin(task.record, lambda: read_sample(task.sample)))
    except BrokenImageError as error:
        return _Half(task, broken_record(task, error))


def _finish(builder: SampleBuilder, half: _Half) -> SampleRecord:
    if isinstance(half.begun, SampleRecord):
        return half.begun
    try:
        return builder.finish(half.begun, None if half.edges is None else quantise_edges(half.edges))
    except BrokenImageError as error:
        return broken_record(half.task, error)


def _reader(setup: WorkerSetup) -> Callable[[Task], _Half]:
    use_one_thread()
    return partial(_begin, SampleBuilder(setup.options, None, FolderFiles(setup.out)))


def _finisher(setup: WorkerSetup) -> Callable[[_Half], SampleRecord]:
    use_one_thread()
    builder = SampleBuilder(setup.options, None, FolderFiles(setup.out))

    def work(half: _Half) -> SampleRecord:
        record = _finish(builder, half)
        return record if record.error else record.keep_others(half.task.record)

    return work
