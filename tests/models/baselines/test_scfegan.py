"""SC-FEGAN against TensorFlow's outputs, and its quirks one by one."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from dpsdata.contracts import UsageError
from dpsdata.runtime.device import keyed_generator
from models.baselines import ScFegan, ScFeganConfig, load_scfegan
from models.baselines.gated_conv import SelfGatedUpConv2d
from models.baselines.scfegan import demo_noise
from models.baselines.tensorflow.operators import initialise_glorot

parity = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("parity_arrays.py"))))


def tiny() -> ScFegan:
    net = ScFegan(ScFeganConfig(2))
    initialise_glorot(net, 1, "test")
    return net.eval()


def edit(count: int = 2) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    mask = torch.zeros(count, 1, 128, 128)
    mask[:, :, 20:90, 30:100] = 1
    return {
        "photo": torch.rand(count, 3, 128, 128, generator=generator) * 2 - 1,
        "mask": mask,
        "sketch": (torch.rand(count, 1, 128, 128, generator=generator) > 0.8).float(),
        "color": torch.rand(count, 3, 128, 128, generator=generator) * 2 - 1,
        "noise": (torch.rand(count, 1, 128, 128, generator=generator) > 0.8).float(),
    }


def test_the_network_equals_tensorflow() -> None:
    arrays = parity.load_arrays("fixture_scfegan_cnum4_256.npz")
    net = load_scfegan(parity.weights_of(arrays))
    assert net.config == ScFeganConfig(4)
    with torch.no_grad():
        out = net(
            parity.photo(arrays["image"]),
            parity.planes(arrays["mask"]),
            parity.planes(arrays["sketch"]),
            parity.photo(arrays["color"]),
            parity.planes(arrays["noise"]),
        )
    for name in ("raw", "composite"):
        assert parity.largest_error(out[name], parity.photo(arrays[name])) < 1e-5, name


def test_guides_count_in_the_hole_only_and_each_of_them_does() -> None:
    net, given = tiny(), edit()
    mask = given["mask"]
    cut = {name: value * mask for name, value in given.items() if name not in ("photo", "mask")}
    with torch.no_grad():
        raw = net(**given)["raw"]
        assert torch.equal(net(given["photo"] * (1 - mask), mask, **cut)["raw"], raw)
        for name in cut:
            assert not torch.equal(net(**(given | {name: 1 - given[name].abs()}))["raw"], raw), name


def test_what_is_not_given_has_the_demos_defaults() -> None:
    net, given = tiny(), edit()
    photo, mask = given["photo"], given["mask"]
    spelled = (torch.zeros_like(mask), -torch.ones_like(photo), demo_noise(128, 128).expand_as(mask))
    with torch.no_grad():
        out = net(photo, mask)
        assert torch.equal(out["raw"], net(photo, mask, *spelled)["raw"])
    assert torch.equal(out["composite"] * (1 - mask), photo * (1 - mask))
    assert torch.equal(out["composite"] * mask, out["raw"] * mask)


def test_the_demos_noise() -> None:
    noise = demo_noise(512, 512)
    assert noise.shape == (1, 1, 512, 512)
    assert set(noise.unique().tolist()) == {0.0, 1.0}
    assert noise.mean().item() == pytest.approx(0.159, abs=0.004)
    assert torch.equal(noise, demo_noise(512, 512))
    assert not torch.equal(noise, demo_noise(512, 512, keyed_generator(1, "a", "noise")))


def test_the_gate_of_an_upsampling_layer_is_its_own_feature() -> None:
    layer = SelfGatedUpConv2d(1, 1)
    layer.load_state_dict({"weight": torch.zeros(1, 1, 5, 5), "bias": torch.tensor([-2.0]), "dead_bias": torch.ones(1)})
    # LReLU(-2) = -0.4, and the gate is the sigmoid of that; the dead bias plays no part.
    expected = -0.4 / (1 + torch.tensor(0.4).exp())
    assert torch.allclose(layer(torch.randn(1, 1, 3, 4)), expected.expand(1, 1, 6, 8))


def test_every_weight_is_trained_and_the_dead_ones_are_not() -> None:
    net, given = tiny().train(), edit()
    net(**given)["composite"].abs().mean().backward()
    still = [name for name, value in net.named_parameters() if value.grad is None]
    assert still == []
    assert {name for name, _ in net.named_buffers()} == {f"up{step}.dead_bias" for step in range(1, 8)}


def test_wrong_input_is_refused() -> None:
    net, given = tiny(), edit(1)
    with pytest.raises(UsageError, match="multiples of 128 px, got 64 x 64"):
        net(given["photo"][:, :, :64, :64], given["mask"][:, :, :64, :64])
    with pytest.raises(UsageError, match="color"):
        net(given["photo"], given["mask"], color=given["color"][:, :, :64])
    with pytest.raises(UsageError, match=r"color: expected values in \[-1, 1\]"):
        net(given["photo"], given["mask"], color=given["color"] * 255)
    with pytest.raises(UsageError, match=r"color: .* got float64"):
        net(given["photo"], given["mask"], color=given["color"].double())
    with pytest.raises(UsageError, match="noise"):
        net(given["photo"], given["mask"], noise=given["color"])
    with pytest.raises(UsageError, match="noise: expected finite numbers"):
        net(given["photo"], given["mask"], noise=torch.full_like(given["mask"], torch.nan))
    with pytest.raises(UsageError, match=r"noise: .* got int64"):
        net(given["photo"], given["mask"], noise=given["mask"].long())
    with pytest.raises(UsageError, match="width"):
        ScFeganConfig(0)
