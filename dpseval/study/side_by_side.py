"""Conditions of a study in several processes at once, so that a study takes as long as all cores together need.

A condition's networks are small: one process with all cores leaves much of each core idle, several processes with a
share of the cores do not. Every process writes what `run_condition` writes, and the study then finds all conditions
done. A condition that fails is run again by the study itself, which ends with its error.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing import active_children
from threading import RLock
from typing import NamedTuple

from dpsdata.runtime.processes import core_count, serve_parent, spawn_context
from dpseval.study.conditions import run_condition
from dpseval.study.config import Condition, StudyConfig

Say = Callable[[str], None]


class ConditionJob(NamedTuple):
    """One condition, the split that it is run on, and with which methods."""

    condition: Condition
    split: str
    methods: tuple[str, ...]


def run_side_by_side(config: StudyConfig, jobs: Sequence[ConditionJob], announce: Say) -> None:
    """Run conditions in `config.jobs` processes; a condition that fails is left to be run again.

    Args:
        config: of the study; the sketches of its conditions are there already.
        jobs: what to run, each in another folder.
        announce: called with the lines of each condition when it is done.
    """
    count = min(config.jobs or core_count(), len(jobs))
    if count < 2:
        return
    threads = max(1, core_count() // count)
    # Pixels are measured in the same process: as many again would only wait for each other.
    alone = replace(config, score=replace(config.score, workers=1))
    announce(f"{len(jobs)} conditions, {count} at a time with {threads} threads each")
    with ProcessPoolExecutor(count, spawn_context(), initializer=_start, initargs=(threads,)) as pool:
        running = [pool.submit(_run, alone, job) for job in jobs]
        try:
            for future in as_completed(running):
                lines, failure = future.result()
                for line in lines:
                    announce(line)
                if failure:  # the others go on, so that the study comes to this one without waiting for them
                    announce(f"a condition failed: {failure}")
        except BrokenProcessPool:
            announce("a process died (out of memory, or killed); going on with one condition at a time")
        except BaseException:
            for process in active_children():  # a condition takes minutes, and nothing of it is lost
                process.terminate()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _run(config: StudyConfig, job: ConditionJob) -> tuple[list[str], str]:
    """What the condition says, and why it failed; a text, since not every error can be sent to another process."""
    lines: list[str] = []
    try:
        run_condition(config, *job, lines.append)
    except Exception as error:
        return lines, str(error) or type(error).__name__
    return lines, ""


def _start(threads: int) -> None:
    import cv2
    import torch
    from tqdm import tqdm

    # tqdm's own lock is one between processes, which a process that is ended leaves behind.
    tqdm.set_lock(RLock())
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    sys.stderr = _NoTerminal(sys.stderr.buffer, write_through=True)
    serve_parent()


class _NoTerminal(io.TextIOWrapper):
    """Standard error without progress bars, as those of several processes would overwrite each other."""

    def isatty(self) -> bool:
        return False
