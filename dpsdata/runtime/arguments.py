"""What people type on a command line: lists, numbers, levels, paths."""

from __future__ import annotations

import math
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from dpsdata.contracts import DEFAULT_LEVELS, UsageError, check_levels

LEVELS_TEXT = ",".join(f"{level:g}" for level in DEFAULT_LEVELS)


def split_words(text: str) -> tuple[str, ...]:
    """The words between commas, each once, in their order."""
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The known name that is nearest to a mistyped one, as the beginning of a sentence; "" where none is near."""
    known = list(known)
    near = get_close_matches(word, known, 1) or [name for name in known if word and name.startswith(word)]
    return f"did you mean {near[0]}? " if near else ""


def parse_numbers(text: str, option: str, count: int | None = None) -> tuple[float, ...]:
    """Numbers comma-separated.

    Raises:
        UsageError: something else, or not `count` of them.
    """
    try:
        values = tuple(float(part) for part in text.removesuffix(",").split(","))
    except ValueError:
        values = (math.nan,)
    if not all(map(math.isfinite, values)) or count not in (None, len(values)):
        expected = "numbers" if count is None else f"{count} numbers"
        raise UsageError(f"{option}: expected {expected}, comma-separated, got {text!r}")
    return values


def parse_levels(text: str) -> tuple[float, ...]:
    """Refinement levels in [0, 1] comma-separated, each once, in their order; UsageError for anything else."""
    return check_levels(parse_numbers(text, "--levels"))


def typed_path(text: str) -> Path:
    """An absolute path, with `~` for the home folder; UsageError for the `~` of somebody who is not there."""
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:
        raise UsageError(f"{text}: there is no such home folder; write the path in full") from None
