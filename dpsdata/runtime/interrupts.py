"""Ctrl-C that cannot be lost: not in an import, not in a destructor, not in a library that catches everything.

SIGTERM, by which schedulers and containers end a job, is the same, so that work is saved and nothing is left running.

Only what Python has loaded already is imported, as this comes first of all.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

INTERRUPTED_WORDS = "interrupted; run the same command again to resume"


class _State:
    seen = False
    is_installed = False
    is_caught = False


def install() -> None:
    """Take over Ctrl-C and SIGTERM; in a worker process leave Ctrl-C to the parent, which ends its workers."""
    if "multiprocessing.spawn" in sys.modules:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return
    signal.signal(signal.SIGTERM, _interrupt)
    sys.unraisablehook = _report_unraisable
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # such as of `nohup` and of jobs in the background
        return
    _State.is_installed = True
    signal.signal(signal.SIGINT, _interrupt)


def begin() -> None:
    """From here on somebody catches KeyboardInterrupt; before, the process ends on the spot."""
    _State.is_caught = True


def is_interrupted() -> bool:
    """Whether Ctrl-C was pressed, also where something swallowed it."""
    return _State.seen


def finish() -> None:
    """The work is done: Ctrl-C changes nothing any more."""
    if _State.is_installed:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    if signal.getsignal(signal.SIGTERM) is _interrupt:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _interrupt(number: int, frame: FrameType | None) -> None:
    _State.seen = True
    # Libraries swallow what is raised while they are imported, or become half made; nothing of ours is open then.
    if not _State.is_caught or _is_importing(frame):
        os.write(2, f"error: {INTERRUPTED_WORDS}\n".encode())
        os._exit(130)
    raise KeyboardInterrupt


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _report_unraisable(unraisable: Any) -> None:
    if unraisable.exc_type is KeyboardInterrupt:  # raised in a destructor, where it is thrown away
        _thread.start_new_thread(_interrupt_again, ())
        return
    sys.__unraisablehook__(unraisable)


def _interrupt_again() -> None:
    time.sleep(0.01)  # until the hook has returned: in it, too, it would be thrown away
    os.kill(os.getpid(), signal.SIGTERM)  # some jobs ignore SIGINT
