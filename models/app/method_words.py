"""What the page says of a method: its name in the list, its button, and what it cannot do."""

from __future__ import annotations

from collections.abc import Iterable

from models.methods.registry import METHODS, Method


def name_editors(weights: Iterable[str]) -> list[str]:
    """Names of the sets of weights of Deep Plastic Surgery, which say which set only where there are several."""
    sets, title = list(weights), METHODS["dps"].title
    return [title] if len(sets) == 1 else [f"{title}, {name} weights" for name in sets]


def name_baseline(method: Method) -> str:
    """The name of a method without a level."""
    return f"{method.title}, no level" if method.takes_sketch else f"{method.title}, no level, no line"


def say_limits(method: Method) -> tuple[str, ...]:
    """Sentences on what it lacks beside Deep Plastic Surgery."""
    if method.has_level:
        return ()
    one = f"{method.title} has no level, so there is one result."
    return (one,) if method.takes_sketch else (one, f"{method.title} does not read the lines.")


def refuse_folder(method: Method) -> str:
    """Why there is no edit folder of a result, and what there is instead."""
    return (
        f"A saved edit is what `dps edit --from` repeats, which runs Deep Plastic Surgery, not {method.title}. "
        "Save this result as PNG or JPEG; the hole and the lines can be saved as PNG too."
    )
