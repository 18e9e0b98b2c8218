"""Weights as people name them on a command line."""

from __future__ import annotations

from dpsdata.runtime.arguments import typed_path

SOURCES = ("bundled", "official")


def typed_weights(text: str) -> str:
    """`bundled`, `official`, or an absolute path, so that what a run has noted is found from anywhere."""
    return text if text in SOURCES else str(typed_path(text))


def choose_weights(weights: str | None, task: str) -> str:
    """The name to load by; a folder becomes absolute, so that `--from` finds it from anywhere."""
    if weights is None:
        from dpsdata.weights import installed
        from models.networks.config import check_task
        from models.weights.official import weight_name

        names = [weight_name(check_task(task), network) for network in ("G64", "G128", "G256", "F256")]
        return "official" if all(map(installed, names)) else "bundled"
    return typed_weights(weights)
