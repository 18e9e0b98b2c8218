"""Named sizes of G, F and D together: `published`, `lite`, `stem` and `tiny`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from dpsdata.contracts import UsageError
from models.networks.discriminator import DiscriminatorConfig, stride_layers_for
from models.networks.editing_net import RefinerConfig
from models.networks.inpainter import EDIT_CHANNELS, SYNTHESIS_CHANNELS, InpainterConfig
from models.networks.inpainter import Task as Task

PresetName = Literal["published", "lite", "stem", "tiny"]

_PUBLISHED_RESOLUTIONS = (64, 128, 256)


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of the networks of one model.

    Attributes:
        refiner: of G.
        inpainter: of F, at G's finest resolution and for the same task.
        discriminator: of the D of the finest resolution; `discriminator_at` gives the others.
    """

    refiner: RefinerConfig
    inpainter: InpainterConfig
    discriminator: DiscriminatorConfig

    def __post_init__(self) -> None:
        channels = self.refiner.input_channels
        if self.inpainter.input_channels != channels or self.discriminator.input_channels != max(channels, 6):
            raise UsageError(
                f"model: expected one task, got {channels} input channels for G, {self.inpainter.input_channels} for F "
                f"and {self.discriminator.input_channels} for D (7, 7, 7 for editing; 3, 3, 6 for synthesis)"
            )
        if self.refiner.resolutions[-1] != self.inpainter.resolution:
            raise UsageError(
                f"model: expected F at G's finest resolution, got {self.inpainter.resolution} px for F and "
                f"{self.refiner.resolutions} px for G"
            )

    @property
    def task(self) -> Task:
        """`edit` or `synthesis`."""
        return "edit" if self.refiner.input_channels == EDIT_CHANNELS else "synthesis"

    def discriminator_at(self, size: int) -> DiscriminatorConfig:
        """Sizes of the D of one resolution in px."""
        self.refiner.depth(size)
        return replace(self.discriminator, stride_layers=stride_layers_for(size))


def check_task(task: str) -> Task:
    """Return `edit` or `synthesis`; raise UsageError for anything else."""
    if task == "edit":
        return "edit"
    if task == "synthesis":
        return "synthesis"
    raise UsageError(f"task: expected edit or synthesis, got {task!r}")


def published_config(task: Task = "edit", resolution: int = 256) -> ModelConfig:
    """The published sizes, for 64, 128 or 256 px."""
    check_task(task)
    if resolution not in _PUBLISHED_RESOLUTIONS:
        raise UsageError(f"resolution: expected one of {_PUBLISHED_RESOLUTIONS} px, got {resolution}")
    sizes = tuple(size for size in _PUBLISHED_RESOLUTIONS if size <= resolution)
    is_edit = task == "edit"
    channels = EDIT_CHANNELS if is_edit else SYNTHESIS_CHANNELS
    return ModelConfig(
        RefinerConfig(input_channels=channels, resolutions=sizes),
        InpainterConfig(input_channels=channels, resolution=resolution, norm="batch" if is_edit else "none"),
        DiscriminatorConfig(input_channels=7 if is_edit else 6, stride_layers=stride_layers_for(resolution)),
    )


def lite_config(task: Task = "edit", resolution: int = 256) -> ModelConfig:
    """Half the width, so about a quarter of the cost; at 256 px G and F fit in 20 MB of fp16.

    F's deepest blocks hold most of its bytes and next to none of its cost, so the maximum width is cut further.
    BatchNorm in both tasks: it is folded away at load.
    """
    base = published_config(task, resolution)
    return ModelConfig(
        replace(base.refiner, width=32, max_width=192),
        replace(base.inpainter, width=32, max_width=192, norm="batch"),
        replace(base.discriminator, width=32),
    )


def stem_config(task: Task = "edit", resolution: int = 256) -> ModelConfig:
    """256 px on a grid of 64x64 px, for a CPU: one network of G, since all would run on grids of one size anyway.

    An image costs a quarter of what it costs `lite`; G and F fit in 24 MB of fp16.
    """
    base = published_config(task, resolution)
    stem = max(1, resolution // _PUBLISHED_RESOLUTIONS[0])
    return ModelConfig(
        replace(base.refiner, width=48, max_width=192, style_width=64, resolutions=(resolution,), stem=stem),
        replace(base.inpainter, width=64, max_width=256, norm="batch", stem=stem),
        replace(base.discriminator, width=32),
    )


def tiny_config(task: Task = "edit", resolution: int = 64) -> ModelConfig:
    """For tests and first steps: three resolutions up to 64 px by default, trained in minutes on two cores."""
    base = published_config(task)
    sizes = (resolution // 4, resolution // 2, resolution)
    return ModelConfig(
        replace(base.refiner, width=12, max_width=48, residual_blocks=1, resolutions=sizes, style_width=16),
        replace(base.inpainter, width=12, max_width=48, resolution=resolution, norm="batch"),
        replace(base.discriminator, width=8, output_channels=8, stride_layers=stride_layers_for(resolution)),
    )


_PRESETS = {"published": published_config, "lite": lite_config, "stem": stem_config, "tiny": tiny_config}


def find_config(name: PresetName, task: Task = "edit", resolution: int | None = None) -> ModelConfig:
    """The preset of this name; `resolution` in px, None for the preset's own.

    Raises:
        UsageError: no such preset, task or resolution.
    """
    if name not in _PRESETS:
        raise UsageError(f"preset: expected one of {', '.join(get_args(PresetName))}, got {name!r}")
    make = _PRESETS[name]
    return make(task) if resolution is None else make(task, resolution)
