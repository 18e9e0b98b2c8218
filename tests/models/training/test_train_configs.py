from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from dpsdata.contracts import MissingError, UsageError
from models.cli.train import _CONFIGS as HELP
from models.training.baselines.config import METHODS, BaselineTrainConfig
from models.training.catalogue import read_training
from models.training.config_files import config_names
from models.training.editing.config import LossConfig, StageConfig, TrainConfig, list_differences, plan_stages


def read_editing(name: str, *settings: str) -> TrainConfig:
    config = read_training(name, settings)
    assert isinstance(config, TrainConfig)
    return config


def test_every_config_of_the_package_is_whole_and_named_in_the_help() -> None:
    assert len(config_names()) == 14
    for name in config_names():
        config = read_training(name)
        assert config.name == name
        if isinstance(config, TrainConfig):
            assert config.networks.inpainter.resolution == config.resolution
            assert config.networks.task == config.task
            assert config.networks.refiner.resolutions[-1] == config.resolution
        shown = name
        for method in METHODS[::-1]:
            shown = re.sub(f"-{method}(?![-\\w]*edit)", "-METHOD", shown)
        assert shown.replace("METHOD-guided", "METHOD") in HELP


def test_the_paper_config_has_the_published_numbers() -> None:
    config = read_editing("paper-edit-256")
    assert (config.learning_rate, config.betas) == (2e-4, (0.5, 0.999))
    assert config.losses == LossConfig(10.0, 1.0, 100.0, (1.0, 0.5), True)
    assert [stage.name for stage in plan_stages(config)] == ["F256", "G64", "G128", "G256"]
    assert [stage.batch for stage in config.stage] == [4, 64, 32, 4]
    assert [stage.masks for stage in config.stage] == [1024, 4096, 2048, 1024]
    assert [(stage.images, stage.level1_images) for stage in config.stage] == [
        (1_500_000, 0),
        *[(6_900_000, 900_000)] * 3,
    ]
    assert config.networks.refiner.width == 64
    assert config.features == "vgg19-torchvision", "never another one in silence"
    told = "\n".join(list_differences(config, "vgg19-torchvision"))
    for word in ("learning_rate is", "scaled as", "images, 0 of them", "sizes of"):
        assert word not in told


def test_differences_are_named() -> None:
    paper = read_editing("paper-edit-256")
    text = "\n".join(list_differences(paper, "vgg19-torchvision"))
    for word in ("eval mode", "L1", "averaged"):
        assert word in text
    assert "compact HED" in "\n".join(list_differences(paper, "hed-compact"))
    plain = replace(paper, losses=LossConfig())
    assert "VGG19 sees photos scaled as it was trained" in "\n".join(list_differences(plain, "vgg19-torchvision"))
    lite = "\n".join(list_differences(read_editing("lite-edit-256"), "hed-compact-unit"))
    assert "dilation_diameter is 9; published: 21" in lite
    assert "discriminator is highpass; published: published" in lite
    assert "judged in the hole" in lite
    assert "composite=True" not in lite
    assert "F: 18,000 images, 0 of them at level 1, in batches of 8 with 8,192 masks; published: 1,500,000" in lite
    assert "BatchNorm" in "\n".join(list_differences(read_editing("lite-synthesis-256"), "hed-compact"))


def test_images_scale() -> None:
    config = read_editing("lite-edit-256")
    half = config.scaled(0.5)
    assert [(stage.images, stage.level1_images) for stage in half.stage] == [(9_000, 0), (5_400, 400)]
    assert config.scaled(1) == config
    assert [stage.images for stage in config.scaled(1e-9).stage] == [1, 1]
    for wrong in (0, -1, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="images-scale"):
            config.scaled(wrong)


def test_settings_change_single_values() -> None:
    config = read_editing("tiny", "learning_rate=0.5", "losses.hole=3", "stage.1.images=90", "mask_family=center")
    assert (config.learning_rate, config.losses.hole, config.stage[1].images) == (0.5, 3.0, 90)
    assert (config.mask_family, config.name) == ("center", "tiny")
    assert read_training("tiny-scfegan", ["sampling.mirror=true"]).sampling.mirror
    assert read_training("tiny", ['sampling.repeats=[["real_*", 6]]']).sampling.repeats == (("real_*", 6),)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["learning_rat=1"], "did you mean 'learning_rate'"),
        (["losses.hol=1"], "did you mean 'hole'"),
        (["learning_rate='much'"], "expected a number, got 'much'"),
        (["stage.9.images=1"], "expected a number from 0 to 3"),
        (["stage.0=1"], "expected a key after the number"),
        (["seed.x=1"], "expected a whole number"),
        (["seed=1", "seed.x=1"], "seed is a value, not a table"),
        (["betas=[0.5]"], "expected 2 values, got 1"),
        (["features=vgg"], "expected one of vgg19-torchvision"),
        (["learning_rate"], "expected KEY=VALUE"),
        (["level_per_sample=1"], "expected true or false, got 1"),
        (["stage=[]"], "expected F, then some of"),
        (["learning_rate=nan"], "learning_rate"),
        (["mask_family=round"], "mask_family"),
        (["resolution=100"], "resolution"),
        (["discriminator=highpass"], "goes with a G of one resolution"),
        (["losses.crop=0.1"], "crop from 0.25 to 1"),
    ],
)
def test_wrong_settings_are_refused_with_one_sentence(settings: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        read_training("tiny", settings)


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('model = "tiny"\ntask = "edit"\nresolution = 64\n[[stage]]\nnetwork = "F"\nimages = 8\n')
    config = read_editing(str(path))
    assert (config.name, config.stage) == ("mine", (StageConfig(network="F", images=8),))
    path.write_text("model = [")
    with pytest.raises(UsageError, match=r"mine\.toml: not valid TOML"):
        read_training(str(path))
    path.write_text('model = "tiny"\n')
    with pytest.raises(UsageError, match=r"mine\.toml: .*task"):
        read_training(str(path))
    with pytest.raises(MissingError, match="no such file"):
        read_training(str(tmp_path / "other.toml"))
    with pytest.raises(UsageError, match="did you mean lite-edit-256"):
        read_training("lite-edit")


def test_stages_are_checked() -> None:
    for fields in (
        {"images": 0},
        {"images": 4, "batch": 0},
        {"images": 4, "level1_images": 5},
        {"images": 4, "masks": 0},
    ):
        with pytest.raises(UsageError):
            StageConfig(network="F", **fields)
    with pytest.raises(UsageError, match="G64"):
        StageConfig(network="D64", images=4)
    tiny = read_editing("tiny")
    for order in ((1, 0), (0, 0), ()):
        with pytest.raises(UsageError, match="stage"):
            replace(tiny, stage=tuple(tiny.stage[each] for each in order))
    with pytest.raises(UsageError, match="losses"):
        LossConfig(reconstruction=-1)
    with pytest.raises(UsageError, match="losses"):
        LossConfig(perceptual=(1.0, float("nan")))


def test_weights_made_for_the_compact_hed_are_never_used_with_vgg19() -> None:
    for name in config_names():
        config = read_training(name)
        losses = config.scfegan_losses if isinstance(config, BaselineTrainConfig) else config.losses
        if name != "tiny" and losses.perceptual not in ((1.0, 0.5), 0.05):
            assert config.features in ("hed-compact", "hed-compact-unit"), name
