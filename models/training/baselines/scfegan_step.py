"""One step of SC-FEGAN's training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from dpsdata.contracts import UsageError
from dpsdata.runtime.device import keyed_generator
from models.training.baselines.batch import BaselineBatch
from models.training.baselines.config import ScFeganLosses
from models.training.baselines.deepfill_step import judge_pair
from models.training.baselines.scfegan_losses import (
    feature_losses,
    gradient_penalty,
    variation_loss,
    weighted_difference,
)
from models.training.baselines.stage import BaselineStage
from models.training.engine.losses import PerceptualLoss, adversarial_loss
from models.training.engine.stage_parts import StageParts, update_weights

if TYPE_CHECKING:
    from accelerate import Accelerator


def draw_blends(keys: Sequence[str], seed: int) -> Tensor:
    """How much of the completed photo is in the blend that the gradient penalty looks at: (N, 1, 1, 1) in [0, 1)."""
    drawn = [keyed_generator(seed, key, "train-blend").random() for key in keys]
    return torch.from_numpy(np.array(drawn, np.float32).reshape(-1, 1, 1, 1))


def train_scfegan(
    parts: StageParts[BaselineStage],
    batch: BaselineBatch,
    blends: Tensor,
    losses: ScFeganLosses,
    perceptual: PerceptualLoss,
    accelerator: Accelerator,
) -> dict[str, float]:
    """Update the discriminator, then SC-FEGAN, on one batch.

    Args:
        parts: networks and optimisers; changed in place.
        batch: of this process.
        blends: (N, 1, 1, 1) of `draw_blends`.
        losses: weights.
        perceptual: its features are used, on the device.
        accelerator: runs the backward passes and chooses the network's precision; the discriminator stays in float32.

    Returns:
        The losses of this process, without their weights, and the two gradient norms.

    Raises:
        DivergedError: one of them is not finite; the weights are as they were before that update.

    Source: baselines.md section 4.1.
    """
    if batch.sketch is None or batch.color is None:
        raise UsageError("SC-FEGAN is trained with sketch and colour; prepare the batch for method scfegan")
    with accelerator.autocast():
        out = parts.net(batch.photo, batch.mask, *batch.guides())
    raw, composite = out["raw"].float(), out["composite"].float()
    known = composite.detach()
    real_scores, fake_scores = judge_pair(parts.discriminator, batch, batch.photo, known).chunk(2)
    blended = torch.lerp(batch.photo, known, blends.to(known))
    terms = {
        "discriminator_real": 1 - real_scores.mean(),
        "discriminator_fake": 1 + fake_scores.mean(),
        "penalty": gradient_penalty(parts.unwrapped_discriminator, blended, batch.mask, batch.sketch, batch.color),
        "drift": real_scores.square().mean(),
    }
    total = (
        terms["discriminator_real"]
        + terms["discriminator_fake"]
        + losses.penalty * terms["penalty"]
        + losses.drift * terms["drift"]
    )
    values = update_weights(parts.discriminator_optimiser, total, terms, "discriminator", accelerator)

    parts.unwrapped_discriminator.requires_grad_(False)
    try:
        with accelerator.autocast():
            perceptual_term, style = feature_losses(perceptual.features, [raw, composite], batch.photo)
        terms = {
            "reconstruction": weighted_difference(raw, batch.photo, batch.mask, losses.hole_factor),
            "perceptual": perceptual_term,
            "style": style,
            "variation": variation_loss(composite, batch.mask),
            "adversarial": adversarial_loss(
                parts.unwrapped_discriminator(composite, batch.mask, batch.sketch, batch.color)
            ),
        }
        total = (
            terms["reconstruction"]
            + losses.perceptual * terms["perceptual"]
            + losses.style * terms["style"]
            + losses.variation * terms["variation"]
            + losses.adversarial * terms["adversarial"]
        )
        return values | update_weights(parts.optimiser, total, terms, "net", accelerator)
    finally:
        parts.unwrapped_discriminator.requires_grad_(True)
