"""One step of DeepFillv2's training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from models.training.baselines.batch import BaselineBatch
from models.training.baselines.config import DeepFillLosses
from models.training.baselines.stage import BaselineStage
from models.training.engine.losses import adversarial_loss, hinge_losses, reconstruction_loss
from models.training.engine.stage_parts import StageParts, update_weights

if TYPE_CHECKING:
    from accelerate import Accelerator


def train_deepfill(
    parts: StageParts[BaselineStage], batch: BaselineBatch, losses: DeepFillLosses, accelerator: Accelerator
) -> dict[str, float]:
    """Update the discriminator, then DeepFillv2, on one batch.

    Args:
        parts: networks and optimisers; changed in place.
        batch: of this process.
        losses: weights.
        accelerator: runs the backward passes and chooses the network's precision; the discriminator stays in float32.

    Returns:
        The losses of this process, without their weights, and the two gradient norms.

    Raises:
        DivergedError: one of them is not finite; the weights are as they were before that update.

    Source: baselines.md section 4.2.
    """
    with accelerator.autocast():
        out = parts.net(batch.photo, batch.mask, *batch.guides())
    composite = out["composite"].float()
    real_scores, fake_scores = judge_pair(parts.discriminator, batch, batch.photo, composite.detach()).chunk(2)
    hinge = hinge_losses(real_scores, fake_scores, losses.hinge_margin)
    terms = {"discriminator_real": hinge.real, "discriminator_fake": hinge.fake}
    total = losses.discriminator * (hinge.real + hinge.fake)
    values = update_weights(parts.discriminator_optimiser, total, terms, "discriminator", accelerator)

    parts.unwrapped_discriminator.requires_grad_(False)
    try:
        terms = {
            "coarse": reconstruction_loss(out["stage1"], batch.photo),
            "fine": reconstruction_loss(out["raw"], batch.photo),
            "adversarial": adversarial_loss(
                parts.unwrapped_discriminator(composite, batch.mask, batch.sketch, batch.color)
            ),
        }
        total = (
            losses.coarse * terms["coarse"] + losses.fine * terms["fine"] + losses.adversarial * terms["adversarial"]
        )
        return values | update_weights(parts.optimiser, total, terms, "net", accelerator)
    finally:
        parts.unwrapped_discriminator.requires_grad_(True)


def judge_pair(discriminator: nn.Module, batch: BaselineBatch, real: Tensor, fake: Tensor) -> Tensor:
    """Scores of real photos, then of completed ones, under the same guides and in one pass: (2N, scores)."""

    def twice(plane: Tensor | None) -> Tensor | None:
        return None if plane is None else torch.cat([plane, plane])

    scores: Tensor = discriminator(torch.cat([real, fake]), twice(batch.mask), twice(batch.sketch), twice(batch.color))
    return scores.float()
