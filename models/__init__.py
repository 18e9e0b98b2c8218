"""Deep Plastic Surgery: networks, weights, photo editing. Names are imported when they are first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dpsdata.lazy_names import lazy_names

# Registers names of files only; without it `dps weights list` would not know those of this room.
from models import bundled_weights as _bundled_weights  # noqa: F401
from models import official_weights as _official_weights  # noqa: F401
from models import vgg_weights as _vgg_weights  # noqa: F401
from models.baselines import official as _official_baselines  # noqa: F401

if TYPE_CHECKING:
    from models.editing_net import EditingNet, EditTensors
    from models.loading import load_discriminator, load_editing_net, load_editor
    from models.predictor import Editor, EditResult
    from models.presets import ModelConfig, find_config

_HOMES = {
    "EditResult": "models.predictor",
    "EditTensors": "models.editing_net",
    "EditingNet": "models.editing_net",
    "Editor": "models.predictor",
    "ModelConfig": "models.presets",
    "find_config": "models.presets",
    "load_discriminator": "models.loading",
    "load_editing_net": "models.loading",
    "load_editor": "models.loading",
}

__all__ = [
    "EditResult",
    "EditTensors",
    "EditingNet",
    "Editor",
    "ModelConfig",
    "find_config",
    "load_discriminator",
    "load_editing_net",
    "load_editor",
]


__getattr__, __dir__ = lazy_names(__name__, _HOMES)
