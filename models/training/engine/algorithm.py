"""What differs between the trainings: networks, stages, one step, validation, and what is exported."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.training.engine.batches import BatchPixels
from models.training.engine.initial_weights import InitialNetworks
from models.training.engine.losses import PerceptualLoss, PerceptualName, StageParts, StageT
from models.training.engine.validation import ValidationSet

if TYPE_CHECKING:
    from accelerate import Accelerator


class Algorithm(ABC, Generic[StageT]):
    """A training as the loop sees it; the loop adds averages, checkpoints, resuming and reports.

    Attributes:
        device: where it runs.
        stages: in their order.
        nets: all networks that a checkpoint keeps, by the name of their group, with their first weights.
        perceptual: the perceptual loss; None before `use_perceptual`, and in trainings without one.
    """

    def __init__(self, device: torch.device, stages: tuple[StageT, ...], nets: dict[str, nn.Module]) -> None:
        self.device, self.stages, self.nets = device, stages, nets
        self.perceptual: PerceptualLoss | None = None
        for net in nets.values():
            net.to(device).requires_grad_(False).eval()

    @property
    def perceptual_name(self) -> str:
        """Features of the perceptual loss, or `none`."""
        return "none" if self.perceptual is None else self.perceptual.name

    def stage_nets(self) -> dict[str, nn.Module]:
        """The network that each stage trains, by the name of the stage."""
        return {stage.name: self.network(stage) for stage in self.stages}

    def loaded_perceptual(self) -> PerceptualLoss:
        """The perceptual loss of a training that has one; raise RuntimeError before `use_perceptual`."""
        if self.perceptual is None:
            raise RuntimeError("use_perceptual comes before the first step")
        return self.perceptual

    @abstractmethod
    def use_perceptual(self, name: PerceptualName) -> None:
        """Load the perceptual features of this name, where this training has such a loss."""

    @abstractmethod
    def read_weights(self, source: str) -> InitialNetworks:
        """Read exported networks of this training's kind, to begin with.

        Args:
            source: `bundled`, `official`, or a folder.

        Raises:
            MissingError: there are none, or they are damaged.
            UsageError: two files hold the same network.
        """

    def grow(self, net: nn.Module, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The tensors of a network, or what one for half the side of the photo gives it to begin with."""
        return tensors

    @abstractmethod
    def network(self, stage: StageT) -> nn.Module:
        """The network that a stage trains: one of `nets`, or a part of one."""

    def idle_parts(self, stage: StageT) -> Sequence[nn.Module]:
        """Parts of that network that no loss of the stage reaches; several processes must know them."""
        return ()

    @abstractmethod
    def make_ema_copy(self, stage: StageT) -> nn.Module:
        """Another network of the same sizes, for the averaged weights."""

    def check_beginning(self) -> None:
        """Raise UsageError where a training cannot begin with drawn weights."""

    @abstractmethod
    def make_discriminator(self, stage: StageT) -> nn.Module:
        """The discriminator of a stage with its first weights, on the CPU."""

    @abstractmethod
    def step(
        self, parts: StageParts[StageT], pixels: BatchPixels, step: int, accelerator: Accelerator
    ) -> dict[str, float]:
        """Update the discriminator, then the network, on one batch.

        Args:
            parts: networks and optimisers; changed in place.
            pixels: of this process.
            step: number of this step in the stage.
            accelerator: runs the backward passes and chooses the precision.

        Returns:
            The losses of this process, without their weights, and the two gradient norms.

        Raises:
            DivergedError: one of them is not finite; the weights are as they were before that update.
        """

    @abstractmethod
    def validate(self, stage: StageT, net: nn.Module, data: ValidationSet) -> dict[str, float]:
        """Mean PSNR in the hole in dB, by name, of a network of a stage."""

    @abstractmethod
    def draw_sheet(self, stage: StageT, net: nn.Module, data: ValidationSet) -> NDArray[np.uint8]:
        """A sample sheet, uint8 (H, W, 3), one photo in a row."""

    @abstractmethod
    def export(self, folder: Path, metadata: Mapping[str, Any]) -> None:
        """Write the averaged weights.

        Args:
            folder: where to.
            metadata: of the run, for the cards of the files; `images_seen` counts those before it too.
        """

    @abstractmethod
    def list_differences(self) -> list[str]:
        """Every difference from the published recipe, one sentence each."""

    def describe_stages(self) -> list[str]:
        """What each stage trains and for how long, one line each."""
        return [
            f"{stage.name} ({sum(value.numel() for value in self.network(stage).parameters()) / 1e6:.2f} M weights): "
            f"{stage.step_count:,} steps of {stage.batch_size}{self.describe_images(stage)}"
            for stage in self.stages
        ]

    def describe_images(self, stage: StageT) -> str:
        """What else there is to say about a stage in that line."""
        return ""

    @abstractmethod
    def next_command(self, folder: Path) -> str:
        """What to do with the exported weights."""
