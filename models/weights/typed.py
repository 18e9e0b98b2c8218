"""Weights as people name them on a command line."""

from __future__ import annotations

from dpsdata.runtime.arguments import typed_path

SOURCES = ("bundled", "official")


def typed_weights(text: str) -> str:
    """`bundled`, `official`, or an absolute path, so that what a run has noted is found from anywhere."""
    return text if text in SOURCES else str(typed_path(text))
