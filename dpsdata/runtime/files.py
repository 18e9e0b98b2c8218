"""Atomic writes: a file is there in full under its final name, or not at all; and locks on folders."""

from __future__ import annotations

import errno
import os
import re
import secrets
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from dpsdata.contracts import EnvironmentFailure, UsageError

# `s3://bucket/x`, also as a `Path` has it, with one slash; a letter alone is a drive of Windows.
ADDRESS = re.compile(r"(?i)([a-z][a-z0-9+.-]+)://?([^/].*)", re.DOTALL)
TEMPORARY_PREFIX = ".dps-"
TEMPORARY_SUFFIX = ".tmp"

_SENTENCES = {
    errno.ENOSPC: "the disk is full; free some space and run the command again",
    errno.EDQUOT: "the disk quota is used up; free some space and run the command again",
    errno.EACCES: "no permission to write there; choose another folder or change its permissions",
    errno.EPERM: "no permission to write there; choose another folder or change its permissions",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.ENOENT: "its folder does not exist; create it first",
    errno.ENOTDIR: "a part of this path is a file, not a folder; choose another path",
    errno.EISDIR: "a folder of this name is in the way; choose another name",
    errno.ENAMETOOLONG: "the name is too long for this file system; choose a shorter one",
}


def is_temporary_name(name: str) -> bool:
    """Whether a file of this name is what a killed write left behind, so that it may be deleted."""
    return name.startswith(TEMPORARY_PREFIX) and name.endswith(TEMPORARY_SUFFIX)


def write_failure(path: str | os.PathLike[str], error: OSError) -> EnvironmentFailure:
    """The error to raise when `path` could not be written, as one clear sentence."""
    reason = _SENTENCES.get(error.errno or 0, error.strerror or str(error))
    return EnvironmentFailure(f"{os.fspath(path)}: cannot write this file: {reason}")


def check_is_local(path: str | os.PathLike[str]) -> None:
    """Raise UsageError where a folder to write into is an address: only `dpsdata build` writes to one."""
    found = ADDRESS.match(os.fspath(path))
    if found:
        raise UsageError(
            f"{found[1]}://...: only `dpsdata build SRC s3://BUCKET/OUT --format webdataset` writes to an address; "
            "choose a folder of this machine"
        )


def make_folder(path: Path) -> None:
    """Make a folder and those above it; EnvironmentFailure says why it cannot be made."""
    check_is_local(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_failure(path, error) from error


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary name in the folder of `path`, moved to `path` in one step where the block ends well.

    Args:
        path: the final name; its folder must exist; a file there is replaced.

    Raises:
        EnvironmentFailure: disk full, no permission, no such folder; nothing is left behind.
    """
    check_is_local(path)
    final = Path(path)
    # A random name, since process numbers repeat across containers that share one folder.
    temporary = final.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}{TEMPORARY_SUFFIX}"
    try:
        try:
            yield temporary
            temporary.replace(final)
        except BaseException:  # also on Ctrl-C: no half file stays
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise write_failure(final, error) from error


def write_bytes_atomic(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data`, the whole content, as `atomic_path` does; raises EnvironmentFailure as it does."""
    with atomic_path(path) as temporary, temporary.open("xb") as stream:
        stream.write(data)


def write_text_atomic(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` as UTF-8 with `write_bytes_atomic`; line ends are kept as they are."""
    write_bytes_atomic(path, text.encode("utf-8"))


_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL)


@contextmanager
def lock_folder(folder: Path, path: Path, work: str) -> Iterator[None]:
    """Hold a folder for one process; on a disk without locks, such as some of a network, only warn.

    Args:
        folder: as the error names it.
        path: of the file that is locked; it stays when the lock is gone.
        work: what is done there, such as `build`.

    Raises:
        EnvironmentFailure: another process holds it, or the file cannot be written.
    """
    check_is_local(path)
    lock, owner = FileLock(path, timeout=0, fallback_to_soft=False), path.with_name(f"{path.name}.pid")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise EnvironmentFailure(
            f"{folder}: another {work} (process {_read_owner(owner)}) is writing here; wait for it or choose another "
            "folder"
        ) from None
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
            raise write_failure(folder, error) from error
        warnings.warn(
            f"{folder}: this disk has no file locks, so nothing stops a second {work}; do not start one", stacklevel=3
        )
        yield
        return
    try:
        owner.write_text(str(os.getpid()), encoding="ascii")
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


def _read_owner(owner: Path) -> str:
    with suppress(OSError, ValueError):
        return owner.read_text(encoding="ascii").strip() or "unknown"
    return "unknown"
