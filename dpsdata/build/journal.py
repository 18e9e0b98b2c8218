"""The journal of a build: one line a sample, appended when its files are in place, read on resume."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from dpsdata.atomic import is_temporary_name, write_failure, write_text_atomic
from dpsdata.build.stages import SampleRecord
from dpsdata.contracts import EnvironmentFailure, UsageError

STATE_FOLDER = ".build"
UNFINISHED = "unfinished"
_FIELDS = {item.name for item in fields(SampleRecord)}


def state_folder(out: Path) -> Path:
    """Folder of a build's own state; not a part of the dataset."""
    return out / STATE_FOLDER


@contextmanager
def build_lock(out: Path) -> Iterator[None]:
    """Hold the folder for one build; the lock goes with the process, also when it is killed.

    Raises:
        EnvironmentFailure: another build holds it, or the folder cannot be written.
        UsageError: `out` is a file, or a folder with other things in it.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: expected a folder to build into, but this is a file; choose another --out")
    if out.is_dir() and not state_folder(out).is_dir() and any(out.iterdir()):
        raise UsageError(f"{out}: this folder holds files that no build made; choose an empty or a new folder")
    try:
        state_folder(out).mkdir(parents=True, exist_ok=True)
        handle = (state_folder(out) / "lock").open("a+", encoding="ascii")
    except OSError as error:
        raise write_failure(out, error) from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            handle.seek(0)
            owner = handle.read().strip() or "unknown"
            raise EnvironmentFailure(
                f"{out}: another build (process {owner}) is writing here; wait for it or choose another folder"
            ) from None
        handle.seek(0)
        handle.truncate()
        handle.write(str(os.getpid()))
        handle.flush()
        yield


def remove_temporaries(out: Path) -> None:
    """Delete what killed writes left behind; only under the lock."""
    for folder, _, names in os.walk(out):
        for name in names:
            if is_temporary_name(name):
                Path(folder, name).unlink(missing_ok=True)


def read_journal(out: Path) -> dict[str, SampleRecord]:
    """The newest record of every sample. A last line that a kill cut short is skipped."""
    records: dict[str, SampleRecord] = {}
    try:
        text = (state_folder(out) / "journal.jsonl").read_text(encoding="utf-8")
    except FileNotFoundError:
        return records
    for line in text.splitlines():
        try:
            row: dict[str, Any] = json.loads(line)
        except json.JSONDecodeError:
            continue
        if set(row) == _FIELDS:
            row["files"] = {path: (digest, size) for path, (digest, size) in row["files"].items()}
            records[row["id"]] = SampleRecord(**row)
    return records


class Journal:
    """Appends records; opened by the one process that writes it."""

    def __init__(self, out: Path, records: dict[str, SampleRecord]) -> None:
        self.path = state_folder(out) / "journal.jsonl"
        # Rewritten on open: lines that newer ones replaced and a line cut short by a kill go.
        write_text_atomic(self.path, "".join(_line(record) for record in records.values()))
        self._file: TextIO = self.path.open("a", encoding="utf-8")

    def append(self, record: SampleRecord) -> None:
        """Record a finished or failed sample; it survives a kill of this process from here on."""
        try:
            self._file.write(_line(record))
            self._file.flush()
        except OSError as error:
            raise write_failure(self.path, error) from error

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._file.close()
        except OSError as late:  # a full disk fails here once more; the first failure is the one to tell
            if error is None:
                raise write_failure(self.path, late) from late


def _line(record: SampleRecord) -> str:
    return json.dumps(asdict(record), ensure_ascii=False, sort_keys=True) + "\n"
