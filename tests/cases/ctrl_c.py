"""Ctrl-C at many moments of a command, spread over the time that it takes.

python ctrl_c.py MOMENTS COMMAND WORDS...
(prints moment, exit code and last line of each, and exits with 1 where one is wrong)

From the entry of our first module on, the exit code is 130, and one line of the error stream says so; earlier, while
Python itself starts, death by SIGINT counts, and a command that was done before is done. OUT in WORDS stands for a
folder that is new for every moment, as a run that is finished would not be interrupted again.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

LINE = "error: interrupted"


def run(words: list[str], seconds: float | None) -> tuple[int, str, float]:
    """Exit code, error stream and duration of a command that is interrupted after some seconds, or not."""
    entry = f"from dpsdata.start import {words[0]}; {words[0]}()"
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it, and so would theirs
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-c", entry, *words[1:]],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    if seconds is not None:
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=240)[1].decode(errors="replace")
    return process.returncode, said, time.monotonic() - started


def interrupt(words: list[str], moments: int) -> Iterator[tuple[float, int, str, str]]:
    """Seconds, exit code, error stream and what is wrong, or "", of each moment."""
    with tempfile.TemporaryDirectory() as folder:
        code, said, whole = run(_fill(words, Path(folder, "whole")), None)
        if code:
            yield whole, code, said, "it fails without Ctrl-C"
            return
        for place in range(moments):
            seconds = whole * (place + 0.5) / moments
            code, said, _ = run(_fill(words, Path(folder, str(place))), seconds)
            yield seconds, code, said, _find_fault(code, said)


def _fill(words: list[str], out: Path) -> list[str]:
    return [str(out) if word == "OUT" else word for word in words]


def _find_fault(code: int, said: str) -> str:
    if "Traceback" in said or "Exception ignored" in said:
        # Python prints one of its own where it is stopped before it runs any code of ours.
        return "a traceback" if code == 130 or "dpsdata" in said.replace("__editable__", "") else ""
    if code == 130:
        lines = [line for line in said.splitlines() if not line.startswith(("note:", "saved", "warning:"))]
        lines = [line.rpartition("\r")[2] for line in lines]  # bars of progress
        return (
            "" if lines and lines[-1].startswith(LINE) and sum(LINE in line for line in lines) == 1 else "no one line"
        )
    return "" if code in (0, -signal.SIGINT) else "neither 130 nor done"


if __name__ == "__main__":
    faults = 0
    for seconds, code, said, fault in interrupt(sys.argv[2:], int(sys.argv[1])):
        lines = said.strip().splitlines()
        faults += bool(fault)
        print(
            f"{seconds:5.2f} s: {code:4d}, {len(lines)} lines, {(lines or [''])[-1][-110:]} {fault and '<-- ' + fault}"
        )
    sys.exit(faults > 0)
