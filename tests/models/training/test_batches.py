from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dpsdata.contracts import MissingError, UsageError
from dpsdata.dataset.torch_dataset import EditDataset
from models.training.editing.config import Stage, TrainConfig, plan_stages
from models.training.engine.batches import BatchSource, MaskPool, PhotoStore, order_photos


def stage_of(config: TrainConfig, **fields: object) -> Stage:
    return replace(plan_stages(config)[0], **fields)  # type: ignore[arg-type]


def test_the_store_gives_what_the_dataset_gives(built: Path) -> None:
    store, dataset = PhotoStore(built, "train", 64), EditDataset(built, "train")
    assert store.ids == dataset.ids
    for index in (0, 3, 3):
        pixels, sample = store.read(index), dataset[index]
        photo = np.asarray(sample["photo"]).transpose(1, 2, 0)
        assert np.abs(pixels[..., :3].astype(np.float32) / 127.5 - 1 - photo).max() < 1e-6
        assert np.array_equal(pixels[..., 3], np.asarray(sample["sketch"])[0])


def test_memory_and_disk_give_the_same_batches(built: Path, quick: TrainConfig) -> None:
    stage = stage_of(quick, batch_size=4, random_images=28)
    kept, read = PhotoStore(built, "train", 64), PhotoStore(built, "train", 64, memory_limit_bytes=0)
    assert kept.is_in_memory
    assert not read.is_in_memory
    one = list(BatchSource(kept, stage, 0, "dps").batches(0))
    two = list(BatchSource(read, stage, 0, "dps").batches(0))
    assert len(one) == len(two) == 7
    late = list(BatchSource(read, stage, 0, "dps").batches(5))
    for first, second in [*zip(one, two, strict=True), *zip(one[5:], late, strict=True)]:
        assert first.keys == second.keys
        for a, b in zip(first[1:], second[1:], strict=True):
            assert np.array_equal(a, b)


def test_every_photo_comes_once_in_an_epoch(built: Path, quick: TrainConfig) -> None:
    store = PhotoStore(built, "train", 64)
    source = BatchSource(store, stage_of(quick, batch_size=4, random_images=24), 0, "dps")
    planned = [item for step in range(6) for item in source.plan(step)]
    for epoch in range(4):
        assert sorted(each.photo for each in planned[6 * epoch : 6 * epoch + 6]) == list(range(6))
    assert len({each.key for each in planned}) == 24, "no two samples share their draws"
    assert [each.photo for each in planned[:6]] != [each.photo for each in planned[6:12]]
    assert {each.mask for each in planned} <= set(range(16))
    assert not np.array_equal(order_photos(50, 0, "F64", 0), order_photos(50, 1, "F64", 0))


def test_processes_share_a_batch(built: Path, quick: TrainConfig) -> None:
    store, stage = PhotoStore(built, "train", 64), stage_of(quick, batch_size=4)
    whole = BatchSource(store, stage, 0, "dps").plan(1)
    parts = [BatchSource(store, stage, 0, "dps", (rank, 2)).plan(1) for rank in range(2)]
    assert [parts[0][0], parts[1][0], parts[0][1], parts[1][1]] == whole
    with pytest.raises(UsageError, match="3 processes"):
        BatchSource(store, stage, 0, "dps", (0, 3))


def test_the_mask_pool_keeps_its_masks() -> None:
    pool = MaskPool("dps", 64, 0, "F64")
    first = pool.mask(3)
    assert first.shape == (64, 64)
    assert set(np.unique(first)) == {0, 1}
    assert np.array_equal(first, pool.mask(3))
    assert np.array_equal(first, MaskPool("dps", 64, 0, "F64").mask(3))
    assert not np.array_equal(first, pool.mask(4))
    assert not np.array_equal(first, MaskPool("dps", 64, 0, "G64").mask(3))


def test_wrong_data_is_refused(built: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"built at 64 px.*--size 256"):
        PhotoStore(built, "train", 256)
    with pytest.raises(MissingError):
        PhotoStore(tmp_path, "train", 64)
