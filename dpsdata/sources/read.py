"""Reading one sample of a source, from a folder or from inside a zip, without ever blocking or growing."""

from __future__ import annotations

import functools
import os
import stat
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from dpsdata.contracts import BrokenImageError, MissingError

MAX_SAMPLE_BYTES = 512 * 2**20

Place = tuple[Path, int | None]


@dataclass(frozen=True)
class SourceSample:
    """One photo of a source.

    Attributes:
        id: stable ID, see `dpsdata.sources.layouts`.
        relative_path: path below the source with `/` between its parts.
        file: the image file, or the zip that holds it.
        member: number of the entry in the zip, or None for a plain file. A number, since names can repeat.
        split_hint: split that the layout itself gives (`train`, `val`, `test`), or None.
    """

    id: str
    relative_path: str
    file: Path
    member: int | None = None
    split_hint: str | None = None


@functools.lru_cache(maxsize=8)
def _cached_zip(path: Path, size: int, mtime_ns: int, process: int) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)


def open_zip(path: Path) -> zipfile.ZipFile:
    """An open zip, kept for this process: reading the directory of 30,000 entries for each photo would dominate.

    Raises:
        MissingError: no such file, or no readable zip.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise MissingError(f"{path}: not an ordinary file; give a folder of photos or a zip of them")
        return _cached_zip(path, status.st_size, status.st_mtime_ns, os.getpid())
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or error
        raise MissingError(f"{path}: not a readable zip ({reason}); download it again or unpack it") from None


def _read_file(path: Path) -> bytes:
    # Opening a FIFO without O_NONBLOCK would wait for a writer.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        number = os.open(path, flags)
    except FileNotFoundError:
        reason = "a link to a file that does not exist" if path.is_symlink() else "the file does not exist"
        raise BrokenImageError(reason) from None
    except OSError as error:
        raise BrokenImageError(f"the file cannot be opened: {error.strerror}") from None
    try:
        status = os.fstat(number)
        if stat.S_ISDIR(status.st_mode):
            raise BrokenImageError("a folder, not an image file")
        if not stat.S_ISREG(status.st_mode):
            raise BrokenImageError("not an ordinary file but a pipe, a socket or a device")
        with os.fdopen(number, "rb", closefd=False) as stream:
            return stream.read(MAX_SAMPLE_BYTES + 1)
    except OSError as error:
        raise BrokenImageError(f"the file cannot be read: {error.strerror}") from None
    finally:
        os.close(number)


def _read_member(path: Path, member: int) -> bytes:
    try:
        archive = open_zip(path)
        with archive.open(archive.infolist()[member]) as stream:
            return stream.read(MAX_SAMPLE_BYTES + 1)
    except MissingError as error:
        raise BrokenImageError(str(error)) from None
    except IndexError:
        raise BrokenImageError("the zip has changed: it has fewer entries than when it was listed") from None
    except (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        # also encrypted members (RuntimeError) and damaged bzip2 or lzma data
        raise BrokenImageError(f"the entry of the zip is damaged: {error}") from None
    except Exception as error:  # lzma.LZMAError has no base below Exception, and lzma may be missing
        raise BrokenImageError(f"the entry of the zip cannot be unpacked: {error}") from None


def read_place(file: Path, member: int | None) -> bytes:
    """Bytes of a file, or of entry `member` of a zip.

    Raises:
        BrokenImageError: empty, too large, no ordinary file, damaged; the message is the reason.
    """
    data = _read_file(file) if member is None else _read_member(file, member)
    if not data:
        raise BrokenImageError("the file is empty (0 bytes)")
    if len(data) > MAX_SAMPLE_BYTES:
        raise BrokenImageError(f"the file has more than the {MAX_SAMPLE_BYTES} bytes that are read")
    return data


def read_start(file: Path, member: int | None = None, size: int = 32) -> bytes:
    """The first bytes of a file, or of an entry of a zip; fewer where it ends.

    Raises:
        BrokenImageError: it cannot be read.
    """
    try:
        if member is None:
            with file.open("rb") as stream:
                return stream.read(size)
        archive = open_zip(file)
        with archive.open(archive.infolist()[member]) as entry:
            return entry.read(size)
    except Exception as error:  # damaged entries of a zip raise nearly anything
        raise BrokenImageError(f"the file cannot be read: {error}") from None


def read_sample(sample: SourceSample) -> bytes:
    """Bytes of one sample.

    Raises:
        BrokenImageError: empty, too large, no ordinary file, damaged; the message is the reason.
    """
    return read_place(sample.file, sample.member)


def sample_stamp(sample: SourceSample) -> str:
    """What changes when the content of a sample changes: size and time, or size and CRC inside a zip."""
    try:
        if sample.member is not None:
            entry = open_zip(sample.file).infolist()[sample.member]
            return f"{entry.file_size}-{entry.CRC:08x}"
        status = sample.file.stat()
    except (OSError, MissingError, IndexError):
        return "missing"
    return f"{status.st_size}-{status.st_mtime_ns}"
