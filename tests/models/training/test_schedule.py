from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from dpsdata.contracts import UsageError
from models.training.baselines.differences import list_rival_differences
from models.training.baselines.presets import find_rival_preset
from models.training.editing.differences import list_differences
from models.training.editing.presets import find_train_preset
from models.training.editing.schedule import RANDOM_LEVELS, plan_stages
from models.training.engine.config import learning_rate_at


def test_f_comes_first_then_g_from_coarse_to_fine() -> None:
    stages = plan_stages(find_train_preset("paper-edit-256"))
    assert [stage.name for stage in stages] == ["F256", "G64", "G128", "G256"]
    assert [stage.is_finest for stage in stages] == [False, False, False, True]
    assert [stage.batch_size for stage in stages] == [4, 64, 32, 4]
    assert [stage.mask_count for stage in stages] == [1024, 4096, 2048, 1024]
    assert [stage.name for stage in plan_stages(find_train_preset("lite-edit-64"))] == ["F64", "G64"]


def test_steps_cover_the_images() -> None:
    stage = plan_stages(replace(find_train_preset("tiny"), fixed_images=9, random_images=17))[1]
    assert stage.batch_size == 4
    assert (stage.fixed_steps, stage.step_count) == (3, 8)


def test_all_resolutions_of_g_can_be_one_stage() -> None:
    config = replace(find_train_preset("tiny"), joint=True, refiner_batches=(9, 5, 3), refiner_masks=(90, 50, 30))
    stages = plan_stages(config)
    assert [stage.name for stage in stages] == ["F64", "G"]
    joint = stages[1]
    assert (joint.size, joint.is_finest, joint.batch_size, joint.mask_count) == (64, True, 3, 30)
    assert any("joint is True" in line for line in list_differences(config, "hed-compact"))


def test_levels_are_one_and_then_the_22_values() -> None:
    stage = plan_stages(replace(find_train_preset("tiny"), fixed_images=8, random_images=40_000))[2]
    assert [stage.level_at(step, 0) for step in range(2)] == [1.0, 1.0]
    drawn = Counter(stage.level_at(step, 0) for step in range(2, 3002))
    assert len(RANDOM_LEVELS) == 22
    assert set(drawn) == {*(i / 20 for i in range(21)), 0.025}
    assert min(drawn.values()) > 90  # 136 expected of each
    assert max(drawn.values()) < 190
    assert stage.level_at(7, 0) == stage.level_at(7, 0)
    assert [stage.level_at(step, 0) for step in range(2, 30)] != [stage.level_at(step, 1) for step in range(2, 30)]


def test_the_rate_rises_only_after_the_optimiser_was_lost() -> None:
    config = replace(find_train_preset("tiny"), learning_rate=0.01, warmup_images=100)
    assert learning_rate_at(config, None) == 0.01
    assert learning_rate_at(config, 0) == pytest.approx(0.0001)
    assert learning_rate_at(config, 49) == pytest.approx(0.005)
    assert learning_rate_at(config, 5000) == 0.01
    assert learning_rate_at(replace(config, warmup_images=0), 0) == 0.01


def test_the_rate_may_fall_towards_the_end_of_a_stage() -> None:
    config = replace(find_train_preset("tiny"), learning_rate=0.01, warmup_images=100)
    assert learning_rate_at(config, None, 4) == 0.01, "published: constant"
    falling = replace(config, cooldown_images=200)
    assert learning_rate_at(falling, None, 200) == 0.01
    assert learning_rate_at(falling, None, 50) == pytest.approx(0.0025)
    assert learning_rate_at(falling, 49, 100) == pytest.approx(0.0025), "both at once in a very short stage"
    assert (falling.scaled(0.5).cooldown_images, falling.scaled(0.5).warmup_images) == (100, 50)
    rival = replace(find_rival_preset("tiny-scfegan"), cooldown_images=200)
    assert rival.scaled(0.5).cooldown_images == 100
    assert any("falls over the last 200 images" in line for line in list_differences(falling, "hed-compact"))
    after = replace(falling, follows="another")
    told = [line for line in list_differences(after, "hed-compact") if "learning rate" in line]
    assert told == [
        "the learning rate rises over the first 100 images and falls over the last 200 images of each stage; "
        "published: constant"
    ]
    assert any("falls over the last 200 images" in line for line in list_rival_differences(rival, "hed-compact"))
    for config in (falling, rival):
        with pytest.raises(UsageError, match="cooldown_images: expected 0 or more"):
            replace(config, cooldown_images=-1)
