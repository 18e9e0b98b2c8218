from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dpsdata.contracts import UsageError
from models.baselines.deepfillv2 import DeepFillv2, DeepFillv2Config
from models.baselines.scfegan import ScFegan
from models.baselines.tensorflow.names import count_weights
from models.training.baselines.config import METHODS, BaselineTrainConfig, list_baseline_differences
from models.training.catalogue import read_training
from models.training.editing.config import TrainConfig


def read_baseline(name: str) -> BaselineTrainConfig:
    config = read_training(name)
    assert isinstance(config, BaselineTrainConfig)
    return config


def weights_of(config: BaselineTrainConfig) -> int:
    with torch.device("meta"):
        sizes = config.network
        return count_weights(DeepFillv2(sizes) if isinstance(sizes, DeepFillv2Config) else ScFegan(sizes))


def test_published_presets_have_the_published_sizes_and_losses() -> None:
    assert [weights_of(read_baseline(f"paper-{method}-256")) for method in METHODS] == [
        4_052_478,
        4_053_678,
        92_886_100,
    ]
    config = read_baseline("paper-deepfillv2-256")
    assert (config.learning_rate, config.betas, config.batch_size, config.discriminator_width) == (
        1e-4,
        (0.5, 0.999),
        16,
        64,
    )
    losses = config.deepfill_losses
    assert (losses.coarse, losses.fine, losses.adversarial, losses.hinge_margin, losses.discriminator) == (
        1,
        1,
        1,
        1,
        0.5,
    )
    weights = read_baseline("paper-scfegan-256").scfegan_losses
    assert (weights.perceptual, weights.style, weights.variation) == (0.05, 120, 0.1)
    assert (weights.adversarial, weights.penalty, weights.drift) == (0.001, 10, 0.001)


def test_reduced_configs_are_small_and_see_what_deep_plastic_surgery_sees() -> None:
    ours = read_training("lite-edit-256")
    assert isinstance(ours, TrainConfig)
    configs = [read_baseline(f"lite-{method}-256") for method in METHODS]
    assert sum(2 * weights_of(config) for config in configs) < 12e6, "all baselines in fp16, in bytes"
    for config in configs:
        assert config.images == sum(stage.images for stage in ours.stage)
        assert (config.mask_family, config.resolution) == (ours.mask_family, ours.resolution)


def test_scfegan_enlarges_small_photos_and_says_so() -> None:
    config = replace(read_baseline("lite-scfegan-256"), resolution=64)
    assert config.network_px == 128
    assert "enlarged to 128 px" in "\n".join(list_baseline_differences(config, "hed-compact"))
    assert read_baseline("lite-scfegan-256").network_px == 256
    for wrong in (32, 192):
        with pytest.raises(UsageError, match="128"):
            replace(config, resolution=wrong)


def test_differences_name_what_was_chosen() -> None:
    text = "\n".join(
        list_baseline_differences(replace(read_baseline("lite-scfegan-256"), resolution=64), "hed-compact")
    )
    for word in ("superpixels", "count 6 times", "50% of the samples", "compact HED", "width is 12", "soft pen"):
        assert word in text
    assert "weights of the losses" not in text
    short = list_baseline_differences(read_baseline("lite-deepfillv2-256"), "none")
    assert any("adversarial=0.1" in sentence for sentence in short)
    plain = "\n".join(list_baseline_differences(read_baseline("paper-deepfillv2-256"), "none"))
    assert "VGG" not in plain
    assert "as published" not in plain
    guided = read_baseline("paper-deepfillv2-guided-256")
    losses = replace(guided.deepfill_losses, adversarial=0.5)
    assert "adversarial=0.5" in "\n".join(list_baseline_differences(replace(guided, deepfill_losses=losses), "none"))


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
def test_wrong_baseline_configs_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        replace(read_baseline("tiny-deepfillv2"), **fields)
    with pytest.raises(UsageError, match="images-scale"):
        read_baseline("tiny-scfegan").scaled(-1)
