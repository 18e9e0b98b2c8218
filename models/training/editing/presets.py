"""The trainings of F and G by name."""

from __future__ import annotations

from dpsdata.contracts import UsageError
from models.training.editing.config import TrainConfig
from models.training.editing.cpu_presets import cpu_trainings
from models.training.editing.gpu_presets import lite_training, paper_training

_TINY = TrainConfig(
    "tiny",
    "tiny",
    "edit",
    64,
    inpainter_images=1_200,
    fixed_images=80,
    random_images=400,
    inpainter_batch=4,
    refiner_batches=(4, 4, 4),
    inpainter_masks=256,
    refiner_masks=(256, 256, 256),
    learning_rate=1e-3,
    average_halflife_images=100,
    warmup_images=40,
    log_images=100,
    validation_images=500,
    validation_count=8,
)

_PRESETS = {
    config.name: config
    for config in (
        paper_training("edit"),
        paper_training("synthesis"),
        *cpu_trainings(),
        lite_training("edit", 128),
        lite_training("edit", 256),
        lite_training("synthesis", 256),
        _TINY,
    )
}


def train_preset_names() -> tuple[str, ...]:
    """Names of all presets."""
    return tuple(_PRESETS)


def find_train_preset(name: str) -> TrainConfig:
    """The preset of this name; raise UsageError naming those that exist."""
    if name not in _PRESETS:
        raise UsageError(f"preset: expected one of {', '.join(_PRESETS)}, got {name!r}")
    return _PRESETS[name]
