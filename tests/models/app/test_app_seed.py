from __future__ import annotations

from copy import deepcopy
from typing import Any

from models.app.events import SessionSeed


def test_every_copy_of_the_seed_is_a_session_of_its_own() -> None:
    """A tab that is quicker than the page's loading has a session too."""
    made: list[Any] = []

    def make() -> Any:
        made.append(object())
        return made[-1]

    seed = SessionSeed(make)
    assert [deepcopy(seed), deepcopy(seed)] == made
    assert made[0] is not made[1]
