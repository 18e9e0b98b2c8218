from __future__ import annotations

from dataclasses import replace

import pytest

from dpsdata.contracts import UsageError
from models.training.catalogue import all_preset_names, find_any_preset
from models.training.editing.config import LossConfig
from models.training.editing.differences import list_differences
from models.training.editing.presets import find_train_preset, train_preset_names
from models.training.editing.schedule import plan_stages


def test_all_presets_exist_and_fit_their_networks() -> None:
    assert train_preset_names() == (
        "paper-edit-256",
        "paper-synthesis-256",
        "lite-edit-64",
        "lite-edit-64-polish",
        "lite-edit-64-high",
        "lite-edit-64-sharp",
        "lite-edit-64-level-1",
        "lite-edit-64-settle",
        "lite-edit-128-grown",
        "lite-edit-128-joint",
        "lite-edit-128-unit",
        "lite-edit-128-mirror",
        "lite-edit-128-average",
        "lite-edit-128-pen",
        "lite-synthesis-64",
        "lite-synthesis-64-polish",
        "lite-edit-128",
        "lite-edit-256",
        "lite-synthesis-256",
        "tiny",
    )
    for name in train_preset_names():
        config = find_train_preset(name)
        assert config.name == name
        assert config.networks.inpainter.resolution == config.resolution
        assert config.networks.task == config.task
        assert config.networks.refiner.resolutions[-1] == config.resolution


def test_the_paper_preset_has_the_published_numbers() -> None:
    config = find_train_preset("paper-edit-256")
    assert (config.learning_rate, config.betas) == (2e-4, (0.5, 0.999))
    assert config.losses == LossConfig(10.0, 1.0, 100.0, (1.0, 0.5), False)
    assert (config.inpainter_batch, config.refiner_batches) == (4, (64, 32, 4))
    assert (config.inpainter_masks, config.refiner_masks) == (1024, (4096, 2048, 1024))
    assert (config.inpainter_images, config.fixed_images, config.random_images) == (1_500_000, 900_000, 6_000_000)
    assert config.networks.refiner.width == 64


def test_differences_are_named() -> None:
    paper = find_train_preset("paper-edit-256")
    text = "\n".join(list_differences(paper, "vgg19-torchvision"))
    for word in ("eval mode", "L1", "averaged", "VGG19 sees photos scaled as it was trained"):
        assert word in text
    assert "learning_rate" not in text
    assert "compact HED" in "\n".join(list_differences(paper, "hed-compact"))
    as_published = replace(paper, losses=LossConfig(published_vgg_scaling=True))
    assert "scaled as" not in "\n".join(list_differences(as_published, "vgg19-torchvision"))
    other = "\n".join(list_differences(replace(paper, learning_rate=1e-3, betas=(0.9, 0.999)), "hed-compact"))
    assert "learning_rate is 0.001" in other
    assert "betas" in other
    pen = "\n".join(list_differences(find_train_preset("lite-edit-128-pen"), "hed-compact-unit"))
    assert "pen_diameter is 13; published: 21" in pen
    assert "judged in the hole" in pen
    assert "composite=True" not in pen
    composite = replace(paper, losses=LossConfig(composite=True))
    assert "weights of the losses" not in "\n".join(list_differences(composite, "hed-compact"))
    assert "BatchNorm" in "\n".join(list_differences(find_train_preset("lite-synthesis-256"), "hed-compact"))


def test_the_second_run_fits_the_networks_of_the_first() -> None:
    first = find_train_preset("lite-edit-64")
    for name in (
        "lite-edit-64-polish",
        "lite-edit-64-high",
        "lite-edit-64-sharp",
        "lite-edit-64-level-1",
        "lite-edit-64-settle",
    ):
        assert find_train_preset(name).networks == first.networks
        assert find_train_preset(name).learning_rate < first.learning_rate
    assert [stage.name for stage in plan_stages(find_train_preset("lite-edit-64-high"))] == ["G64"]


def test_images_scale() -> None:
    config = find_train_preset("lite-edit-64")
    half = config.scaled(0.5)
    assert (half.inpainter_images, half.fixed_images, half.random_images) == (20_000, 2_500, 20_000)
    assert config.scaled(1) is config
    assert config.scaled(1e-9).random_images == 1
    assert config.scaled(1e-9).inpainter_images == 1
    assert find_train_preset("lite-edit-128-joint").scaled(0.5).inpainter_images == 0, (
        "no stage of F where there was none"
    )
    for wrong in (0, -1, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="images-scale"):
            config.scaled(wrong)


@pytest.mark.parametrize(
    "fields",
    [
        {"refiner_batches": (4,)},
        {"refiner_masks": (4, 4)},
        {"inpainter_batch": 0},
        {"random_images": 0},
        {"fixed_images": -1},
        {"learning_rate": float("nan")},
        {"mask_family": "round"},
        {"resolution": 100},
    ],
)
def test_wrong_configs_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        replace(find_train_preset("tiny"), **fields)


def test_wrong_names_and_losses_are_refused() -> None:
    with pytest.raises(UsageError, match="lite-edit-64"):
        find_train_preset("lite")
    with pytest.raises(UsageError, match="losses"):
        LossConfig(reconstruction=-1)
    with pytest.raises(UsageError, match="losses"):
        LossConfig(perceptual=(1.0, float("nan")))


def test_weights_made_for_the_compact_hed_are_never_used_with_vgg19() -> None:
    for name in all_preset_names():
        config = find_any_preset(name)
        losses = getattr(config, "losses", None) or config.scfegan_losses
        if name != "tiny" and losses.perceptual not in ((1.0, 0.5), 0.05):
            is_unit = name.removeprefix("lite-edit-128-") in ("unit", "mirror", "average", "pen")
            assert config.features == ("hed-compact-unit" if is_unit else "hed-compact"), name
        if config.follows:
            assert find_any_preset(config.follows).name == config.follows
