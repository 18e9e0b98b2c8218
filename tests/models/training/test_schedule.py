from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch

from dpsdata.contracts import UsageError
from models.training.baselines.config import list_baseline_differences
from models.training.catalogue import read_training
from models.training.editing.config import RANDOM_LEVELS, StageConfig, TrainConfig, list_differences, plan_stages
from models.training.engine.config import learning_rate_at


def tiny() -> TrainConfig:
    config = read_training("tiny")
    assert isinstance(config, TrainConfig)
    return config


def with_stage(**fields: Any) -> TrainConfig:
    return replace(tiny(), stage=(StageConfig(**fields),))


def test_steps_cover_the_images() -> None:
    stage = plan_stages(with_stage(network="G16", images=26, level1_images=9, batch=4))[0]
    assert (stage.fixed_steps, stage.step_count) == (3, 8)


def test_all_resolutions_of_g_can_be_one_stage() -> None:
    joint = plan_stages(with_stage(network="G", images=9, batch=3, masks=30))[0]
    assert (joint.name, joint.is_joint, joint.size, joint.is_finest) == ("G", True, 64, True)
    assert (joint.batch_size, joint.mask_count) == (3, 30)


def test_only_the_finest_g_is_judged_by_f() -> None:
    assert [stage.is_finest for stage in plan_stages(tiny())] == [False, False, False, True]


def test_levels_are_one_and_then_the_22_values() -> None:
    stage = plan_stages(with_stage(network="G32", images=40_008, level1_images=8, batch=4))[0]
    assert [stage.level_at(step, 0) for step in range(2)] == [1.0, 1.0]
    drawn = Counter(stage.level_at(step, 0) for step in range(2, 3002))
    assert len(RANDOM_LEVELS) == 22
    assert set(drawn) == {*(i / 20 for i in range(21)), 0.025}
    assert min(drawn.values()) > 90  # 136 expected of each
    assert max(drawn.values()) < 190
    assert stage.level_at(7, 0) == stage.level_at(7, 0)
    assert [stage.level_at(step, 0) for step in range(2, 30)] != [stage.level_at(step, 1) for step in range(2, 30)]


def test_the_rate_rises_only_after_the_optimiser_was_lost() -> None:
    config = replace(tiny(), learning_rate=0.01, warmup_images=100)
    assert learning_rate_at(config, None) == 0.01
    assert learning_rate_at(config, 0) == pytest.approx(0.0001)
    assert learning_rate_at(config, 49) == pytest.approx(0.005)
    assert learning_rate_at(config, 5000) == 0.01
    assert learning_rate_at(replace(config, warmup_images=0), 0) == 0.01


def test_the_rate_may_fall_towards_the_end_of_a_stage() -> None:
    config = replace(tiny(), learning_rate=0.01, warmup_images=100)
    assert learning_rate_at(config, None, 4) == 0.01, "published: constant"
    falling = replace(config, cooldown_images=200)
    assert learning_rate_at(falling, None, 200) == 0.01
    assert learning_rate_at(falling, None, 50) == pytest.approx(0.0025)
    assert learning_rate_at(falling, 49, 100) == pytest.approx(0.0025), "both at once in a very short stage"
    assert (falling.scaled(0.5).cooldown_images, falling.scaled(0.5).warmup_images) == (100, 50)
    baseline = replace(read_training("tiny-scfegan"), cooldown_images=200)
    assert baseline.scaled(0.5).cooldown_images == 100
    assert any("falls over the last 200 images" in line for line in list_differences(falling, "hed-compact"))
    told = [line for line in list_differences(falling, "hed-compact") if "learning rate" in line]
    assert told == [
        "the learning rate rises over the first 100 images and falls over the last 200 images of each stage; "
        "published: constant"
    ]
    assert any("falls over the last 200 images" in line for line in list_baseline_differences(baseline, "hed-compact"))
    for config in (falling, baseline):
        with pytest.raises(UsageError, match="cooldown_images: expected 0 or more"):
            replace(config, cooldown_images=-1)


def test_every_sample_may_have_a_level_of_its_own() -> None:
    config = replace(with_stage(network="G64", images=12, level1_images=4, batch=4), level_per_sample=True)
    stage = plan_stages(config)[0]
    keys = [f"photo{number}" for number in range(400)]
    assert stage.levels_at(0, 0, keys) == 1.0
    drawn = stage.levels_at(1, 0, keys)
    assert isinstance(drawn, torch.Tensor)
    assert drawn.shape == (400,)
    assert {round(value, 3) for value in drawn.tolist()} == {round(level, 3) for level in RANDOM_LEVELS}
    again = stage.levels_at(5, 0, keys[:3])
    assert isinstance(again, torch.Tensor)
    assert torch.equal(drawn[:3], again), "by key alone"
