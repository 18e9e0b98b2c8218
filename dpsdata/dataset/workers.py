"""Workers of a build: one compute thread each, the network loaded once."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from dpsdata.contracts import BrokenImageError
from dpsdata.dataset.stages import SampleBuilder, SampleRecord, StageOptions
from dpsdata.hed import HED, load_hed
from dpsdata.runtime.device import use_one_thread
from dpsdata.runtime.files import write_bytes_atomic
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


class FolderFiles:
    """Files of a sample under their own names below a built folder, each written in one step."""

    def __init__(self, out: Path) -> None:
        self._out = out

    def is_intact(self, path: str, sha256: str, size: int) -> bool:
        """Told from its size; `dpsdata verify` reads the bytes."""
        try:
            return os.stat(f"{self._out}/{path}").st_size == size  # noqa: PTH116 (asked for every file)
        except OSError:
            return False

    def source(self, path: str) -> Path:
        """The file itself."""
        return self._out / path

    def save(self, path: str, data: bytes) -> None:
        """Write it."""
        write_bytes_atomic(self._out / path, data)


def load_net(setup: WorkerSetup) -> HED:
    """The HED of one process; it computes on one thread, so that bytes do not depend on the cores."""
    use_one_thread()
    hed = setup.options.hed
    if setup.device != "cpu":  # the same kernels on every run, and fp32 where fp32 was asked for
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.allow_tf32 = False
    return load_hed(setup.edges, setup.variant, precision=hed["precision"], border=hed["border"], device=setup.device)


def run_task(builder: SampleBuilder, task: Task) -> SampleRecord:
    """Build one sample; a broken photo gives a record with its reason."""
    try:
        return builder.run(task.record, lambda: read_sample(task.sample))
    except BrokenImageError as error:
        return broken_record(task, error)


def broken_record(task: Task, error: BrokenImageError) -> SampleRecord:
    """The record of a sample whose photo cannot be read."""
    return replace(
        task.record, source_sha256="", keys={}, files={}, sample_stats={}, error=str(error), notes={}, options_key=""
    )
