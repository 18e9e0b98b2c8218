"""The journal of a build: one line a sample, appended when its files are in place, read on resume."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from dpsdata.contracts import UsageError
from dpsdata.dataset.stages import SampleRecord
from dpsdata.runtime.files import atomic_path, is_temporary_name, lock_folder, write_failure

STATE_FOLDER = ".build"
UNFINISHED = "unfinished"
_FIELDS = {item.name for item in fields(SampleRecord)}
_LATER_FIELDS = {"notes", "look", "options_key"}  # that journals of earlier versions lack


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


class Records:
    """The newest record of every sample of a journal. They stay in its file, and only their places are in memory.

    Every line is checked once, at the start. A last line that a kill cut short, or a damaged one, is skipped.

    Args:
        out: a built folder; one without a journal has no records.
    """

    def __init__(self, out: Path) -> None:
        self.path = state_folder(out) / "journal.jsonl"
        self._places: dict[str, int] = {}
        try:
            self._lines: BinaryIO | None = self.path.open("rb")
        except FileNotFoundError:
            self._lines = None
            return
        place = 0
        for line in self._lines:
            record = _read_line(line)
            if record is not None:
                self._places[record.id] = place
            place += len(line)

    def get(self, name: str) -> SampleRecord | None:
        """The record of a sample; None where there is none."""
        place = self._places.get(name)
        if place is None:
            return None
        try:
            return _make_record(_read_row(self._line_at(place)))
        except (ValueError, TypeError, AttributeError, LookupError):  # somebody wrote into the file since
            return None

    def __iter__(self) -> Iterator[SampleRecord]:
        return (record for name in self._places if (record := self.get(name)) is not None)

    def _line_at(self, place: int) -> bytes:
        if self._lines is None:
            return b""
        self._lines.seek(place)
        return self._lines.readline()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lines is not None:
            self._lines.close()


def read_journal(out: Path) -> Records:
    """The records of a built folder, to be closed by `with`."""
    return Records(out)


def _read_row(line: bytes) -> Any:
    # Bytes that a damaged disk changed make their own line unreadable and no other.
    row: Any = json.loads(line.decode("utf-8", "replace"))
    if isinstance(row, dict) and "facts" in row:  # as 0.1 to 0.3 wrote it
        row["sample_stats"] = row.pop("facts")
    return row


def _make_record(row: dict[str, Any]) -> SampleRecord:
    row["notes"] = {path: [str(note) for note in notes] for path, notes in row.get("notes", {}).items()}
    row["files"] = {path: (str(digest), int(size)) for path, (digest, size) in row["files"].items()}
    return SampleRecord(**row)


def _read_line(line: bytes) -> SampleRecord | None:
    """The record of one line; None where it is damaged, so that the sample is made again."""
    try:
        row = _read_row(line)
        if not isinstance(row, dict) or row.keys() | _LATER_FIELDS != _FIELDS:
            return None
        record = _make_record(row)
        texts = [record.id, record.source, record.stamp, record.source_sha256, record.error, record.look]
        texts.append(record.options_key)
        texts += record.keys.values()
        numbers = (record.width, record.height, *record.sample_stats.values())
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
    whole = all(isinstance(text, str) for text in texts) and all(isinstance(item, (int, float)) for item in numbers)
    return record if whole else None


class Journal(Records):
    """Records that are appended to; opened by the one process that builds."""

    def __init__(self, out: Path) -> None:
        super().__init__(out)
        self._drop_old_lines()
        self._file = self.path.open("ab")
        self._end = self._file.tell()
        if self._lines is None:
            self._lines = self.path.open("rb")

    def append(self, record: SampleRecord) -> None:
        """Record a finished or failed sample; it survives a kill of this process from here on."""
        line = (json.dumps(asdict(record), ensure_ascii=False, sort_keys=True) + "\n").encode()
        try:
            self._file.write(line)
            self._file.flush()
        except OSError as error:
            raise write_failure(self.path, error) from error
        self._places[record.id] = self._end
        self._end += len(line)

    def _drop_old_lines(self) -> None:
        """Lines that newer ones replaced, damaged ones and one that a kill cut short go."""
        if self._lines is None:
            return
        kept: dict[str, int] = {}
        end = 0
        with atomic_path(self.path) as temporary, temporary.open("xb") as stream:
            for name, place in self._places.items():
                line = self._line_at(place).rstrip(b"\n") + b"\n"
                stream.write(line)
                kept[name] = end
                end += len(line)
        self._lines.close()
        self._lines, self._places = self.path.open("rb"), kept

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        try:
            self._file.close()
        except OSError as late:  # a full disk fails here once more; the first failure is the one to tell
            if error is None:
                raise write_failure(self.path, late) from late
