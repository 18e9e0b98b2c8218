"""The training of Deep Plastic Surgery: F, then G from coarse to fine."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dpsdata.contracts import UsageError
from models.networks.discriminator import HighPassConfig, HighPassDiscriminator, PatchDiscriminator
from models.networks.editing_net import Refiner, RefinerConfig
from models.networks.initialisation import initialise_weights
from models.networks.inpainter import Inpainter, InpainterConfig
from models.training.editing.config import Stage, TrainConfig, list_differences, plan_stages
from models.training.editing.steps import FrozenNets, prepare_batch, train_on_composite, train_step
from models.training.editing.validation import draw_sheet, validate
from models.training.engine.algorithm import Algorithm
from models.training.engine.batches import BatchPixels
from models.training.engine.initial_weights import InitialNetworks, read_editing_weights
from models.training.engine.losses import PerceptualName, StageParts, load_perceptual
from models.training.engine.state import export_weights, fits
from models.training.engine.validation import ValidationSet

if TYPE_CHECKING:
    from accelerate import Accelerator


_UP = re.compile(r"ups\.(\d+)\.(.+)")


def grow_tensors(net: nn.Module, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The tensors of a network, or what one for half the side of the photo gives it to begin with.

    G keeps its coarser networks; what has the same name and shape in the finest of them begins the new one. F keeps
    the blocks near the photo, where lines are as thin at any side, and gets its deepest blocks twice.

    Args:
        net: with the weights that it keeps where the smaller network has none to give; not changed.
        tensors: state dict of a network of the same kind.

    Returns:
        `tensors` as they are, unless they are those of a network for half the side, otherwise of the same sizes.
    """
    if isinstance(net, Refiner) and len(net.config.resolutions) > 1:
        coarser = replace(net.config, resolutions=net.config.resolutions[:-1])
        return _grow_refiner(net, tensors, net.config) if fits(Refiner(coarser), tensors) else tensors
    if isinstance(net, Inpainter) and net.config.resolution > 16:
        half = replace(net.config, resolution=net.config.resolution // 2)
        return _grow_inpainter(net, tensors, half) if fits(Inpainter(half), tensors) else tensors
    return tensors


def _grow_refiner(net: Refiner, tensors: Mapping[str, Tensor], config: RefinerConfig) -> dict[str, Tensor]:
    finest, coarser = (f"scales.{size}." for size in config.resolutions[:-3:-1])
    given = {finest + key[len(coarser) :]: value for key, value in tensors.items() if key.startswith(coarser)}
    return _fitting(net, {**net.state_dict(), **tensors, **given})


def _grow_inpainter(net: Inpainter, tensors: Mapping[str, Tensor], half: InpainterConfig) -> dict[str, Tensor]:
    given = {_deeper_up(key): value for key, value in tensors.items()}
    given |= {key: value for key, value in tensors.items() if key.startswith(("ups.0.", "ups.1."))}
    deepest = f"downs.{half.depth - 1}."
    for key, value in tensors.items():
        if key.startswith(deepest):
            given[f"downs.{half.depth}." + key[len(deepest) :]] = value
    return _fitting(net, {**net.state_dict(), **given})


def _deeper_up(key: str) -> str:
    """The deepest two keep their number, since the second is there twice; all others are counted from the photo."""
    match = _UP.fullmatch(key)
    return key if match is None or int(match[1]) < 1 else f"ups.{int(match[1]) + 1}.{match[2]}"


def _fitting(net: nn.Module, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`given` with the network's own tensor wherever it has none of the same shape."""
    return {key: given[key] if given[key].shape == value.shape else value for key, value in net.state_dict().items()}


class EditingAlgorithm(Algorithm[Stage]):
    """Trains F and G.

    Args:
        config: what is trained and how.
        device: where.

    Source: VITA-Group/DeepPS@3079d46 src/train.py and trainPix2pix.py.
    """

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        self.config = config
        self.refiner = Refiner(config.networks.refiner)
        self.inpainter = Inpainter(config.networks.inpainter)
        initialise_weights(self.refiner, config.seed, "refiner")
        initialise_weights(self.inpainter, config.seed, "inpainter")
        super().__init__(device, plan_stages(config), {"refiner": self.refiner, "inpainter": self.inpainter})

    def use_perceptual(self, name: PerceptualName) -> None:
        """Load the features of the perceptual loss."""
        losses = self.config.losses
        loss = load_perceptual(name, losses.perceptual, losses.published_vgg_scaling)
        self.perceptual = loss.to(self.device)

    def read_weights(self, source: str) -> InitialNetworks:
        """G and F from exported weights."""
        return read_editing_weights(source, self.config.task, self.config.resolution)

    def grow(self, net: nn.Module, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """See `grow_tensors`."""
        return grow_tensors(net, tensors)

    def network(self, stage: Stage) -> nn.Module:
        """F, one resolution of G, or all of them."""
        if stage.part == "F":
            return self.inpainter
        return self.refiner if stage.is_joint else self.refiner.scale(stage.size)

    def idle_parts(self, stage: Stage) -> Sequence[nn.Module]:
        """The heads of the coarser resolutions, where all are trained by the losses of the finest."""
        sizes = self.refiner.config.resolutions[:-1] if stage.is_joint else ()
        return [self.refiner.scale(size).head for size in sizes]

    def make_ema_copy(self, stage: Stage) -> nn.Module:
        """The same once more."""
        if stage.part == "F":
            return Inpainter(self.inpainter.config)
        twin = Refiner(self.refiner.config)
        return twin if stage.is_joint else twin.scale(stage.size)

    def check_beginning(self) -> None:
        """F cannot learn from sketches of a G that has learned nothing."""
        if any(stage.refined_share > 0 for stage in self.stages):
            raise UsageError(
                f"{self.config.name}: refined_share needs a trained G; pass --init-from RUN, or --init-from bundled"
            )

    def make_discriminator(self, stage: Stage) -> nn.Module:
        """D at the resolution of a stage."""
        discriminator: nn.Module = (
            HighPassDiscriminator(HighPassConfig())
            if self.config.discriminator == "highpass"
            else PatchDiscriminator(self.config.networks.discriminator_at(stage.size))
        )
        initialise_weights(discriminator, self.config.seed, f"critic:{stage.name}")
        return discriminator

    def frozen_nets(self, stage: Stage) -> FrozenNets:
        """The networks that a stage uses and does not train."""
        is_step = stage.part == "G" and not stage.is_joint
        sizes = [size for size in self.refiner.config.resolutions if is_step and size < stage.size]
        coarser = {size: self.refiner.scale(size) for size in sizes}
        refiner = self.refiner if stage.refined_share > 0 else None
        return FrozenNets(coarser, self.inpainter if stage.is_finest else None, refiner)

    def step(
        self, parts: StageParts[Stage], pixels: BatchPixels, step: int, accelerator: Accelerator
    ) -> dict[str, float]:
        """Draw the level, make the sketches rough, and train; see `train_step`."""
        stage = parts.stage
        level = stage.levels_at(step, self.config.seed, pixels.keys)
        batch = prepare_batch(pixels, stage, self.config, level, self.device)
        frozen, losses = self.frozen_nets(stage), self.config.losses
        if self.config.discriminator == "highpass":
            return train_on_composite(parts, frozen, batch, losses, self.loaded_perceptual(), accelerator, step)
        return train_step(parts, frozen, batch, losses, self.loaded_perceptual(), accelerator)

    def validate(self, stage: Stage, net: nn.Module, data: ValidationSet) -> dict[str, float]:
        """Mean PSNR in the hole in dB, by level."""
        return validate(data, self.config, stage, net, self.frozen_nets(stage), self.device)

    def draw_sheet(self, stage: Stage, net: nn.Module, data: ValidationSet) -> NDArray[np.uint8]:
        """Truth, what is known, sketch read, sketch refined, photo, F's result."""
        return draw_sheet(data, self.config, stage, net, self.frozen_nets(stage), self.device)

    def export(self, folder: Path, metadata: Mapping[str, Any]) -> None:
        """Write G and F as `load_editor` reads them."""
        licence = (metadata.get("begun_with") or {}).get("licence")
        told = {"preset": self.config.name, "images_seen": metadata.get("images_seen"), "licence": licence}
        known = {key: value for key, value in told.items() if value is not None}
        export_weights(folder, self.refiner, self.inpainter, known)

    def list_differences(self) -> list[str]:
        """Every difference from the published recipe."""
        return list_differences(self.config, self.perceptual_name)

    def describe_images(self, stage: Stage) -> str:
        """How many images at which levels."""
        return f", {stage.fixed_images:,} images at level 1, then {stage.random_images:,}"

    def next_command(self, folder: Path) -> str:
        """How to edit or to paint with the weights."""
        if self.config.task == "synthesis":
            return f"dps synthesize SKETCH --weights {folder} -o OUT"
        return f"dps edit PHOTO --mask MASK --sketch SKETCH --weights {folder} -o OUT"
