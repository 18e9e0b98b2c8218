"""A lock on a folder that goes with the process that holds it, also when that process is killed."""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from dpsdata.contracts import EnvironmentFailure
from dpsdata.runtime.files import check_is_local, write_failure

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
            f"{folder}: this disk knows no locks, so nothing keeps a second {work} out; do not start one", stacklevel=3
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
