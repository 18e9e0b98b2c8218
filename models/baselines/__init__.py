"""Baselines: DeepFillv2 and SC-FEGAN, from official TensorFlow weights or ours. Names are imported when first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dpsdata.runtime.lazy_names import lazy_names

if TYPE_CHECKING:
    from models.baselines.deepfillv2 import DeepFillv2, DeepFillv2Config
    from models.baselines.loading import load_deepfillv2, load_scfegan
    from models.baselines.scfegan import ScFegan, ScFeganConfig

_HOMES = {
    "DeepFillv2": "models.baselines.deepfillv2",
    "DeepFillv2Config": "models.baselines.deepfillv2",
    "ScFegan": "models.baselines.scfegan",
    "ScFeganConfig": "models.baselines.scfegan",
    "load_deepfillv2": "models.baselines.loading",
    "load_scfegan": "models.baselines.loading",
}

__all__ = [
    "DeepFillv2",
    "DeepFillv2Config",
    "ScFegan",
    "ScFeganConfig",
    "load_deepfillv2",
    "load_scfegan",
]


__getattr__, __dir__ = lazy_names(__name__, _HOMES)
