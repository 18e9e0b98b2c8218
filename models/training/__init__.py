"""Training of G, F and D from a folder that `dpsdata build` made; names are imported when they are first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dpsdata.runtime.lazy_names import lazy_names

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
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
