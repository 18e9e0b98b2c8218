"""Gradients reach every parameter, one batch can be overfitted, first weights are the published distributions."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dpsdata.contracts import UsageError
from models.networks.config import Task, tiny_config
from models.networks.discriminator import DiscriminatorConfig, PatchDiscriminator, stride_layers_for
from models.networks.editing_net import Refiner
from models.networks.initialisation import initialise_weights
from models.networks.inpainter import Inpainter
from models.networks.published_signs import discriminator_input, network_input, refiner_inputs, split_output

BEFORE_NORM = re.compile(r".*(downs|ups|residuals)\.\d+\.conv[12]?\.bias")


def drawn(seed: int = 0, count: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    photo = F.interpolate(torch.rand(count, 3, 8, 8, generator=generator), 64, mode="bilinear") * 2 - 1
    sketch = (torch.rand(count, 1, 64, 64, generator=generator) < 0.1).float()
    mask = torch.zeros(count, 1, 64, 64)
    mask[:, :, 16:48, 8:40] = 1
    return photo, sketch, mask


def lost_gradients(net: nn.Module) -> list[str]:
    return [name for name, value in net.named_parameters() if value.grad is None or not bool(value.grad.any())]


@pytest.mark.parametrize("task", ["edit", "synthesis"])
@pytest.mark.parametrize("norm", ["batch", "none"])
def test_every_parameter_gets_a_gradient(task: Task, norm: str) -> None:
    config = tiny_config(task)
    assert norm in ("batch", "none")
    refiner, inpainter = Refiner(config.refiner), Inpainter(replace(config.inpainter, norm=norm))
    discriminators = {size: PatchDiscriminator(config.discriminator_at(size)) for size in config.refiner.resolutions}
    for name, net in {"G": refiner, "F": inpainter, **discriminators}.items():
        initialise_weights(net, 1, f"net {name}")
    photo, sketch, mask = drawn()
    known = (photo, mask) if task == "edit" else (None, None)
    out = refiner(refiner_inputs(sketch, *known, config.refiner.resolutions), torch.tensor([0.3, 0.8]), True)
    loss = torch.zeros(())
    for size, output in out.outputs.items():
        hole = None if task == "synthesis" else F.interpolate(mask, size)
        refined, painted = split_output(output, hole)
        loss = (
            loss
            + (discriminators[size](discriminator_input(refined, painted, hole)) ** 2).mean()
            + (output - 0.2).abs().mean()
        )
    refined, _ = split_output(out.outputs[64], known[1])
    (loss + (inpainter(network_input(refined, *known)) - 0.1).abs().mean()).backward()
    for net in (refiner, inpainter, *discriminators.values()):
        lost = lost_gradients(net)
        has_norm = net is refiner or norm == "batch"
        assert [name for name in lost if not (has_norm and BEFORE_NORM.fullmatch(name))] == []
        assert all(value.grad is not None for value in net.parameters())


@pytest.mark.parametrize("task", ["edit", "synthesis"])
def test_one_batch_can_be_overfitted(task: Task) -> None:
    config = tiny_config(task)
    refiner, inpainter = Refiner(config.refiner), Inpainter(config.inpainter)
    initialise_weights(refiner, 2, "refiner")
    initialise_weights(inpainter, 2, "inpainter")
    photo, sketch, mask = drawn(1)
    known = (photo, mask) if task == "edit" else (None, None)
    inputs = refiner_inputs(sketch, *known, config.refiner.resolutions)
    parameters = [*refiner.parameters(), *inpainter.parameters()]
    optimiser = torch.optim.Adam(parameters, 4e-3, betas=(0.5, 0.999))
    losses = []
    for _ in range(30):
        refined, painted = split_output(refiner(inputs, 0.5).outputs[64], known[1])
        result = inpainter(network_input(refined, *known))
        loss = (painted - photo).abs().mean() + (result - photo).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.6 * losses[0], losses[::10]


def test_first_weights_depend_on_the_seed_alone() -> None:
    config = tiny_config()

    def state(seed: int, before: int) -> dict[str, Tensor]:
        torch.manual_seed(before)
        net = nn.ModuleDict({"g": Refiner(config.refiner), "d": PatchDiscriminator(config.discriminator)})
        initialise_weights(net, seed, "net")
        return net.state_dict()

    one, same, other = state(7, 1), state(7, 2), state(8, 1)
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not torch.equal(one["g.scales.64.first.weight"], other["g.scales.64.first.weight"])
    assert not torch.equal(one["g.scales.64.first.weight"], one["g.scales.32.first.weight"])


def test_first_weights_are_the_published_distributions() -> None:
    refiner = Refiner(tiny_config().refiner)
    initialise_weights(refiner, 0, "refiner")
    scale = refiner.scale(16)
    kernel = scale.residuals[0].conv1.weight.detach()  # type: ignore[union-attr]
    assert float(kernel.std()) == pytest.approx(0.02, rel=0.05)
    assert float(kernel.mean()) == pytest.approx(0, abs=1e-3)
    assert not bool(scale.first.bias.any())  # type: ignore[union-attr]
    style = scale.downs[0].norm.affine.bias  # type: ignore[union-attr]
    assert style.tolist() == [1.0] * 24 + [0.0] * 24
    assert bool(scale.level_embedding.layers[1].bias.any())


def test_spectral_norm_is_right_after_the_first_weights() -> None:
    discriminator = PatchDiscriminator(tiny_config().discriminator)
    initialise_weights(discriminator, 0, "critic")
    discriminator.eval()
    for conv in discriminator.convs:
        largest = torch.linalg.matrix_norm(conv.weight.flatten(1), 2)  # type: ignore[operator]
        assert float(largest.detach()) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(("size", "layers"), [(64, 3), (128, 4), (256, 5)])
def test_discriminator_maps_are_six_by_six(size: int, layers: int) -> None:
    assert stride_layers_for(size) == layers
    discriminator = PatchDiscriminator(DiscriminatorConfig(7, 4, 64, layers)).eval()
    images = torch.zeros(1, 7, size, size)
    assert discriminator(images).shape == (1, 64, 6, 6)
    shapes = {key: tuple(value.shape) for key, value in discriminator.state_dict().items()}
    assert shapes == discriminator.config.tensor_shapes()
    before = {key: value.clone() for key, value in discriminator.state_dict().items()}
    discriminator(images)
    assert all(torch.equal(before[key], value) for key, value in discriminator.state_dict().items()), (
        "no power step in eval"
    )


def test_the_refiner_stops_at_the_finest_input() -> None:
    refiner = Refiner(tiny_config("synthesis").refiner)
    inputs = refiner_inputs(drawn()[1], None, None, (16, 32))
    out = refiner(inputs, 0.5)
    assert set(out.outputs) == {32}
    assert set(out.features) == {16, 32}
    assert set(refiner(inputs, 0.5, all_outputs=True).outputs) == {16, 32}
    with pytest.raises(UsageError, match="inputs: expected the first"):
        refiner({64: torch.zeros(1, 3, 64, 64)}, 0.5)
    with pytest.raises(UsageError, match="level"):
        refiner(inputs, torch.zeros(3))
    with pytest.raises(UsageError, match="inpainter input"):
        Inpainter(tiny_config().inpainter)(torch.zeros(1, 7, 32, 32))
