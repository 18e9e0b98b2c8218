"""The losses of SC-FEGAN, as its paper gives them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def weighted_difference(fake: Tensor, real: Tensor, mask: Tensor, hole_factor: float) -> Tensor:
    """Absolute differences, more costly in the hole; both parts are divided by the count of all values.

    Args:
        fake: (N, 3, H, W).
        real: the same.
        mask: (N, 1, H, W) in {0, 1}, hole = 1.
        hole_factor: weight of the hole.

    Source: baselines.md section 4.1 (Lpix).
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

    Source: baselines.md section 4.1 (Lperc, Lstyle).
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

    Source: baselines.md section 4.1 (Ltv).
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

    Source: baselines.md section 4.1 (LGP); the gradient is taken of the sum of a sample's scores.
    """
    points = blended.detach().requires_grad_(True)
    scores = discriminator(points, mask, sketch, color).float()
    slopes = torch.autograd.grad(scores.sum(), points, create_graph=True)[0] * mask
    # The square root has no slope at 0, where a hole may be outside of all that the discriminator sees.
    lengths = (slopes.square().sum((1, 2, 3)) + 1e-12).sqrt()
    return (lengths - 1).square().mean()
