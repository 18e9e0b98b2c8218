"""All trainings by the name of their preset."""

from __future__ import annotations

from typing import Any, TypeAlias

import torch

from dpsdata.contracts import UsageError
from models.training.baselines.algorithm import RivalAlgorithm
from models.training.baselines.config import RivalTrainConfig
from models.training.baselines.presets import find_rival_preset, rival_preset_names
from models.training.editing.algorithm import EditingAlgorithm
from models.training.editing.config import TrainConfig
from models.training.editing.presets import find_train_preset, train_preset_names
from models.training.engine.algorithm import Algorithm

AnyTrainConfig: TypeAlias = TrainConfig | RivalTrainConfig


def all_preset_names() -> tuple[str, ...]:
    """Names of the presets of Deep Plastic Surgery and of its rivals."""
    return (*train_preset_names(), *rival_preset_names())


def find_any_preset(name: str) -> AnyTrainConfig:
    """The preset of this name; raise UsageError naming those that exist."""
    if name in train_preset_names():
        return find_train_preset(name)
    if name in rival_preset_names():
        return find_rival_preset(name)
    raise UsageError(f"preset: expected one of {', '.join(all_preset_names())}, got {name!r}")


def make_algorithm(config: AnyTrainConfig, device: torch.device) -> Algorithm[Any]:
    """The training of a config, with its networks on the device."""
    if isinstance(config, RivalTrainConfig):
        return RivalAlgorithm(config, device)
    return EditingAlgorithm(config, device)
