"""`EditDataset`: a built folder as a torch dataset, for training and scoring."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from dpsdata.contracts import EnvironmentFailure, MissingError, UsageError
from dpsdata.dataset.manifest import ManifestRow, find_stored_masks, read_dataset, read_manifest
from dpsdata.dataset.shards import ShardFiles, open_files, unescape_id
from dpsdata.images.codec import photo_to_tensor, read_mask, read_photo, read_sketch
from dpsdata.masks import check_mask_files, read_or_draw_mask
from dpsdata.runtime.device import keyed_generator, keyed_seed
from dpsdata.sources.remote import local_copy

Transform = Callable[["EditSample"], "EditSample"]


class EditSample(TypedDict):
    """One item; a DataLoader stacks them along a new first axis."""

    id: str
    photo: Tensor  # (3, H, W) float32 RGB in [-1, 1]
    sketch: Tensor  # (1, H, W) float32 in {0, 1}, one-pixel line = 1
    mask: Tensor  # (1, H, W) float32 in {0, 1}, hole = 1


class EditDataset(Dataset[EditSample]):
    """Photos, thin sketches and masks of one split of a built folder.

    Args:
        root: a folder that `dpsdata build` made, in either form, or its address.
        split: name of a split, or `all`.
        masks: a family, `files:DIR` or `pool:DIR`; None for `dps`, or for the first that is stored where `dps` is not.
            The stored masks are used where the build made this family, from the same files as far as it is read from a
            folder; `draw` other than 0, or a family that is not stored, makes them on the fly, keyed by (seed of the
            build + draw, id, family).
        transform: changes each item; None to leave it as it is.
        draw: number of the draw; training takes the next one for every pass over the data.

    Raises:
        MissingError: no built dataset there, its shards are not whole, or the split is empty.
        UsageError: unknown split, or a photo has not one mask of its own in the folder of `files:DIR`.

    Attributes:
        mask_key: hash of the mask files that are read, here or by the build; empty for drawn families.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        masks: str | None = None,
        transform: Transform | None = None,
        *,
        draw: int = 0,
    ) -> None:
        self.folder, self.transform = local_copy(root), transform
        description = read_dataset(self.folder)
        self.size = int(description["size"])
        self.root_hash: str = description["root_hash"]
        self.draw = draw
        self._seed = int(description["config"]["seed"])
        rows = [row for row in read_manifest(self.folder) if row.status == "ok"]
        self.files = open_files(self.folder, description, rows)
        names = sorted({row.split for row in rows})
        if split != "all" and split not in names:
            raise UsageError(f"split: expected all or one of {', '.join(names)}, got {split!r}")
        self.rows: list[ManifestRow] = [row for row in rows if split in ("all", row.split)]
        if not self.rows:
            raise MissingError(f"{self.folder}: no samples in this dataset; look at errors.csv")
        if not isinstance(masks, str | None):
            raise UsageError(f"masks: expected the name of one family, such as dps, got {masks!r}")
        self.family = choose_family(self.rows) if masks is None else masks
        folder, self.mask_key = find_stored_masks(description, self.family)
        is_stored = folder is not None and all(folder in row.masks for row in self.rows)
        # The folder of the stored masks; None where masks are made on the fly.
        self.mask_folder = folder if is_stored and (draw == 0 or self.family.startswith("files")) else None
        if self.mask_folder is None:
            check_mask_files(self.family, self.ids, [row.id for row in rows])

    @property
    def ids(self) -> list[str]:
        """Ids in the order of the items."""
        return [row.id for row in self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> EditSample:
        row = self.rows[index]
        name = f"{row.id}.png"
        photo = read_photo(self.files.source(f"images/{name}"))
        sketch = read_sketch(self.files.source(f"sketches/{name}"))
        sample = make_sample(row.id, photo, sketch, self._mask(row))
        return sample if self.transform is None else self.transform(sample)

    def _mask(self, row: ManifestRow) -> np.ndarray:
        if self.mask_folder is not None:
            return read_mask(self.files.source(f"masks/{self.mask_folder}/{row.id}.png"))
        return self.draw_mask(row)

    def draw_mask(self, row: ManifestRow) -> NDArray[np.uint8]:
        """The mask that is made on the fly, uint8 (H, W), hole = 1."""
        size = (self.size, self.size)
        return read_or_draw_mask(self.family, *size, self._seed + self.draw, row.id, (row.height, row.width))[0]


def choose_family(rows: Sequence[ManifestRow]) -> str:
    """The family of masks where none is named: `dps`, or the first that is stored where `dps` is not."""
    stored = list(rows[0].masks)
    return "dps" if "dps" in stored or not stored else stored[0]


def make_sample(
    sample_id: str, photo: NDArray[np.uint8], sketch: NDArray[np.uint8], mask: NDArray[np.uint8]
) -> EditSample:
    """An item from its pixels.

    Args:
        sample_id: its ID.
        photo: uint8 (H, W, 3) RGB.
        sketch: uint8 (H, W), line = 1.
        mask: uint8 (H, W), hole = 1.
    """
    return {
        "id": sample_id,
        "photo": photo_to_tensor(photo[None])[0],
        "sketch": torch.from_numpy(sketch.astype(np.float32))[None],
        "mask": torch.from_numpy(mask.astype(np.float32))[None],
    }


class EditIterableDataset(IterableDataset[EditSample]):
    """Samples of a dataset of shards as a stream, for what is too large to jump about in.

    Every pass reads each shard from its start to its end; the order of the shards and a buffer give the order of the
    samples, which depends on the seed, the epoch and the share alone. Ranks of torch.distributed and workers of a
    DataLoader share the shards, or, where these are too few, the samples of all of them; shares may differ by a few
    samples. A training that goes on sets the epoch to the one that it stopped in.

    Args:
        folder: a folder that `dpsdata build --format webdataset` made.
        split: name of a split, or `all`.
        masks: a family, see `EditDataset`.
        transform: changes each item; None to leave it as it is.
        shuffle: samples in the buffer; 0 to keep the order of the shards.
        seed: of the order.
        draw: number of the draw of masks.

    Raises:
        EnvironmentFailure: the library webdataset is not installed.
        MissingError: no built dataset there, its shards are not whole, or the split is empty.
        UsageError: unknown split, or a dataset of single files.
    """

    def __init__(
        self,
        folder: str | Path,
        split: str = "train",
        masks: str | None = None,
        transform: Transform | None = None,
        *,
        shuffle: int = 1000,
        seed: int = 0,
        draw: int = 0,
    ) -> None:
        import_webdataset()
        dataset = EditDataset(folder, split, masks, draw=draw)
        if not isinstance(dataset.files, ShardFiles):
            raise UsageError(
                f"{folder}: a dataset of single files; use EditDataset, or run `dpsdata export {folder} OUT "
                "--to webdataset`"
            )
        self.folder, self.root_hash, self.family = dataset.folder, dataset.root_hash, dataset.family
        self.transform, self._dataset = transform, dataset
        self._rows = {row.id: row for row in dataset.rows}
        self.shards = [shard for shard in dataset.files.shards if split in ("all", shard.split)]
        self._buffer_size, self._seed = shuffle, seed
        # Shared, so that the workers of a DataLoader that outlive an epoch see the next one.
        self._epoch: Tensor = torch.zeros((), dtype=torch.int64)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]

    def __len__(self) -> int:
        """Samples of a whole pass, all shares together."""
        return len(self._rows)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next pass."""
        self._epoch.fill_(epoch)

    def __iter__(self) -> Iterator[EditSample]:
        """One pass over the share of this rank and worker."""
        wds = import_webdataset()
        rank, ranks, worker, workers = wds.utils.pytorch_worker_info()
        share, shares = rank * workers + worker, ranks * workers
        epoch = int(self._epoch)
        paths = [str(self.folder / shard.path) for shard in self.shards]
        if self._buffer_size:
            order = keyed_generator(self._seed, str(epoch), "stream-shards").permutation(len(paths))
            paths = [paths[place] for place in order]
        by_shard = len(paths) >= shares
        samples = wds.tariterators.tarfile_samples(
            {"url": path} for path in (paths[share::shares] if by_shard else paths)
        )
        if not by_shard:
            samples = islice(samples, share, None, shares)
        if self._buffer_size:
            chance = random.Random(keyed_seed(self._seed, f"{epoch}:{share}", "stream-order"))  # noqa: S311
            samples = wds.filters.shuffle(self._buffer_size, initial=self._buffer_size, rng=chance)(samples)
        for members in samples:
            sample = self._decode(members)
            yield sample if self.transform is None else self.transform(sample)

    def _decode(self, members: dict[str, Any]) -> EditSample:
        name = unescape_id(members["__key__"])
        row = self._rows.get(name)
        if row is None:
            raise MissingError(f"{members['__url__']}: {name} is not in this dataset; run `dpsdata verify`")
        stored = members.get(f"mask.{self._dataset.mask_folder}.png".lower())
        mask = self._dataset.draw_mask(row) if stored is None else read_mask(stored)
        return make_sample(name, read_photo(members["photo.png"]), read_sketch(members["sketch.png"]), mask)


def import_webdataset() -> Any:
    """The module `webdataset`.

    Raises:
        EnvironmentFailure: it is not installed.
    """
    try:
        import webdataset
    except ImportError:
        raise EnvironmentFailure(
            "webdataset is not installed; run `pip install 'deep-plastic-surgery[shards]'`, or use EditDataset"
        ) from None
    return webdataset
