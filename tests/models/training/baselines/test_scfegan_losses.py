from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from models.training.baselines.steps import (
    feature_losses,
    gradient_penalty,
    gram_matrix,
    variation_loss,
    weighted_difference,
)


def test_differences_in_the_hole_cost_more() -> None:
    fake, real = torch.zeros(1, 3, 2, 2), torch.full((1, 3, 2, 2), 0.5)
    mask = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    # 0.5 x (6 + 1 + 1 + 1) / 4
    assert float(weighted_difference(fake, real, mask, 6.0)) == pytest.approx(1.125)


def test_the_gram_matrix_by_hand() -> None:
    features = torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]])
    assert torch.allclose(gram_matrix(features), torch.tensor([[[5.0, 11.0], [11.0, 25.0]]]) / 4)


class Halves(nn.Module):
    def forward(self, photos: Tensor) -> list[Tensor]:
        return [photos, photos[:, :1] * 2]


def test_feature_losses_add_up_over_fakes_and_maps() -> None:
    real, fake = torch.zeros(1, 3, 1, 1), torch.ones(1, 3, 1, 1, requires_grad=True)
    perceptual, style = feature_losses(Halves(), [fake, real], real)
    assert float(perceptual.detach()) == pytest.approx(1 + 2)
    assert float(style.detach()) == pytest.approx(1 / 3 + 4)
    (perceptual + style).backward()
    assert fake.grad is not None


def test_variation_counts_neighbours_in_the_hole_and_one_pixel_around() -> None:
    composite = torch.zeros(1, 1, 1, 7)
    composite[..., 0], composite[..., 3] = 9.0, 1.0
    mask = torch.zeros(1, 1, 1, 7)
    mask[..., 3] = 1
    # Pixels 2, 3, 4 count: up to the hole and down again; the step at pixel 0 lies outside.
    assert float(variation_loss(composite, mask)) == pytest.approx(2 / 7)


def test_the_penalty_looks_at_the_hole_alone() -> None:
    def discriminator(photo: Tensor, mask: Tensor, sketch: Tensor, color: Tensor) -> Tensor:
        return (3 * photo).flatten(1)

    photo, mask = torch.zeros(2, 3, 2, 2), torch.zeros(2, 1, 2, 2)
    mask[0, 0, 0, 0] = 1
    found = gradient_penalty(discriminator, photo, mask, mask, photo)  # type: ignore[arg-type]
    # One pixel of three channels with slope 3: (sqrt(27) - 1)^2; and an empty hole: 1.
    assert float(found.detach()) == pytest.approx(((27**0.5 - 1) ** 2 + 1) / 2, rel=1e-4)


def test_the_penalty_trains_the_discriminator() -> None:
    from models.baselines.patch_discriminator import SNPatchDiscriminator, scfegan_discriminator_config
    from models.baselines.tensorflow.operators import initialise_glorot

    discriminator = SNPatchDiscriminator(scfegan_discriminator_config(4))
    initialise_glorot(discriminator, 0, "critic")
    photo, plane = torch.rand(1, 3, 128, 128), torch.ones(1, 1, 128, 128)
    gradient_penalty(discriminator, photo, plane, plane, photo).backward()
    for name, value in discriminator.named_parameters():
        if name.endswith("weight"):
            assert value.grad is not None, name
            assert float(value.grad.abs().sum()) > 0, name
