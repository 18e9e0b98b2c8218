"""Building of shards: a shard is the unit of work, of resume and of the hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from dpsdata.contracts import MissingError
from dpsdata.dataset.batched import run_batch
from dpsdata.dataset.journal import state_folder
from dpsdata.dataset.plan import BuildPlan
from dpsdata.dataset.shards import (
    SHARD_FOLDER,
    ShardRow,
    describe_sample,
    hash_file,
    list_members,
    shard_name,
    split_member,
    write_shard,
)
from dpsdata.dataset.stages import SampleBuilder, SampleRecord, Task, WorkerSetup, load_net, manifest_row, run_task
from dpsdata.images.header import FilePart
from dpsdata.runtime.files import write_failure
from dpsdata.runtime.processes import core_count

_JOURNAL = "shards.jsonl"
_EARLIER = "earlier"


@dataclass(frozen=True)
class ShardRecord:
    """A written shard, one line of the state of a build.

    Attributes:
        row: its line of `shards.csv`.
        ids: of the samples that were planned for it, also of those whose photos are broken.
        stamp: its time of change in ns; where it is another one, the shard is hashed before it is trusted.
    """

    row: ShardRow
    ids: tuple[str, ...]
    stamp: int

    def is_untouched(self, out: Path) -> bool:
        """Whether the file has the size and the time that it was written with."""
        try:
            status = (out / self.row.path).stat()
        except OSError:
            return False
        return (status.st_size, status.st_mtime_ns) == (self.row.byte_count, self.stamp)

    def is_intact(self, out: Path) -> bool:
        """Whether the file is still as it was written; its bytes are read where its time is another one."""
        path = out / self.row.path
        try:
            is_whole = path.stat().st_size == self.row.byte_count
            return self.is_untouched(out) or (is_whole and hash_file(path) == self.row.sha256)
        except OSError:
            return False


@dataclass(frozen=True)
class ShardTask:
    """One shard to build.

    Attributes:
        shard: its file name.
        split: of its samples.
        ids: of its samples.
        tasks: its samples, but for those that failed before, in the order of their keys; added when it is handed
            out.
        written: the shard of an earlier build of the same name and samples.
        earlier: other shards that hold files of its samples.
    """

    shard: str
    split: str
    ids: tuple[str, ...]
    written: ShardRecord | None
    earlier: tuple[Path, ...] = ()
    tasks: tuple[Task, ...] = ()


@dataclass(frozen=True)
class ShardResult:
    """A built shard: what is known of its samples; `written` is None where all of its photos are broken."""

    shard: str
    records: tuple[SampleRecord, ...]
    written: ShardRecord | None


class _StaleShardError(Exception):
    """The shard has to be written anew."""


class _KeptFiles:
    """Files of an intact shard: whoever wants to read or to save one has to write the shard anew."""

    def is_intact(self, path: str, sha256: str, size: int) -> bool:
        return True

    def source(self, path: str) -> bytes:
        raise _StaleShardError

    def save(self, path: str, data: bytes) -> None:
        raise _StaleShardError


class _ShardSampleFiles:
    """Files of one sample after the other: new ones in memory, earlier ones in shards that may be damaged."""

    def __init__(self, shards: Sequence[Path]) -> None:
        self._saved: dict[str, bytes] = {}
        self._members: dict[str, FilePart] = {}
        for shard in shards:
            try:
                for part in list_members(shard):
                    path = split_member(part.name)[1]
                    if path is not None:
                        self._members.setdefault(path, part)
            except MissingError:
                continue  # what lies before the damage is used

    def is_intact(self, path: str, sha256: str, size: int) -> bool:
        part = self._members.get(path)
        if part is None or part.size != size:
            return False
        try:
            return hashlib.sha256(part.read_bytes()).hexdigest() == sha256
        except OSError:
            return False

    def source(self, path: str) -> bytes | FilePart:
        return self._saved[path] if path in self._saved else self._members[path]

    def save(self, path: str, data: bytes) -> None:
        self._saved[path] = data

    def take(self, paths: Sequence[str]) -> dict[str, bytes]:
        """The content of all files of a sample, which are then forgotten."""
        return {
            path: self._saved.pop(path) if path in self._saved else self._members[path].read_bytes() for path in paths
        }


class ShardWorker:
    """Builds shards in one process."""

    def __init__(self, setup: WorkerSetup) -> None:
        self._setup = setup
        self._net = load_net(setup)

    def __call__(self, task: ShardTask) -> ShardResult:
        """Keep an intact shard that holds what is wanted, or write it anew from what is still good of it."""
        if task.written is not None and task.written.is_intact(self._setup.out):
            builder = SampleBuilder(self._setup.options, self._net, _KeptFiles())
            try:
                records = [run_task(builder, sample) for sample in task.tasks]
            except _StaleShardError:
                records = []
            pairs = zip(records, task.tasks, strict=False)
            if records and all(new.files.keys() == sample.record.files.keys() for new, sample in pairs):
                return ShardResult(task.shard, tuple(records), task.written)
        return self._write(task)

    def _run(self, builder: SampleBuilder, tasks: Sequence[Task]) -> Iterator[SampleRecord]:
        """Records in the order of the tasks, with HED in batches where the build has any."""
        batch = self._setup.options.batch
        if batch == 1:
            for task in tasks:
                yield run_task(builder, task)
            return
        with ThreadPoolExecutor(core_count()) as pool:
            for start in range(0, len(tasks), batch):
                yield from run_batch(builder, self._net, list(tasks[start : start + batch]), batch, pool)

    def _write(self, task: ShardTask) -> ShardResult:
        path = self._setup.out / SHARD_FOLDER / task.shard
        files = _ShardSampleFiles([*([path] if path.is_file() else []), *task.earlier])
        builder = SampleBuilder(self._setup.options, self._net, files)
        records = []
        count = 0
        with write_shard(path) as writer:
            for record in self._run(builder, task.tasks):
                records.append(record)
                if not record.error:
                    row = manifest_row(self._setup.options, record, task.split)
                    writer.add(record.id, files.take(list(record.files)), describe_sample(row, record.sample_stats))
                    count += 1
        if not count:
            path.unlink(missing_ok=True)
            return ShardResult(task.shard, tuple(records), None)
        row_of_shard = ShardRow(task.shard, task.split, count, writer.byte_count, writer.sha256)
        return ShardResult(task.shard, tuple(records), ShardRecord(row_of_shard, task.ids, path.stat().st_mtime_ns))


class ShardState:
    """What a folder tells of its shards from build to build; opened by the one process that builds.

    Args:
        out: the folder to build into.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self._path = state_folder(out) / _JOURNAL
        self.written: dict[str, ShardRecord] = {}
        try:
            lines = self._path.read_text(encoding="utf-8", errors="replace").split("\n")
        except FileNotFoundError:
            lines = []
        for line in lines:
            record = _read_line(line)
            if record is not None:
                self.written[record.row.shard] = record

    def plan(self, plan: BuildPlan, stale: AbstractSet[str], failed: AbstractSet[str]) -> list[ShardTask]:
        """The shards of a plan that are not there yet; those of an earlier build with other samples are set aside.

        Args:
            plan: what to build.
            stale: IDs of samples whose files are not known to be the wanted ones.
            failed: IDs of samples that are in no shard.
        """
        groups: dict[str, list[str]] = {}
        for sample in plan.samples:
            groups.setdefault(plan.splits.split_of(sample.id), []).append(sample.id)
        size = plan.config.shard_size
        planned = {
            shard_name(split, start // size): (split, tuple(ids[start : start + size]))
            for split, ids in groups.items()
            for start in range(0, len(ids), size)
        }
        try:
            (self.out / SHARD_FOLDER).mkdir(exist_ok=True)
            for name in [name for name, record in self.written.items() if planned.get(name, ("", ()))[1] != record.ids]:
                self._set_aside(name)
            (state_folder(self.out) / _JOURNAL).write_text("".join(map(_line, self.written.values())), encoding="utf-8")
        except OSError as error:
            raise write_failure(self.out, error) from error
        earlier = self._find_earlier()
        return [
            ShardTask(
                name,
                split,
                ids,
                self.written.get(name),
                tuple(sorted({earlier[key] for key in ids if key in earlier})),
            )
            for name, (split, ids) in planned.items()
            if not self._is_done(name, ids, stale, failed)
        ]

    def _is_done(self, name: str, ids: tuple[str, ...], stale: AbstractSet[str], failed: AbstractSet[str]) -> bool:
        if failed >= set(ids):
            return True
        written = self.written.get(name)
        return written is not None and stale.isdisjoint(ids) and written.is_untouched(self.out)

    def record(self, result: ShardResult) -> None:
        """Note a built shard; its samples are in the journal already."""
        if result.written is None:
            self.written.pop(result.shard, None)
            return
        if self.written.get(result.shard) == result.written:
            return
        self.written[result.shard] = result.written
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(_line(result.written))
        except OSError as error:
            raise write_failure(self._path, error) from error

    def finish(self) -> None:
        """Remove what was set aside; the dataset is published."""
        folder = state_folder(self.out) / _EARLIER
        for path in folder.glob("*.tar"):
            path.unlink()

    def _set_aside(self, name: str) -> None:
        del self.written[name]
        path = self.out / SHARD_FOLDER / name
        folder = state_folder(self.out) / _EARLIER
        folder.mkdir(exist_ok=True)
        number = len(list(folder.iterdir()))
        if path.is_file():
            path.replace(folder / f"{number:06d}-{name}")

    def _find_earlier(self) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for path in sorted((state_folder(self.out) / _EARLIER).glob("*.tar")):
            try:
                found.update({split_member(part.name)[0]: path for part in list_members(path)})
            except MissingError:
                continue
        return found


def _line(record: ShardRecord) -> str:
    return json.dumps({**asdict(record.row), "ids": record.ids, "stamp": record.stamp}, ensure_ascii=False) + "\n"


_ROW_KINDS = {item.name: {"str": str, "int": int}[str(item.type)] for item in fields(ShardRow)}


def _read_line(line: str) -> ShardRecord | None:
    """The record of one line; None where it is damaged, so that the shard is made again."""
    try:
        cells: Any = json.loads(line)
        ids, stamp = cells.pop("ids"), cells.pop("stamp")
        row = ShardRow(**cells)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    whole = all(isinstance(getattr(row, name), kind) for name, kind in _ROW_KINDS.items()) and isinstance(stamp, int)
    is_list = isinstance(ids, list) and all(isinstance(name, str) for name in ids)
    return ShardRecord(row, tuple(ids), stamp) if whole and is_list else None
