from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dpsdata.contracts import UsageError
from dpsdata.sketch import dilate_sketch, draw_rough, make_rough_sketch, smooth_sketch, truth_sketches
from models.networks.published_signs import shrink_mask
from models.training.editing.config import TrainConfig, plan_stages
from models.training.editing.steps import TrainBatch, prepare_batch
from models.training.engine.batches import BatchPixels, BatchSource, PhotoStore

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pixels(built: Path, quick: TrainConfig) -> BatchPixels:
    source = BatchSource(PhotoStore(built, "train", 64), plan_stages(quick)[0], 0, "dps")
    return source.read(source.plan(0))


def prepared(pixels: BatchPixels, config: TrainConfig, index: int, level: float, is_rough: bool = True) -> TrainBatch:
    return prepare_batch(pixels, plan_stages(config)[index], config, level, CPU, is_rough)


def test_f_reads_the_true_sketch_in_the_hole(pixels: BatchPixels, quick: TrainConfig) -> None:
    batch = prepared(pixels, quick, 0, 1.0)
    thin = torch.from_numpy(pixels.sketches)[:, None].float()
    mask = torch.from_numpy(pixels.masks)[:, None].float()
    assert torch.equal(batch.sketch, smooth_sketch(thin))
    assert list(batch.inputs) == [64]
    read = batch.inputs[64]
    assert read.shape == (2, 7, 64, 64)
    assert torch.equal(read[:, :1], (1 - 2 * smooth_sketch(thin)) * mask)
    assert torch.equal(read[:, 3:6], batch.photo * (1 - mask))
    assert torch.equal(read[:, 6:], 2 * mask - 1)
    expected = pixels.photos.transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1
    assert np.abs(batch.photo.numpy() - expected).max() < 1e-6


def test_g_reads_rough_sketches_of_every_size_so_far(pixels: BatchPixels, quick: TrainConfig) -> None:
    batch = prepared(pixels, quick, 3, 0.5)
    assert list(batch.inputs) == [16, 32, 64]
    thin = torch.from_numpy(pixels.sketches)[:, None].float()
    rough = make_rough_sketch(smooth_sketch(thin), 0.5, draw_rough(pixels.keys, 64, 64, quick.seed))
    assert batch.mask is not None
    assert torch.equal(batch.inputs[64][:, :1], (1 - 2 * rough) * batch.mask)
    further = prepared(pixels, replace(quick, max_deformation=2.0), 3, 0.5)
    rough = make_rough_sketch(smooth_sketch(thin), 0.5, draw_rough(pixels.keys, 64, 64, quick.seed), move_scale=2.0)
    assert torch.equal(further.inputs[64][:, :1], (1 - 2 * rough) * batch.mask)
    with pytest.raises(UsageError, match="max_deformation: expected a number from 0 to 4, got 9"):
        replace(quick, max_deformation=9)
    coarse = prepared(pixels, quick, 1, 0.5)
    assert list(coarse.inputs) == [16]
    assert torch.equal(coarse.inputs[16], batch.inputs[16])
    assert torch.equal(coarse.sketch, truth_sketches(thin)[16])
    assert coarse.mask is not None
    assert torch.equal(coarse.mask, shrink_mask(batch.mask, 16))
    assert coarse.photo.shape == (2, 3, 16, 16)


def test_a_narrower_pen_draws_the_same_lines(pixels: BatchPixels, quick: TrainConfig) -> None:
    config = replace(quick, dilation_diameter=13)
    thin = torch.from_numpy(pixels.sketches)[:, None].float()
    draws = draw_rough(pixels.keys, 64, 64, quick.seed)
    batch = prepared(pixels, config, 3, 1.0)
    assert batch.mask is not None
    rough = make_rough_sketch(smooth_sketch(thin), 1.0, draws, max_diameter=3, max_move=5.0)
    assert torch.equal(batch.inputs[64][:, :1], (1 - 2 * rough) * batch.mask)
    both = (batch, prepared(pixels, quick, 3, 1.0))
    ink, wide = ((1 - item.inputs[64][:, :1]) / 2 * batch.mask for item in both)
    assert bool((ink <= wide + 1e-6).all()), "the same moves: nothing is outside the wider pen's lines"
    assert 0 < float(ink.sum()) < 0.9 * float(wide.sum())
    plain = prepared(pixels, config, 3, 1.0, is_rough=False)
    assert plain.mask is not None
    assert torch.equal(plain.inputs[64][:, :1], (1 - 2 * dilate_sketch(smooth_sketch(thin), 1.0, 3)) * plain.mask)
    for wrong in (0, 256, 13.5):
        with pytest.raises(UsageError, match="dilation_diameter: expected 1 to 255 whole px of 256, got"):
            replace(quick, dilation_diameter=wrong)  # type: ignore[arg-type]


def test_level_and_roughness(pixels: BatchPixels, quick: TrainConfig) -> None:
    def ink(level: float, is_rough: bool) -> float:
        return float((1 - prepared(pixels, quick, 3, level, is_rough).inputs[64][:, 0]).mean())

    assert ink(1.0, False) > ink(0.0, False)
    plain = prepared(pixels, quick, 3, 0.5, is_rough=False)
    assert plain.mask is not None
    dilated = dilate_sketch(smooth_sketch(torch.from_numpy(pixels.sketches)[:, None].float()), 0.5)
    assert torch.equal(plain.inputs[64][:, :1], (1 - 2 * dilated) * plain.mask)
    again = prepared(pixels, quick, 3, 1.0)
    assert torch.equal(again.inputs[64], prepared(pixels, quick, 3, 1.0).inputs[64])
    other = pixels._replace(keys=tuple(f"{key}!" for key in pixels.keys))
    assert not torch.equal(again.inputs[64], prepared(other, quick, 3, 1.0).inputs[64])


def test_synthesis_sees_the_sketch_alone(pixels: BatchPixels, quick: TrainConfig) -> None:
    config = replace(quick, task="synthesis")
    for index, sizes in ((0, [64]), (2, [16, 32])):
        batch = prepared(pixels, config, index, 1.0)
        assert {size: batch.inputs[size].shape[1] for size in batch.inputs} == dict.fromkeys(sizes, 3)
        assert batch.mask is None
        assert batch.discriminator_truth().shape[1] == 6
