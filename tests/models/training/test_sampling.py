from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dpsdata.contracts import UsageError
from dpsdata.runtime.command_line import run_app
from models.cli import app
from models.training.baselines.batch import ColorStrokes, paint_color_map, prepare_baseline_batch
from models.training.baselines.config import BaselineTrainConfig, list_baseline_differences
from models.training.catalogue import make_trainer, read_training
from models.training.editing.config import TrainConfig, list_differences, plan_stages
from models.training.engine.batches import (
    BatchPixels,
    BatchSource,
    PhotoStore,
    PlannedSample,
    open_training_photos,
    order_photos,
)
from models.training.engine.config import SamplingConfig, repeat_photos
from models.training.engine.state import describe_config, is_same_config


def source_of(
    built: Path, config: TrainConfig, sampling: SamplingConfig, share: tuple[int, int] = (0, 1)
) -> BatchSource:
    stage = replace(plan_stages(config)[0], batch_size=2, random_images=60)
    return BatchSource(PhotoStore(built, "train", 64), stage, 0, "dps", share, sampling)


def draws(source: BatchSource, steps: int) -> list[PlannedSample]:
    return [sample for step in range(steps) for sample in source.plan(step)]


def test_repeats_are_counted_by_the_last_pattern_that_matches() -> None:
    ids = ["real_1", "real_2", "made_1", "made_2"]
    photos, copies = repeat_photos(ids, SamplingConfig((("*", 2), ("real_*", 3), ("real_2", 0))))
    assert photos.tolist() == [0, 0, 0, 2, 2, 3, 3]
    assert copies.tolist() == [0, 1, 2, 0, 1, 0, 1]
    photos, copies = repeat_photos(ids, SamplingConfig())
    assert photos.tolist() == [0, 1, 2, 3]
    assert not copies.any()


def test_wrong_repeats_are_refused() -> None:
    with pytest.raises(UsageError, match=r"matches 'selfie\*'; IDs look like a, b"):
        repeat_photos(["a", "b"], SamplingConfig((("selfie*", 2),)))
    with pytest.raises(UsageError, match="every photo would come 0 times"):
        repeat_photos(["a", "b"], SamplingConfig((("*", 0),)))
    for pair in (("a", -1), ("a", 1_001), ("", 2)):
        with pytest.raises(UsageError, match="from 0 to 1000"):
            SamplingConfig((pair,))


def test_a_repeated_photo_comes_so_often_in_every_epoch(built: Path, quick: TrainConfig) -> None:
    name = PhotoStore(built, "train", 64).ids[2]
    planned = draws(source_of(built, quick, SamplingConfig(((name, 5),))), 20)
    for epoch in range(4):
        counts = Counter(sample.photo for sample in planned[10 * epoch : 10 * epoch + 10])
        assert counts == {0: 1, 1: 1, 2: 5, 3: 1, 4: 1, 5: 1}
    assert len({sample.key for sample in planned}) == 40, "no two samples share their draws"
    never = draws(source_of(built, quick, SamplingConfig(((name, 0),))), 10)
    assert {sample.photo for sample in never} == {0, 1, 3, 4, 5}


def test_without_repeats_every_draw_is_as_in_earlier_versions(built: Path, quick: TrainConfig) -> None:
    planned = draws(source_of(built, quick, SamplingConfig()), 6)
    ids = PhotoStore(built, "train", 64).ids
    photos = [int(photo) for epoch in range(2) for photo in order_photos(6, quick.seed, "F64", epoch)]
    assert [each.photo for each in planned] == photos
    assert [each.key for each in planned] == [f"{ids[photo]}:F64:{at // 6}" for at, photo in enumerate(photos)]
    assert not any(each.is_mirrored for each in planned)
    twice = draws(source_of(built, quick, SamplingConfig(mirror=True)), 6)
    assert [each[:3] for each in twice] == [each[:3] for each in planned], "mirroring changes nothing else"


def test_half_of_the_photos_are_mirrored_with_their_sketches(built: Path, quick: TrainConfig) -> None:
    source = source_of(built, quick, SamplingConfig(mirror=True))
    planned = draws(source, 30)
    assert 15 <= sum(each.is_mirrored for each in planned) <= 45
    assert planned == draws(source_of(built, quick, SamplingConfig(mirror=True)), 30)
    shared = [draws(source_of(built, quick, SamplingConfig(mirror=True), (rank, 2)), 30) for rank in range(2)]
    assert [each for pair in zip(*shared, strict=True) for each in pair] == planned
    turned = next(each for each in planned if each.is_mirrored)
    pixels = source.read([turned, turned._replace(is_mirrored=False)])
    assert np.array_equal(pixels.photos[0], pixels.photos[1][:, ::-1])
    assert np.array_equal(pixels.sketches[0], pixels.sketches[1][:, ::-1])
    assert np.array_equal(pixels.masks[0], pixels.masks[1]), "masks are drawn in every direction as it is"
    assert not np.array_equal(pixels.photos[0], pixels.photos[1])


def test_color_strokes_of_a_mirrored_photo_have_its_colors(built: Path, quick: TrainConfig) -> None:
    source = source_of(built, quick, SamplingConfig(mirror=True))
    turned = next(each for each in draws(source, 30) if each.is_mirrored)
    config = read_training("tiny-scfegan")
    assert isinstance(config, BaselineTrainConfig)
    strokes = ColorStrokes(64, 0, 1.0)
    for sample in (turned._replace(is_mirrored=False), turned):  # the map of the first is kept
        pixels = source.read([sample])
        drawn = strokes.draw(pixels.keys, pixels.photo_ids, pixels.photos)[0]
        given = drawn.any(-1)
        assert given.any()
        photo = pixels.photos[0][:, ::-1] if sample.is_mirrored else pixels.photos[0]
        wanted = paint_color_map(np.ascontiguousarray(photo))
        assert np.array_equal(drawn[given], (wanted[:, ::-1] if sample.is_mirrored else wanted)[given])
    assert len(strokes._maps) == 1, "a mirrored photo has no map of its own in memory"
    assert prepare_baseline_batch(source.read([turned]), config, strokes, torch.device("cpu")).color is not None


def test_a_run_draws_what_its_config_says(built: Path, quick: TrainConfig, tmp_path: Path) -> None:
    name = PhotoStore(built, "train", 64).ids[2]
    sampling = SamplingConfig((("*", 0), (name, 1)), True)
    trainer = make_trainer(replace(quick, sampling=sampling), built, tmp_path / "run", device="cpu")
    seen: list[str] = []
    step = trainer.algorithm.step

    def watch(parts: object, pixels: BatchPixels, *rest: object) -> dict[str, float]:
        seen.extend(pixels.photo_ids)
        return step(parts, pixels, *rest)  # type: ignore[arg-type]

    trainer.algorithm.step = watch  # type: ignore[method-assign,assignment]
    trainer.run()
    assert set(seen) == {name, f"{name}:mirrored"}


def test_the_command_line_decides_about_sampling(
    built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def differences(preset: str, *words: str) -> str:
        assert run_app(app, ["train", preset, "--data", str(built), "--out", str(tmp_path), "--dry-run", *words]) == 0
        return capsys.readouterr().out

    assert "mirrored" not in differences("tiny")
    assert "mirrored" in differences("tiny", "--set", "sampling.mirror=true")
    repeats = ("--set", 'sampling.repeats=[["*", 2], ["*0*", 3]]')
    both = differences("tiny-scfegan", "--set", "sampling.mirror=true", *repeats)
    assert "'*' come 2 times" in both
    assert "'*0*' come 3 times" in both
    assert "mirrored" in both


def test_sampling_is_told_and_kept(built: Path, quick: TrainConfig) -> None:
    changed = replace(quick, sampling=SamplingConfig((("z*", 6),), True))
    baseline = read_training("tiny-scfegan")
    assert isinstance(baseline, BaselineTrainConfig)
    baseline_changed = replace(baseline, sampling=changed.sampling)
    for told in (list_differences(changed, "vgg19"), list_baseline_differences(baseline_changed, "vgg19")):
        assert "photos whose ID matches 'z*' come 6 times in an epoch; published: once" in told
        assert "half of the photos are mirrored; published: none" in told
    stored = describe_config(quick)
    assert is_same_config(describe_config(changed), changed)
    assert not is_same_config(stored, changed)
    del stored["sampling"]
    assert is_same_config(stored, quick), "runs of earlier versions go on"
    assert not is_same_config(stored, changed)
    with pytest.raises(UsageError, match=r"no photo matches 'z\*'"):
        open_training_photos(built, changed)
