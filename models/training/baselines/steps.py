"""One step of DeepFillv2's training, and one of SC-FEGAN's with the losses of its paper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dpsdata.contracts import UsageError
from dpsdata.runtime.device import keyed_generator
from models.training.baselines.batch import BaselineBatch
from models.training.baselines.config import BaselineStage, DeepFillLosses, ScFeganLosses
from models.training.engine.losses import (
    PerceptualLoss,
    StageParts,
    adversarial_loss,
    hinge_losses,
    judging,
    reconstruction_loss,
    update_weights,
)

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

    Source: JiahuiYu/generative_inpainting@3a53243 inpaint_model.py.
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


def weighted_difference(fake: Tensor, real: Tensor, mask: Tensor, hole_factor: float) -> Tensor:
    """Absolute differences, more costly in the hole; both parts are divided by the count of all values.

    Args:
        fake: (N, 3, H, W).
        real: the same.
        mask: (N, 1, H, W) in {0, 1}, hole = 1.
        hole_factor: weight of the hole.

    Source: Jo and Park, SC-FEGAN, ICCV 2019, section 3 (Lpix).
    """
    return ((fake - real).abs() * (1 + (hole_factor - 1) * mask)).mean()


def gram_matrix(features: Tensor) -> Tensor:
    """(N, C, H, W) to (N, C, C): which channels go together, divided by C H W."""
    count, channels, height, width = features.shape
    flat = features.float().reshape(count, channels, height * width)
    return flat @ flat.transpose(1, 2) / (channels * height * width)


def feature_losses(features: nn.Module, fakes: Sequence[Tensor], real: Tensor) -> tuple[Tensor, Tensor]:
    """Absolute differences of feature maps, and of their Gram matrices, summed over fakes and maps.

    Args:
        features: takes (N, 3, H, W) RGB in [-1, 1] and returns several maps.
        fakes: the raw and the composited output, (N, 3, H, W).
        real: the truth; the gradient goes to the fakes alone.

    Returns:
        Perceptual and style loss, float32.

    Source: Jo and Park, SC-FEGAN, ICCV 2019, section 3 (Lperc, Lstyle).
    """
    with torch.no_grad():
        wanted = [target.float() for target in features(real)]
    perceptual = style = real.new_zeros((), dtype=torch.float32)
    for fake in fakes:
        for got, target in zip(features(fake), wanted, strict=True):
            perceptual = perceptual + F.l1_loss(got.float(), target)
            style = style + F.l1_loss(gram_matrix(got), gram_matrix(target))
    return perceptual, style


def variation_loss(composite: Tensor, mask: Tensor) -> Tensor:
    """Absolute differences of neighbours that both lie in the hole or one pixel around it, over the count of values.

    Args:
        composite: (N, 3, H, W).
        mask: (N, 1, H, W) in {0, 1}, hole = 1.

    Source: Jo and Park, SC-FEGAN, ICCV 2019, section 3 (Ltv).
    """
    near = F.max_pool2d(mask, 3, stride=1, padding=1)
    down = (composite[:, :, 1:] - composite[:, :, :-1]).abs() * (near[:, :, 1:] * near[:, :, :-1])
    across = (composite[..., 1:] - composite[..., :-1]).abs() * (near[..., 1:] * near[..., :-1])
    return (down.sum() + across.sum()) / composite.numel()


def gradient_penalty(discriminator: nn.Module, blended: Tensor, mask: Tensor, sketch: Tensor, color: Tensor) -> Tensor:
    """How far the discriminator's gradient in the hole is from length 1, squared, over the samples.

    Args:
        discriminator: takes photo, mask, sketch and colour.
        blended: (N, 3, H, W), between true and completed photos.
        mask: (N, 1, H, W) in {0, 1}, hole = 1; gradients outside do not count.
        sketch: (N, 1, H, W).
        color: (N, 3, H, W).

    Source: Jo and Park, SC-FEGAN, ICCV 2019, section 3 (LGP); the gradient is taken of the sum of a sample's scores.
    """
    points = blended.detach().requires_grad_(True)
    scores = discriminator(points, mask, sketch, color).float()
    slopes = torch.autograd.grad(scores.sum(), points, create_graph=True)[0] * mask
    # The square root has no slope at 0, where a hole may be outside of all that the discriminator sees.
    lengths = (slopes.square().sum((1, 2, 3)) + 1e-12).sqrt()
    return (lengths - 1).square().mean()


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

    Source: Jo and Park, SC-FEGAN, ICCV 2019, section 3.
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
        with judging(accelerator):
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
