"""The order of a training: F, then G from coarse to fine, each in steps that know their level."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from dpsdata.runtime.device import keyed_generator
from models.training.editing.config import TrainConfig

# The extra 0.025 makes "almost 0" differ from 0: it adds a quarter of a pixel to the radius of the published pen.
RANDOM_LEVELS = (*(step / 20 for step in range(21)), 0.025)


@dataclass(frozen=True)
class Stage:
    """The training of one network against its discriminator, with all earlier ones frozen.

    Attributes:
        name: the network, such as `F256` or `G64`; `G` where all of its resolutions are trained at once.
        part: `F` or `G`.
        size: its resolution in px.
        is_finest: whether F judges G's sketch too, as at the model's own resolution.
        batch_size: images per step, over all processes.
        fixed_images: seen at level 1.
        random_images: seen at random levels after that.
        mask_count: size of its pool of masks.
        is_joint: whether all resolutions of G are trained at once, by the losses of this one.
        is_level_per_sample: whether every sample of a batch has a level of its own.
        refined_share: of F's samples, those whose sketch G refines first.
    """

    name: str
    part: Literal["F", "G"]
    size: int
    is_finest: bool
    batch_size: int
    fixed_images: int
    random_images: int
    mask_count: int
    is_joint: bool = False
    is_level_per_sample: bool = False
    refined_share: float = 0.0

    @property
    def fixed_steps(self) -> int:
        """Steps at level 1."""
        return math.ceil(self.fixed_images / self.batch_size)

    @property
    def step_count(self) -> int:
        """All steps."""
        return self.fixed_steps + math.ceil(self.random_images / self.batch_size)

    def level_at(self, step: int, seed: int) -> float:
        """The level of one step, which its whole batch shares: 1 at first, then one of 22 values."""
        if step < self.fixed_steps:
            return 1.0
        drawn = keyed_generator(seed, f"{self.name}:{step}", "train-level").integers(len(RANDOM_LEVELS))
        return RANDOM_LEVELS[int(drawn)]

    def levels_at(self, step: int, seed: int, keys: Sequence[str]) -> float | Tensor:
        """The level of one step; with a level for each sample, (N,) float32 for the samples of these names."""
        if step < self.fixed_steps or not self.is_level_per_sample:
            return self.level_at(step, seed)
        drawn = [keyed_generator(seed, key, "train-level").integers(len(RANDOM_LEVELS)) for key in keys]
        return torch.tensor([RANDOM_LEVELS[int(number)] for number in drawn])


def plan_stages(config: TrainConfig) -> tuple[Stage, ...]:
    """The stages of a training in their order.

    Source: Yang et al. 2020, section 3.4 and supplementary material.
    """
    stages = []
    for each in config.stage:
        is_joint = each.network == "G"
        size = config.resolution if each.network in ("F", "G") else int(each.network[1:])
        part: Literal["F", "G"] = "F" if each.network == "F" else "G"
        stages.append(
            Stage(
                name=f"F{size}" if part == "F" else each.network,
                part=part,
                size=size,
                is_finest=part == "G" and size == config.resolution,
                batch_size=each.batch,
                fixed_images=each.level1_images,
                random_images=each.images - each.level1_images,
                mask_count=each.masks,
                is_joint=is_joint,
                is_level_per_sample=config.level_per_sample,
                refined_share=each.refined_share,
            )
        )
    return tuple(stages)
