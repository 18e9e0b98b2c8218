"""Training of G, F and D from a folder that `dpsdata build` made; names are imported when they are first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.training.editing.presets import find_train_preset
    from models.training.engine.loop import Trainer
from models.training.editing.config import TrainConfig

_HOMES = {
    "TrainConfig": "models.training.editing.config",
    "Trainer": "models.training.engine.loop",
    "find_train_preset": "models.training.editing.presets",
}

__all__ = ["TrainConfig", "Trainer", "find_train_preset"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
