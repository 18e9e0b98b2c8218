"""A lock on a folder that goes with the process that holds it, also when that process is killed."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dpsdata.contracts import EnvironmentFailure
from dpsdata.runtime.files import write_failure


@contextmanager
def lock_folder(folder: Path, path: Path, work: str) -> Iterator[None]:
    """Hold a folder for one process.

    Args:
        folder: as the error names it.
        path: of the file that is locked; it stays when the lock is gone.
        work: what is done there, such as `build`.

    Raises:
        EnvironmentFailure: another process holds it, or the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.open("a+", encoding="ascii")
    except OSError as error:
        raise write_failure(folder, error) from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            handle.seek(0)
            owner = handle.read().strip() or "unknown"
            raise EnvironmentFailure(
                f"{folder}: another {work} (process {owner}) is writing here; wait for it or choose another folder"
            ) from None
        handle.seek(0)
        handle.truncate()
        handle.write(str(os.getpid()))
        handle.flush()
        yield
