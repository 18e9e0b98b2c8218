"""How far a long job is: a bar on a terminal, elsewhere a line a minute."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

_Item = TypeVar("_Item")
_SECONDS = 60.0


def track(items: Iterable[_Item], total: int, unit: str, say: Callable[[str], None] | None) -> Iterator[_Item]:
    """The items, while their count is shown.

    Args:
        items: what is worked on; the work of an item is done when the next is asked for.
        total: how many there are.
        unit: what one is called.
        say: takes the lines where stderr is no terminal; None to show nothing at all.
    """
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    said = time.monotonic()
    for count, item in enumerate(tqdm(items, total=total, unit=unit, disable=say is None or not is_terminal)):
        if say is not None and not is_terminal and time.monotonic() - said >= _SECONDS:
            said = time.monotonic()
            say(f"{count:,} of {total:,} {unit}s")
        yield item
