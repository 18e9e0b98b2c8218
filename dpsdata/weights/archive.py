"""Unpacks the weight files of a zip or tar that somebody sent: nothing outside of the folder, nothing endless."""

from __future__ import annotations

import gzip
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from dpsdata.contracts import IMAGE_SUFFIXES, MissingError
from dpsdata.runtime.files import write_failure

MEMBER_BYTES_LIMIT = 1024**3
ARCHIVE_BYTES_LIMIT = 2 * 1024**3
FILE_COUNT_LIMIT = 1_000
_OTHERS = (".mp4", ".txt", ".lst", ".md", ".html", ".py", ".ipynb", ".csv", ".json", ".yml", ".yaml", ".mat")
NEVER_WEIGHTS = IMAGE_SUFFIXES.union(_OTHERS)
# Of TensorFlow.js: without it, the file beside it cannot be read.
_MANIFEST = "-weights_manifest.json"


class _Member(NamedTuple):
    name: str
    is_plain: bool
    open: Callable[[], IO[bytes] | None]


def unpack_weights(path: Path, kind: str, folder: Path) -> list[tuple[str, str]]:
    """Unpack what could be weights; members that lead out of the folder, links and doubles are passed over.

    Args:
        path: a zip, or a tar that is not compressed.
        kind: `zip` or `tar`.
        folder: an empty folder; members keep their own folders below it.

    Returns:
        (member, reason) for those that were passed over.

    Raises:
        MissingError: the archive is damaged, locked, or unpacks to more than any known weights.
    """
    skipped: list[tuple[str, str]] = []
    left_bytes, count = ARCHIVE_BYTES_LIMIT, 0
    try:
        for member in _zip_members(path) if kind == "zip" else _tar_members(path):
            relative = PurePosixPath(member.name.replace("\\", "/"))
            if relative.suffix.lower() in NEVER_WEIGHTS and not relative.name.endswith(_MANIFEST):
                continue
            count += 1
            if count > FILE_COUNT_LIMIT:
                raise MissingError(
                    f"{path}: more than {FILE_COUNT_LIMIT} files in it could be weights; unpack it, "
                    "then run `dps weights import FILE` on the right one"
                )
            reason = _reason_to_skip(member, relative, folder)
            if reason is not None:
                skipped.append((member.name, reason))
                continue
            left_bytes -= _copy(path, member, folder / relative, min(left_bytes, MEMBER_BYTES_LIMIT))
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise MissingError(
            f"{path}: a {kind} that is damaged or locked ({str(error)[:160]}); get it again, "
            "or unpack it and run `dps weights import FOLDER`"
        ) from None
    return skipped


def unpack_gzip(path: Path, target: Path) -> None:
    """Write what a gzip file holds to `target`; the bytes are counted as they come.

    Raises:
        MissingError: it is damaged, or unpacks to more than any known weights.
    """
    try:
        with gzip.open(path) as source:
            _pour(source, target, ARCHIVE_BYTES_LIMIT, f"{path}: unpacks to more than any known weights")
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise MissingError(f"{path}: a gzip file that is damaged ({error}); get it again") from None
    except OSError as error:
        raise write_failure(target, error) from error


def _zip_members(path: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if not info.is_dir():
                yield _Member(info.filename, kind in (0, stat.S_IFREG), partial(archive.open, info))


def _tar_members(path: Path) -> Iterator[_Member]:
    with tarfile.open(path, "r:") as archive:  # not compressed, so that passing over a member never unpacks it
        for entry in archive:
            if not entry.isdir():
                yield _Member(entry.name, entry.isreg(), partial(archive.extractfile, entry))


def _reason_to_skip(member: _Member, relative: PurePosixPath, folder: Path) -> str | None:
    if not member.is_plain:
        return "a link or another special file"
    if relative.is_absolute() or ".." in relative.parts or ":" in member.name or "\0" in member.name:
        return "its path leads out of the archive"
    if not relative.parts or len(member.name) > 1_000 or any(len(os.fsencode(part)) > 250 for part in relative.parts):
        return "its name is empty or too long"
    target = folder / relative
    if target.exists() or any((folder / parent).is_file() for parent in relative.parents):
        return "a second file of this name"
    return None


def _copy(path: Path, member: _Member, target: Path, limit: int) -> int:
    try:
        source = member.open()
        if source is None:  # tarfile's answer for what is no plain file
            return 0
        target.parent.mkdir(parents=True, exist_ok=True)
        reason = f"{path}: {member.name} unpacks to more than any known weights, nothing was taken in"
        with closing(source):
            return _pour(source, target, limit, reason)
    except OSError as error:
        raise write_failure(target, error) from error


def _pour(source: IO[bytes] | gzip.GzipFile, target: Path, limit: int, too_large: str) -> int:
    """Copy into a new file; the sizes in an archive's headers are claims, so the bytes are counted as they come."""
    size = 0
    with target.open("xb") as copy:
        while chunk := source.read(1 << 20):
            size += len(chunk)
            if size > limit:
                raise MissingError(
                    f"{too_large}; check where it came from, or unpack it and run `dps weights import FILE`"
                )
            copy.write(chunk)
    return size
