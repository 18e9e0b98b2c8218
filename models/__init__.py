"""Deep Plastic Surgery: networks, weights, photo editing. Names are imported when they are first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dpsdata.runtime.lazy_names import lazy_names
from models.baselines import official as _official_baselines  # noqa: F401
from models.baselines.sketchrefiner import official as _sketchrefiner  # noqa: F401

# Registers names of files only; without it `dps weights list` would not know those of this room.
from models.weights import bundled as _bundled_weights  # noqa: F401
from models.weights import official as _official_weights  # noqa: F401
from models.weights import vgg19 as _vgg_weights  # noqa: F401

if TYPE_CHECKING:
    from models.editing.editor import Editor, EditResult, load_editor
    from models.editing.loading import load_discriminator, load_editing_net
    from models.methods.registry import list_methods
    from models.networks.config import ModelConfig, find_config
    from models.networks.editing_net import EditingNet, EditTensors

_HOMES = {
    "EditResult": "models.editing.editor",
    "EditTensors": "models.networks.editing_net",
    "EditingNet": "models.networks.editing_net",
    "Editor": "models.editing.editor",
    "ModelConfig": "models.networks.config",
    "find_config": "models.networks.config",
    "load_discriminator": "models.editing.loading",
    "load_editing_net": "models.editing.loading",
    "list_methods": "models.methods.registry",
    "load_editor": "models.editing.editor",
}

__all__ = [
    "EditResult",
    "EditTensors",
    "EditingNet",
    "Editor",
    "ModelConfig",
    "find_config",
    "list_methods",
    "load_discriminator",
    "load_editing_net",
    "load_editor",
]


__getattr__, __dir__ = lazy_names(__name__, _HOMES)
