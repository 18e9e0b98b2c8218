"""Training: crops, loss, schedule, resume, folding and export."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dpsdata.contracts import UsageError
from dpsdata.hed import HED, fold_batch_norm, load_hed
from dpsdata.hed.bsds.data import CropSampler, LabelledPhoto
from dpsdata.hed.bsds.train import (
    PRESETS,
    HEDTrainConfig,
    HEDTrainer,
    Phase,
    balanced_edge_loss,
    export_net,
    learning_rate_at,
)
from dpsdata.hed.network import HEDLogits
from dpsdata.runtime.device import keyed_generator

CONFIG = HEDTrainConfig(
    "smoke", width=2, seed=1, phases=(Phase(16, 32, 0.5, 0.8), Phase(8, 48, 0.8, 1.0)), batch_size=4, warmup_crops=8
)


@pytest.fixture
def photos() -> list[LabelledPhoto]:
    """A bright square on dark ground; four annotators agree on its border, a fifth marks a line of his own."""
    items = []
    for shift in (0, 20):
        photo = np.full((120, 160, 3), 40, np.uint8)
        photo[30 + shift : 80 + shift, 40:110] = 210
        border = np.zeros((120, 160), bool)
        border[30 + shift : 80 + shift, [40, 109]] = True
        border[[30 + shift, 79 + shift], 40:110] = True
        alone = np.zeros_like(border)
        alone[:, 5] = True
        items.append(LabelledPhoto(photo, np.stack([border] * 4 + [alone])))
    return items


def test_labels_follow_the_photo(photos: list[LabelledPhoto]) -> None:
    """At every scale and angle the labelled edge lies on the jump in brightness."""
    sampler = CropSampler(photos, positive_votes=3)
    seen = 0
    for number in range(20):
        image, label = sampler.crop(keyed_generator(0, str(number), "test"), 96, 0.5, 1.2)
        assert image.shape == (96, 96, 3)
        assert set(np.unique(label)) <= {0.0, 0.5, 1.0}
        grey = image.astype(float).mean(axis=2)
        jump = np.hypot(*np.gradient(grey))
        edge = label == 1
        if edge.sum() > 20:
            seen += 1
            assert jump[edge].mean() > 5 * jump[label == 0].mean()
    assert seen > 10


def test_crops_depend_on_their_key_alone(photos: list[LabelledPhoto]) -> None:
    sampler = CropSampler(photos, positive_votes=3)
    first, again, other = (sampler.crop(keyed_generator(0, key, "test"), 64, 0.5, 1.2)[0] for key in ("a", "a", "b"))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_loss_by_hand() -> None:
    """One edge, two background pixels, one ignored: weights 2/3 and 1/3."""
    labels = torch.tensor([[[[1.0, 0.0], [0.0, 0.5]]]])
    logits = torch.tensor([[[[0.0, 0.0], [2.0, 9.0]]]])
    one = (2 / 3 * math.log(2) + 1 / 3 * math.log(2) + 1 / 3 * math.log(1 + math.exp(2))) / 4
    output = HEDLogits(fused=logits, sides=logits.expand(1, 5, 2, 2))
    assert float(balanced_edge_loss(output, labels)) == pytest.approx(6 * one, rel=1e-5)


def test_ignored_pixels_get_no_gradient() -> None:
    labels = torch.tensor([[[[1.0, 0.0], [0.0, 0.5]]]])
    logits = torch.zeros(1, 1, 2, 2, requires_grad=True)
    balanced_edge_loss(HEDLogits(fused=logits, sides=logits.expand(1, 5, 2, 2)), labels).backward()
    assert logits.grad is not None
    assert logits.grad[0, 0, 1, 1] == 0
    assert (logits.grad != 0).sum() == 3


def test_learning_rate_warms_up_and_decays() -> None:
    config = PRESETS["compact"]
    rates = [learning_rate_at(step, config) for step in range(len(config.steps))]
    assert rates[0] < rates[50] < rates[199] == pytest.approx(config.learning_rate)
    assert rates[-1] == pytest.approx(0.01 * config.learning_rate, rel=0.01)
    assert all(later <= earlier for earlier, later in itertools.pairwise(rates[200:]))


def test_resume_repeats_the_uninterrupted_run(photos: list[LabelledPhoto], tmp_path: Path) -> None:
    whole = HEDTrainer(CONFIG, photos, tmp_path / "whole", torch.device("cpu")).run()
    stopped = HEDTrainer(CONFIG, photos, tmp_path / "cut", torch.device("cpu"))
    stopped.out.mkdir()
    for phase in CONFIG.steps[:3]:
        stopped.net.train()
        stopped._update(phase)
        stopped.step += 1
    stopped._save()
    resumed = HEDTrainer(CONFIG, photos, tmp_path / "cut", torch.device("cpu")).run()
    for key, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[key], value), key


def test_another_config_does_not_resume(photos: list[LabelledPhoto], tmp_path: Path) -> None:
    HEDTrainer(CONFIG, photos, tmp_path, torch.device("cpu")).run()
    with pytest.raises(UsageError, match="another config"):
        HEDTrainer(replace(CONFIG, seed=2), photos, tmp_path, torch.device("cpu")).run()


def test_one_batch_can_be_overfitted(photos: list[LabelledPhoto], tmp_path: Path) -> None:
    config = replace(CONFIG, phases=(Phase(240, 32, 0.4, 0.5),), width=4, learning_rate=2e-2)
    trainer = HEDTrainer(config, photos, tmp_path, torch.device("cpu"))
    batch = trainer._batch(config.phases[0])
    trainer._batch = lambda phase: batch  # type: ignore[method-assign]
    losses = [trainer._update(config.phases[0]) for _ in range(60)]
    assert losses[-1] < 0.5 * losses[0]


def test_every_parameter_gets_a_gradient(photos: list[LabelledPhoto], tmp_path: Path) -> None:
    trainer = HEDTrainer(CONFIG, photos, tmp_path, torch.device("cpu"))
    images, labels = trainer._batch(CONFIG.phases[1])
    balanced_edge_loss(trainer.net.train()(images), labels).backward()
    for name, parameter in trainer.net.named_parameters():
        assert parameter.grad is not None, name
        is_bias_before_norm = name.startswith("stages") and name.endswith("bias")
        assert is_bias_before_norm or bool((parameter.grad != 0).any()), name


def test_folding_keeps_the_function() -> None:
    torch.manual_seed(0)
    net = HED(3, "compact", batch_norm=True)
    with torch.no_grad():
        net.train()(torch.rand(4, 3, 64, 64) * 255)
    net.eval()
    images = torch.rand(2, 3, 48, 48) * 255
    folded = fold_batch_norm(net)
    assert not any("norms" in key for key in folded.state_dict())
    with torch.no_grad():
        np.testing.assert_allclose(folded(images).fused, net(images).fused, atol=1e-5, rtol=1e-4)


def test_export_loads_and_stays_near(photos: list[LabelledPhoto], tmp_path: Path) -> None:
    trainer = HEDTrainer(CONFIG, photos, tmp_path, torch.device("cpu"))
    net = trainer.run()
    path = export_net(net, CONFIG, tmp_path, trainer.seconds)
    loaded = load_hed(path)
    images = torch.from_numpy(photos[0].photo)[None]
    with torch.no_grad():
        expected = torch.sigmoid(net(images.permute(0, 3, 1, 2).float()).fused)[0, 0].numpy()
    np.testing.assert_allclose(loaded.detect(images.numpy())[0], expected, atol=0.01)
    assert loaded.origin.sha256
