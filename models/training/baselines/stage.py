"""The single stage of a baseline's training."""

from __future__ import annotations

import math
from dataclasses import dataclass

from models.training.baselines.config import BaselineTrainConfig


@dataclass(frozen=True)
class BaselineStage:
    """The training of one network against its discriminator.

    Attributes:
        name: of the method.
        batch_size: images per step, over all processes.
        mask_count: size of its pool of masks.
        images: seen in all.
    """

    name: str
    batch_size: int
    mask_count: int
    images: int

    @property
    def step_count(self) -> int:
        """All steps."""
        return math.ceil(self.images / self.batch_size)


def plan_baseline_stage(config: BaselineTrainConfig) -> BaselineStage:
    """The stage of a config."""
    return BaselineStage(config.method, config.batch_size, config.mask_count, config.images)
