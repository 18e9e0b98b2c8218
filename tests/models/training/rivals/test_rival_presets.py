from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dpsdata.contracts import UsageError
from models.baselines.deepfillv2 import DeepFillv2, DeepFillv2Config
from models.baselines.scfegan import ScFegan
from models.baselines.tensorflow.names import count_weights
from models.cli.train import _PRESETS as HELP
from models.training.baselines.config import METHODS, RivalTrainConfig
from models.training.baselines.differences import list_rival_differences
from models.training.baselines.presets import find_rival_preset, rival_preset_names
from models.training.catalogue import all_preset_names, find_any_preset
from models.training.editing.presets import find_train_preset


def weights_of(config: RivalTrainConfig) -> int:
    with torch.device("meta"):
        sizes = config.network
        return count_weights(DeepFillv2(sizes) if isinstance(sizes, DeepFillv2Config) else ScFegan(sizes))


def test_every_preset_is_found_and_named_in_the_help() -> None:
    assert all_preset_names()[-24:] == rival_preset_names()
    for name in all_preset_names():
        assert find_any_preset(name).name == name
        shown = name
        for method in METHODS[::-1]:
            shown = shown.replace(method, "METHOD") if name in rival_preset_names() and "METHOD" not in shown else shown
        assert shown.replace("METHOD-guided", "METHOD") in HELP
    with pytest.raises(UsageError, match="lite-scfegan-128"):
        find_any_preset("lite-scfegan")


def test_published_presets_have_the_published_sizes_and_losses() -> None:
    assert [weights_of(find_rival_preset(method)) for method in METHODS] == [4_052_478, 4_053_678, 92_886_100]
    config = find_rival_preset("deepfillv2")
    assert (config.learning_rate, config.betas, config.batch_size, config.critic_width) == (1e-4, (0.5, 0.999), 16, 64)
    losses = config.deepfill_losses
    assert (losses.coarse, losses.fine, losses.adversarial, losses.hinge_margin, losses.critic) == (1, 1, 1, 1, 0.5)
    weights = find_rival_preset("scfegan").scfegan_losses
    assert (weights.perceptual, weights.style, weights.variation) == (0.05, 120, 0.1)
    assert (weights.adversarial, weights.penalty, weights.drift) == (0.001, 10, 0.001)


@pytest.mark.parametrize("resolution", [64, 128, 256])
def test_reduced_presets_are_small_and_see_what_deep_plastic_surgery_sees(resolution: int) -> None:
    ours = find_train_preset(f"lite-edit-{resolution}")
    configs = [find_rival_preset(f"lite-{method}-{resolution}") for method in METHODS]
    assert sum(2 * weights_of(config) for config in configs) < 12e6, "all rivals in fp16, in bytes"
    for config in configs:
        assert config.images == ours.inpainter_images + ours.fixed_images + ours.random_images
        assert (config.mask_family, config.resolution) == (ours.mask_family, ours.resolution)
        half, scaled = config.scaled(0.5), ours.scaled(0.5)
        assert half.images == scaled.inpainter_images + scaled.fixed_images + scaled.random_images


def test_scfegan_enlarges_small_photos_and_says_so() -> None:
    config = find_rival_preset("lite-scfegan-64")
    assert config.network_px == 128
    assert "enlarged to 128 px" in "\n".join(list_rival_differences(config, "hed-compact"))
    assert find_rival_preset("lite-scfegan-256").network_px == 256
    for wrong in (32, 192):
        with pytest.raises(UsageError, match="128"):
            replace(config, resolution=wrong)


def test_differences_name_what_was_chosen() -> None:
    text = "\n".join(list_rival_differences(find_rival_preset("lite-scfegan-64"), "hed-compact"))
    for word in ("superpixels", "count 6 times", "50% of the samples", "compact HED", "width is 12", "soft pen"):
        assert word in text
    assert "weights of the losses" not in text
    short = list_rival_differences(find_rival_preset("lite-deepfillv2-64"), "none")
    assert any("adversarial=0.1" in sentence for sentence in short)
    plain = "\n".join(list_rival_differences(find_rival_preset("deepfillv2"), "none"))
    assert "VGG" not in plain
    assert "in the published preset" not in plain
    guided = find_rival_preset("deepfillv2-guided")
    losses = replace(guided.deepfill_losses, adversarial=0.5)
    assert "adversarial=0.5" in "\n".join(list_rival_differences(replace(guided, deepfill_losses=losses), "none"))


@pytest.mark.parametrize(
    "fields",
    [
        {"method": "pconv"},
        {"images": 0},
        {"batch_size": 0},
        {"color_share": 1.5},
        {"learning_rate": float("nan")},
        {"mask_family": "round"},
        {"resolution": 100},
        {"warmup_images": -1},
    ],
)
def test_wrong_rival_configs_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        replace(find_rival_preset("tiny-deepfillv2"), **fields)
    with pytest.raises(UsageError, match="images-scale"):
        find_rival_preset("tiny-scfegan").scaled(-1)
