"""What `dps doctor` finds, and how a check that fails itself becomes a finding."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from dpsdata.contracts import DpsError

State = Literal["ok", "note", "problem"]
INSTALL = "pip install --force-reinstall deep-plastic-surgery"
_MOST_LETTERS = 600


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: of the check, the same in every version.
        state: `ok`; `note` for what some work lacks; `problem` for what stops work.
        sentence: what was found, for people.
        command: what mends it; empty where it is ok.
    """

    name: str
    state: State
    sentence: str
    command: str = ""


def printable(text: str) -> str:
    """`text` in one line that any terminal can show: file names may hold anything."""
    whole = text.encode("utf-8", "backslashreplace").decode("utf-8")
    letters = [letter if letter.isprintable() else " " for letter in whole]
    line = " ".join("".join(letters).split())
    return line if len(line) <= _MOST_LETTERS else f"{line[:_MOST_LETTERS]}..."


def run_check(name: str, command: str, check: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """The findings of a check; where it cannot be made, a problem that says why and names `command`."""
    try:
        return list(check())
    except DpsError as error:
        return [Finding(name, "problem", printable(str(error)), command)]
    except ImportError as error:
        return [Finding(name, "problem", printable(f"cannot be checked, a library does not load: {error}"), INSTALL)]
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        return [Finding(name, "problem", printable(f"cannot be checked: {reason}"), command)]
