"""Which photos, masks and draws make each batch, and their pixels, read ahead of the training."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dpsdata.contracts import MissingError, UsageError
from dpsdata.dataset.manifest import read_dataset
from dpsdata.dataset.shards import check_shards
from dpsdata.dataset.torch_dataset import EditDataset
from dpsdata.images.codec import read_photo, read_sketch
from dpsdata.masks import make_mask
from dpsdata.runtime.device import keyed_generator
from dpsdata.sources.remote import local_copy
from models.training.engine.config import AS_PUBLISHED, LoopConfig, SamplingConfig, repeat_photos
from models.training.engine.losses import StagePlan

MEMORY_LIMIT_BYTES = 8 * 1024**3
MIRRORED = ":mirrored"  # behind the ID of such a photo
_READER_COUNT = 8
_BATCHES_AHEAD = 2


class BatchPixels(NamedTuple):
    """One batch as it lies in memory.

    Attributes:
        keys: (N) names of the samples that no other draw of this stage has.
        photos: (N, S, S, 3) uint8 RGB.
        sketches: (N, S, S) uint8, one-pixel line = 1.
        masks: (N, S, S) uint8, hole = 1.
        photo_ids: (N) IDs of the photos in the built folder, with `:mirrored` where they are.
    """

    keys: tuple[str, ...]
    photos: NDArray[np.uint8]
    sketches: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    photo_ids: tuple[str, ...] = ()


class PhotoStore:
    """Photos and thin sketches of a built folder, kept as uint8 once they were read where memory allows.

    Args:
        folder: a folder that `dpsdata build` made.
        split: name of a split, or `all`.
        size: side that the model needs, in px.
        memory_limit_bytes: above it every photo is read from disk each time.

    Raises:
        MissingError: no built dataset there.
        UsageError: unknown split, or the dataset has another size.
    """

    def __init__(self, folder: str | Path, split: str, size: int, memory_limit_bytes: int = MEMORY_LIMIT_BYTES) -> None:
        dataset = EditDataset(folder, split)
        if dataset.size != size:
            raise UsageError(
                f"{folder}: built at {dataset.size} px, but this preset trains at {size} px; "
                f"run `dpsdata build SOURCE BUILT --size {size}`"
            )
        self.folder, self.size, self._files = dataset.folder, size, dataset.files
        self.ids: list[str] = dataset.ids
        self.root_hash = dataset.root_hash
        count = len(self.ids)
        self.is_in_memory = count * size * size * 4 <= memory_limit_bytes
        kept = count if self.is_in_memory else 0
        self._pixels = np.zeros((kept, size, size, 4), np.uint8)
        self._is_read = np.zeros(kept, np.bool_)

    def __len__(self) -> int:
        return len(self.ids)

    def read(self, index: int) -> NDArray[np.uint8]:
        """One sample as (S, S, 4) uint8: RGB, and the sketch with line = 1."""
        if self.is_in_memory and self._is_read[index]:
            kept: NDArray[np.uint8] = self._pixels[index]
            return kept
        name = f"{self.ids[index]}.png"
        photo = read_photo(self._files.source(f"images/{name}"))
        sketch = read_sketch(self._files.source(f"sketches/{name}"))
        expected = (self.size, self.size)
        if photo.shape[:2] != expected or sketch.shape != expected:
            raise MissingError(
                f"{self.folder}: {name} is not {self.size} px large as dataset.json says; run `dpsdata verify`"
            )
        pixels = np.dstack([photo, sketch])
        if self.is_in_memory:
            self._pixels[index] = pixels
            self._is_read[index] = True
        return pixels


def open_training_photos(folder: str | Path, config: LoopConfig) -> tuple[PhotoStore, PhotoStore | None]:
    """The photos that a training sees, and those that it is validated on.

    Args:
        folder: a folder that `dpsdata build` made, or its address.
        config: its resolution, and which photos come how often.

    Returns:
        The split `train`, or all photos where there is none; the split `val`, or None where it has no photo.

    Raises:
        MissingError: no built dataset there, or a shard of it is damaged.
        UsageError: the dataset has another size, or a pattern of `repeats` matches no photo.
    """
    folder = local_copy(folder)
    description = read_dataset(folder)
    check_shards(folder, description)
    splits = description.get("splits", {})
    seen = PhotoStore(folder, "train" if "train" in splits else "all", config.resolution)
    repeat_photos(seen.ids, config.sampling)  # before anything is written
    return seen, PhotoStore(folder, "val", config.resolution) if splits.get("val", {}).get("count") else None


class MaskPool:
    """The masks of one stage, drawn when they are first used and kept as bits.

    Args:
        family: of `dpsdata.masks`, or several with `+` between, in turn.
        size: side in px.
        seed: of the run.
        purpose: tells the pools of one run apart.
    """

    def __init__(self, family: str, size: int, seed: int, purpose: str) -> None:
        self._families, self._size, self._seed, self._purpose = family.split("+"), size, seed, purpose
        self._bits: dict[int, NDArray[np.uint8]] = {}

    def mask(self, index: int) -> NDArray[np.uint8]:
        """Mask number `index` as (S, S) uint8, hole = 1."""
        if index not in self._bits:
            family = self._families[index % len(self._families)]
            drawn = make_mask(family, self._size, self._size, self._seed, f"{self._purpose}:{index}")
            self._bits[index] = np.packbits(drawn)
        flat = np.unpackbits(self._bits[index], count=self._size * self._size)
        return flat.reshape(self._size, self._size)


class PlannedSample(NamedTuple):
    """One sample of a batch before its pixels are read.

    Attributes:
        photo: number of the photo in the store.
        key: name that no other draw of this stage has.
        mask: number of the mask in the pool.
        is_mirrored: whether photo and sketch are turned left to right; the mask is not.
    """

    photo: int
    key: str
    mask: int
    is_mirrored: bool = False


def order_photos(count: int, seed: int, stage_name: str, epoch: int) -> NDArray[np.int64]:
    """The order of the `count` draws of one epoch of a stage: (count,) int64."""
    return keyed_generator(seed, f"{stage_name}:{epoch}", "train-order").permutation(count)


def check_share(stage: StagePlan, processes: int) -> None:
    """Raise UsageError where a batch cannot be shared evenly."""
    if stage.batch_size % processes:
        raise UsageError(
            f"{stage.name}: a batch of {stage.batch_size} cannot be shared by {processes} processes; "
            "start as many as divide it"
        )


class BatchSource:
    """The batches of one stage: the same for any start, process count or number of readers.

    Args:
        store: the photos.
        stage: whose batches.
        seed: of the run.
        mask_family: of the pool.
        share: (rank, count): which part of each batch belongs to this process.
        sampling: how often each photo comes.

    Raises:
        UsageError: the batch size cannot be shared evenly, or `sampling` does not fit the photos.
    """

    def __init__(
        self,
        store: PhotoStore,
        stage: StagePlan,
        seed: int,
        mask_family: str,
        share: tuple[int, int] = (0, 1),
        sampling: SamplingConfig = AS_PUBLISHED,
    ) -> None:
        check_share(stage, share[1])
        self._store, self._stage, self._seed, self._share = store, stage, seed, share
        self._masks = MaskPool(mask_family, store.size, seed, stage.name)
        self._photos, self._copies = repeat_photos(store.ids, sampling)
        self._mirrors = sampling.mirror
        self._order: tuple[int, NDArray[np.int64]] = (-1, np.zeros(0, np.int64))

    def plan(self, step: int) -> list[PlannedSample]:
        """Every sample of this process in one step."""
        size, count = self._stage.batch_size, len(self._photos)
        chosen = keyed_generator(self._seed, f"{self._stage.name}:{step}", "train-masks")
        masks = chosen.integers(self._stage.mask_count, size=size)
        planned = []
        for slot in range(self._share[0], size, self._share[1]):
            epoch, place = divmod(step * size + slot, count)
            if self._order[0] != epoch:
                self._order = (epoch, order_photos(count, self._seed, self._stage.name, epoch))
            draw = int(self._order[1][place])
            photo, copy = int(self._photos[draw]), int(self._copies[draw])
            # Small sets repeat a photo inside a batch; the epoch keeps its two draws apart.
            key = f"{self._store.ids[photo]}:{self._stage.name}:{epoch}" + (f":{copy}" if copy else "")
            mirrored = self._mirrors and keyed_generator(self._seed, key, "train-mirror").random() < 0.5
            planned.append(PlannedSample(photo, key, int(masks[slot]), bool(mirrored)))
        return planned

    def read(self, plan: Sequence[PlannedSample], readers: ThreadPoolExecutor | None = None) -> BatchPixels:
        """The pixels of a plan, its photos read side by side where there are readers."""
        read = map if readers is None else readers.map
        pixels = list(read(self._store.read, [sample.photo for sample in plan]))
        turned = [each[:, ::-1] if sample.is_mirrored else each for each, sample in zip(pixels, plan, strict=True)]
        samples = np.stack(turned)
        masks = np.stack([self._masks.mask(sample.mask) for sample in plan])
        names = tuple(self._store.ids[each.photo] + (MIRRORED if each.is_mirrored else "") for each in plan)
        return BatchPixels(tuple(sample.key for sample in plan), samples[..., :3], samples[..., 3], masks, names)

    def batches(self, first_step: int) -> Iterator[BatchPixels]:
        """Every batch from `first_step` to the end of the stage, made ahead of the step that takes it."""
        waiting: deque[Future[BatchPixels]] = deque()
        with ThreadPoolExecutor(1) as ahead, ThreadPoolExecutor(_READER_COUNT) as pool:
            readers = None if self._store.is_in_memory else pool
            for step in range(first_step, self._stage.step_count):
                # One thread plans and packs, in the order of the steps; masks and epochs are kept without a lock.
                waiting.append(ahead.submit(lambda at: self.read(self.plan(at), readers), step))
                if len(waiting) > _BATCHES_AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
