"""One step of a stage: the discriminator learns, then the network that it judges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from models.networks.inpainter import Inpainter
from models.networks.published_signs import discriminator_input, network_input, split_output
from models.networks.refiner import Refiner, RefinerScale, level_column
from models.training.editing.config import LossConfig
from models.training.editing.rough_batch import TrainBatch
from models.training.editing.schedule import Stage
from models.training.engine.losses import PerceptualLoss, adversarial_loss, hinge_losses, reconstruction_loss
from models.training.engine.stage_parts import StageParts, update_weights

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True, eq=False)
class FrozenNets:
    """The networks that a stage uses and does not train.

    Attributes:
        coarser: the networks of G below, from the coarsest, by size in px.
        inpainter: F where it judges G's sketch, at the finest resolution; None elsewhere.
        refiner: all of G where F learns from sketches that it refined; None elsewhere.
    """

    coarser: dict[int, RefinerScale]
    inpainter: Inpainter | None
    refiner: Refiner | None = None


@dataclass(frozen=True, eq=False)
class Painted:
    """What the networks of a stage make of a batch.

    Attributes:
        sketch: (N, 1, S, S) in [0, 1], line = 1: G's, 0 outside of the hole; at F's stage the true one.
        photo: (N, 3, S, S) RGB in [-1, 1], of the network that is trained.
        result: (N, 3, S, S) RGB in [-1, 1], F's photo from G's sketch; None where F has no part.
    """

    sketch: Tensor
    photo: Tensor
    result: Tensor | None


def paint_batch(stage: Stage, net: nn.Module, frozen: FrozenNets, batch: TrainBatch) -> Painted:
    """Run the networks of a stage; only `net` and, through it, the sketch that F reads carry a gradient."""
    if stage.part == "F":
        return Painted(batch.sketch, net(_inpainter_input(batch, frozen.refiner, stage.size)), None)
    if stage.is_joint:
        output = net(batch.inputs, batch.level).outputs[stage.size]
    else:
        levels = level_column(batch.level, batch.photo)
        feature: Tensor | None = None
        with torch.no_grad():
            for size, scale in frozen.coarser.items():
                feature = scale.extract(batch.inputs[size], levels, feature)
        output, _ = net(batch.inputs[stage.size], levels, feature)
    sketch, photo = split_output(output, batch.mask)
    if frozen.inpainter is None:
        return Painted(sketch, photo, None)
    known = None if batch.mask is None else batch.photo
    return Painted(sketch, photo, frozen.inpainter(network_input(sketch, known, batch.mask)))


@torch.no_grad()
def _inpainter_input(batch: TrainBatch, refiner: Refiner | None, size: int) -> Tensor:
    """What F reads: true sketches, and G's in the samples that are rough."""
    inputs, rough = batch.inputs[size], batch.rough
    if rough is None or refiner is None:
        return inputs
    photo, mask = (None, None) if batch.mask is None else (batch.photo[rough.rows], batch.mask[rough.rows])
    sketch, _ = split_output(refiner(rough.inputs, rough.level).outputs[size], mask)
    return inputs.index_copy(0, rough.rows, network_input(sketch.to(inputs), photo, mask))


def train_step(
    parts: StageParts[Stage],
    frozen: FrozenNets,
    batch: TrainBatch,
    losses: LossConfig,
    perceptual: PerceptualLoss,
    accelerator: Accelerator,
) -> dict[str, float]:
    """Update D, then the net, on one batch.

    Args:
        parts: networks and optimisers; changed in place.
        frozen: the other networks of the stage.
        batch: of this process.
        losses: weights.
        perceptual: its features, on the device.
        accelerator: runs the backward passes and chooses the precision.

    Returns:
        The losses of this process, without their weights, and the two gradient norms.

    Raises:
        DivergedError: a loss or gradient is not finite; the networks are as they were before its update.

    Source: deep_plastic_surgery.md sections 4.1 and 4.3.
    """
    with accelerator.autocast():
        painted = paint_batch(parts.stage, parts.net, frozen, batch)
    sketch, photo = painted.sketch.float(), painted.photo.float()
    fake, real = discriminator_input(sketch, photo, batch.mask), batch.discriminator_truth()
    # One pass for both, since a wrapped network wants one forward pass for each backward pass.
    both = torch.cat([real, fake.detach()])
    scores = discriminate(parts.discriminator, parts.unwrapped_discriminator, both, accelerator)
    real_scores, fake_scores = scores.chunk(2)
    hinge = hinge_losses(real_scores, fake_scores, losses.hinge_margin)
    terms = {"discriminator_real": hinge.real, "discriminator_fake": hinge.fake}
    values = update_weights(parts.discriminator_optimiser, hinge.real + hinge.fake, terms, "discriminator", accelerator)

    parts.unwrapped_discriminator.requires_grad_(False)
    try:
        scores = discriminate(parts.unwrapped_discriminator, parts.unwrapped_discriminator, fake, accelerator)
        with accelerator.autocast():
            terms = {"adversarial": adversarial_loss(scores), "perceptual": perceptual(photo, batch.photo)}
        # F's sketch and mask are the same in both, and would only dilute the mean over its photo.
        whole = parts.stage.part == "G"
        terms["reconstruction"] = (
            reconstruction_loss(fake[:, :6], real[:, :6]) if whole else reconstruction_loss(photo, batch.photo)
        )
        if painted.result is not None:
            result = painted.result.float()
            if losses.composite and batch.mask is not None:
                result = torch.where(batch.mask > 0, result, batch.photo)
            with accelerator.autocast():
                terms["result_perceptual"] = perceptual(result, batch.photo)
            terms["result_reconstruction"] = reconstruction_loss(result, batch.photo)
        total = losses.adversarial * terms["adversarial"]
        for name, term in terms.items():
            share = losses.own if painted.result is not None and not name.startswith("result") else 1.0
            if name.endswith("perceptual"):
                total = total + share * term
            elif name.endswith("reconstruction"):
                total = total + share * losses.reconstruction * term
        values |= update_weights(parts.optimiser, total, terms, "net", accelerator)
    finally:
        parts.unwrapped_discriminator.requires_grad_(True)
    return values


def discriminate(
    discriminator: nn.Module, unwrapped_discriminator: nn.Module, images: Tensor, accelerator: Accelerator
) -> Tensor:
    """Scores of a discriminator in float32; its spectral norms are taken in float32, since autocast breaks them."""
    with parametrize.cached():
        for module in unwrapped_discriminator.modules():
            if isinstance(module, nn.Conv2d):
                _ = module.weight
        with accelerator.autocast():
            scores: Tensor = discriminator(images)
    return scores.float()
