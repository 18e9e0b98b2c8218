"""Training of G, F and D from a folder that `dpsdata build` made; names are imported when they are first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.training.catalogue import read_training
    from models.training.editing.config import TrainConfig
    from models.training.engine.loop import Trainer

_HOMES = {
    "TrainConfig": "models.training.editing.config",
    "Trainer": "models.training.engine.loop",
    "read_training": "models.training.catalogue",
}

__all__ = ["TrainConfig", "Trainer", "read_training"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
