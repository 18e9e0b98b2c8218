"""The discriminator of both baselines against TensorFlow's outputs."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from dpsdata.contracts import UsageError
from models.baselines.patch_discriminator import (
    SNPatchDiscriminator,
    SNPatchDiscriminatorConfig,
    SpectralConv2d,
    scfegan_discriminator_config,
)
from models.baselines.tensorflow.names import from_tensorflow

parity = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("parity_arrays.py"))))


def test_the_discriminator_and_its_power_vectors_equal_tensorflow() -> None:
    arrays = parity.load_arrays("fixture_snpatchgan_cnum8.npz")
    discriminator = SNPatchDiscriminator(SNPatchDiscriminatorConfig(8)).eval()
    weights = {name: torch.from_numpy(value) for name, value in parity.weights_of(arrays).items()}
    discriminator.load_state_dict(from_tensorflow(discriminator, weights))
    x = parity.planes(arrays["x"])
    scores = discriminator(x[:, [2, 1, 0]], x[:, 3:])
    assert parity.largest_error(scores, torch.from_numpy(arrays["out"])) < 1e-5
    for step in range(1, 7):
        after = torch.from_numpy(arrays[f"discriminator/sn_patch_gan/conv{step}/kernel_sn/u_after"][0])
        assert parity.largest_error(discriminator.get_submodule(f"conv{step}").power_vector, after) < 1e-5


def test_the_norm_of_the_kernel_becomes_one() -> None:
    torch.manual_seed(0)
    layer = SpectralConv2d(3, 8, 5)
    x = torch.randn(1, 3, 8, 8)
    for _ in range(60):
        layer(x)
    largest = torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2)
    with torch.no_grad():
        layer.weight.mul_(5 / largest)
        layer.bias.zero_()
        scaled = layer(x)
        layer.weight.mul_(3)
    assert torch.allclose(layer(x), scaled, atol=1e-5)
    assert largest > 0


def test_scores_are_flattened_row_by_row_with_the_channels_last() -> None:
    discriminator = SNPatchDiscriminator(SNPatchDiscriminatorConfig(2))
    photo, mask = torch.rand(1, 3, 128, 192), torch.zeros(1, 1, 128, 192)
    grids = []
    discriminator.get_submodule("conv6").register_forward_hook(lambda _, __, out: grids.append(out.detach()))
    scores = discriminator(photo, mask)
    assert scores.shape == (1, 2 * 3 * 8)
    grid = torch.nn.functional.leaky_relu(grids[0], 0.2)
    assert torch.equal(scores.view(2, 3, 8)[1, 2], grid[0, :, 1, 2])


@pytest.mark.parametrize("config", [SNPatchDiscriminatorConfig(4, sketch=True), scfegan_discriminator_config(4)])
def test_what_it_reads_changes_its_scores_in_the_hole_only(config: SNPatchDiscriminatorConfig) -> None:
    discriminator = SNPatchDiscriminator(config).eval()
    state = {key: value.clone() for key, value in discriminator.state_dict().items()}
    mask = torch.zeros(2, 1, 64, 64)
    mask[:, :, :32] = 1
    given = {"photo": torch.rand(2, 3, 64, 64), "mask": mask, "sketch": torch.ones_like(mask)}
    given["color"] = torch.rand(2, 3, 64, 64)

    def discriminate(**changed: torch.Tensor) -> torch.Tensor:
        discriminator.load_state_dict(state)  # each call moves the power vectors
        return discriminator(**{**given, **changed}).detach()

    scores = discriminate()
    for name in ("sketch", "color"):
        assert torch.equal(discriminate(**{name: given[name] * mask}), scores)
    assert not torch.equal(discriminate(sketch=torch.zeros_like(mask)), scores)
    assert torch.equal(discriminate(color=torch.zeros(2, 3, 64, 64)), scores) != config.color
    with pytest.raises(UsageError, match="sketch: this discriminator reads it"):
        discriminator(given["photo"], mask)


def test_gradients_pass_two_calls_and_a_gradient_penalty() -> None:
    discriminator = SNPatchDiscriminator(scfegan_discriminator_config(4))
    photo = torch.rand(1, 3, 64, 64, requires_grad=True)
    mask, color = torch.ones(1, 1, 64, 64), torch.zeros(1, 3, 64, 64)
    scores = discriminator(photo, mask, mask, color)
    (slope,) = torch.autograd.grad(scores.mean(), photo, create_graph=True)
    again = discriminator(photo.detach(), mask, mask, color)
    (slope.square().sum() + again.mean() + scores.mean()).backward()
    assert all(value.grad is not None and value.grad.isfinite().all() for value in discriminator.parameters())


def test_a_width_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="discriminator"):
        SNPatchDiscriminatorConfig(0)
