from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from dpsdata.contracts import MissingError, UsageError
from dpsdata.weights import import_weights
from models.training.engine.losses import (
    VGGFeatures,
    adversarial_loss,
    choose_perceptual,
    hinge_losses,
    load_perceptual,
    reconstruction_loss,
)


def test_hinge_by_hand() -> None:
    pair = hinge_losses(torch.tensor([12.0, 4.0]), torch.tensor([-11.0, 1.0]), 10.0)
    assert float(pair.real) == pytest.approx((0 + 6) / 2)
    assert float(pair.fake) == pytest.approx((0 + 11) / 2)
    assert float(adversarial_loss(torch.tensor([3.0, -1.0]))) == pytest.approx(-1.0)
    assert float(reconstruction_loss(torch.full((1, 2, 2, 2), 0.5), torch.zeros(1, 2, 2, 2))) == pytest.approx(0.5)


def photos(seed: int, size: int = 32) -> torch.Tensor:
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_compact_features_stand_in_and_carry_a_gradient() -> None:
    loss = load_perceptual("hed-compact", (1.0, 0.5))
    assert not any(value.requires_grad for value in loss.parameters())
    real, fake = photos(0), photos(1).requires_grad_()
    value = loss(fake, real)
    value.backward()
    assert float(value.detach()) > 0
    assert fake.grad is not None
    assert bool(fake.grad.any())
    assert float(loss(real, real)) == 0
    maps = loss.features(real)
    assert [tuple(item.shape[2:]) for item in maps] == [(16, 16), (8, 8)]
    expected = sum(
        factor * float(F.mse_loss(a, b))
        for factor, a, b in zip((1.0, 0.5), loss.features(fake.detach()), maps, strict=True)
    )
    assert float(value.detach()) == pytest.approx(expected, rel=1e-5)


def vgg_state() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    state = {}
    for index, (before, after) in {0: (3, 64), 2: (64, 64), 5: (64, 128), 7: (128, 128), 10: (128, 256)}.items():
        state[f"features.{index}.weight"] = torch.randn(after, before, 3, 3, generator=generator) * 0.05
        state[f"features.{index}.bias"] = torch.randn(after, generator=generator) * 0.05
    state["features.34.weight"] = torch.zeros(2, 2, 3, 3)
    return state


def test_unit_features_do_not_shrink_with_contrast() -> None:
    loss = load_perceptual("hed-compact-unit", (5.0, 10.0))
    assert loss.factors == (1.0, 1.0, 1.0, 2.0, 2.0)
    maps = loss.features(photos(0))
    assert len(maps) == 5
    for each in maps:
        lengths = each.square().mean(1).flatten()
        assert torch.allclose(lengths[lengths > 0], torch.ones(1), atol=1e-4), "length 1 where there is anything"
    fake, real = photos(1).requires_grad_(), photos(2)
    raw = [loss.features.net.features((each.detach() + 1) * 127.5) for each in (fake, real)]
    by_hand = 0.0
    for factor, got, want in zip(loss.factors, *raw, strict=True):
        got, want = (each / each.norm(dim=1, keepdim=True).clamp(min=1e-12) for each in (got, want))
        by_hand += factor * float((got - want).square().sum(1).mean())
    value = loss(fake, real)
    assert value.item() == pytest.approx(by_hand, rel=1e-4)
    value.backward()
    assert fake.grad is not None
    assert float(fake.grad.abs().max()) > 0
    assert float(loss(real, real)) == 0


def test_vgg_is_used_once_it_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DPS_HOME", str(tmp_path / "home"))
    assert choose_perceptual() == "hed-compact"
    with pytest.raises(MissingError, match="dps weights get vgg19-torchvision"):
        load_perceptual("vgg19-torchvision", (1.0, 0.5))
    torch.save(vgg_state(), tmp_path / "vgg19-dcbb9e9d.pth")
    report = import_weights(tmp_path / "vgg19-dcbb9e9d.pth")
    assert [item.name for item in report.installed] == ["vgg19-torchvision"]
    assert choose_perceptual() == "vgg19-torchvision"
    loss = load_perceptual("vgg19-torchvision", (1.0, 0.5))
    fine, coarse = loss.features(photos(0))
    assert fine.shape == (2, 128, 16, 16)
    assert coarse.shape == (2, 256, 8, 8)
    x = ((photos(0) + 1) / 2 - torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)) / torch.tensor(
        [0.229, 0.224, 0.225]
    ).view(1, 3, 1, 1)
    state = vgg_state()

    def conv(x: torch.Tensor, index: int) -> torch.Tensor:
        return F.relu(F.conv2d(x, state[f"features.{index}.weight"], state[f"features.{index}.bias"], padding=1))

    first = conv(F.max_pool2d(conv(conv(x, 0), 2), 2), 5)
    second = conv(F.max_pool2d(conv(first, 7), 2), 10)
    assert torch.allclose(fine, first, atol=1e-4)
    assert torch.allclose(coarse, second, atol=1e-4)


def test_the_published_scaling_stretches_the_contrast() -> None:
    right, published = VGGFeatures(), VGGFeatures(published_scaling=True)
    black, white = -torch.ones(3), torch.ones(3)
    means, stds = right.mean.flatten(), right.std.flatten()
    assert ((black - means) / stds)[0] == pytest.approx((0 - 0.485) / 0.229, rel=1e-5)
    assert ((white - means) / stds)[2] == pytest.approx((1 - 0.406) / 0.225, rel=1e-5)
    wrong = (black - published.mean.flatten()) / published.std.flatten()
    assert wrong[0] == pytest.approx((-1 - (0.485 + 1) / 2) / (0.229 / 2), rel=1e-5)
    assert float(wrong[0]) < -15


def test_wrong_features_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DPS_HOME", str(tmp_path / "home"))
    with pytest.raises(UsageError, match="hed-compact"):
        load_perceptual("hed-judge", (1.0, 0.5))  # type: ignore[arg-type]
    state = vgg_state()
    state["features.7.weight"] = state["features.7.weight"][:4]
    torch.save(state, tmp_path / "vgg.pth")
    with pytest.raises(MissingError, match=r"features\.7\.weight"):
        import_weights(tmp_path / "vgg.pth")
    state = vgg_state()
    state["features.0.bias"][0] = float("nan")
    torch.save(state, tmp_path / "vgg.pth")
    with pytest.raises(MissingError, match="not finite"):
        import_weights(tmp_path / "vgg.pth")
