"""The journal of a build: one line a sample, appended when its files are in place, read on resume."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from dpsdata.contracts import UsageError
from dpsdata.dataset.stages import SampleRecord
from dpsdata.runtime.files import is_temporary_name, write_failure, write_text_atomic
from dpsdata.runtime.lock_file import lock_folder

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
    try:
        _check_target(out)
    except OSError as error:
        raise write_failure(out, error) from error
    with lock_folder(out, state_folder(out) / "lock", "build"):
        yield


def _check_target(out: Path) -> None:
    if out.is_symlink() and not out.exists():
        raise UsageError(f"{out}: a link to a folder that does not exist; create that folder or choose another OUT")
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: expected a folder to build into, but this is a file; choose another OUT")
    if not out.is_dir() or state_folder(out).is_dir():
        return
    # A copy of a built folder often comes without its hidden state; its files are simply made again.
    is_built = all((out / name).is_file() for name in ("dataset.json", "manifest.csv"))
    if not is_built and any(out.iterdir()):
        raise UsageError(f"{out}: this folder holds files that no build made; choose an empty or a new folder")


def remove_temporaries(out: Path) -> None:
    """Delete what killed writes left behind; only under the lock."""
    for folder, _, names in os.walk(out):
        for name in names:
            if is_temporary_name(name):
                Path(folder, name).unlink(missing_ok=True)


def read_journal(out: Path) -> dict[str, SampleRecord]:
    """The newest record of every sample. A last line that a kill cut short, or a damaged one, is skipped."""
    records: dict[str, SampleRecord] = {}
    try:
        # Bytes that a damaged disk changed make their own line unreadable and no other.
        text = (state_folder(out) / "journal.jsonl").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return records
    for line in text.split("\n"):
        record = _read_line(line)
        if record is not None:
            records[record.id] = record
    return records


def _read_line(line: str) -> SampleRecord | None:
    """The record of one line; None where it is damaged, so that the sample is made again."""
    try:
        row: Any = json.loads(line)
        if not isinstance(row, dict) or {*row, "notes", "look"} != _FIELDS:
            return None
        row["notes"] = {path: [str(note) for note in notes] for path, notes in row.get("notes", {}).items()}
        row["files"] = {path: (str(digest), int(size)) for path, (digest, size) in row["files"].items()}
        record = SampleRecord(**row)
        texts = [record.id, record.source, record.stamp, record.source_sha256, record.error, record.look]
        texts += record.keys.values()
        numbers = (record.width, record.height, *record.facts.values())
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
    whole = all(isinstance(text, str) for text in texts) and all(isinstance(item, (int, float)) for item in numbers)
    return record if whole else None


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
