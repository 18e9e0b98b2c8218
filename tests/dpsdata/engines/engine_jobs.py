"""Jobs for engines; a module of its own, since workers import them by name."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from dpsdata.contracts import MissingError


def prepare_square(log: Path | None = None) -> Callable[[int], tuple[int, int]]:
    """A worker that squares numbers, and tells its process."""
    if log is not None:
        with log.open("a") as file:
            file.write(f"{os.getpid()}\n")

    def work(number: int) -> tuple[int, int]:
        time.sleep(0.02 if number % 3 == 0 else 0)  # so that tasks do not end in the order in which they began
        return number * number, os.getpid()

    return work


def prepare_fragile(folder: Path, deaths: int) -> Callable[[int], int]:
    """A worker that is killed by task 5 the first `deaths` times."""

    def work(number: int) -> int:
        if number == 5:
            seen = len(list(folder.iterdir()))
            if seen < deaths:
                (folder / str(seen)).touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return number * number

    return work


def prepare_failing() -> Callable[[int], int]:
    """A worker that refuses task 3."""

    def work(number: int) -> int:
        if number == 3:
            raise MissingError("task 3: no such thing")
        return number

    return work


def prepare_nothing() -> Callable[[int], int]:
    """A worker that cannot be set up."""
    raise MissingError("no weights here")
