"""`EditDataset`: a built folder as a torch dataset, for training and scoring."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from dpsdata.contracts import MissingError, UsageError
from dpsdata.dataset.manifest import ManifestRow, read_dataset, read_manifest
from dpsdata.images.codec import photo_to_tensor, read_mask, read_photo, read_sketch
from dpsdata.masks import make_mask, mask_folder


class EditSample(TypedDict):
    """One item; a DataLoader stacks them along a new first axis."""

    id: str
    photo: Tensor  # (3, H, W) float32 RGB in [-1, 1]
    sketch: Tensor  # (1, H, W) float32 in {0, 1}, one-pixel line = 1
    mask: Tensor  # (1, H, W) float32 in {0, 1}, hole = 1


class EditDataset(Dataset[EditSample]):
    """Photos, thin sketches and masks of one split of a built folder.

    Args:
        folder: a folder that `dpsdata build` made.
        split: name of a split, or `all`.
        masks: a family. The stored masks are used where the build made this family; `draw` other than 0, or a
            family that is not stored, makes them on the fly, keyed by (seed of the build + draw, id, family).
        draw: number of the draw; training takes the next one for every pass over the data.

    Raises:
        MissingError: no built dataset there, or the split is empty.
        UsageError: unknown split.
    """

    def __init__(self, folder: str | Path, split: str = "all", masks: str = "dps", draw: int = 0) -> None:
        self.folder = Path(folder)
        description = read_dataset(self.folder)
        self.size = int(description["size"])
        self.root_hash: str = description["root_hash"]
        self.family, self.draw = masks, draw
        self._seed = int(description["config"]["seed"])
        rows = [row for row in read_manifest(self.folder) if row.status == "ok"]
        names = sorted({row.split for row in rows})
        if split != "all" and split not in names:
            raise UsageError(f"split: expected all or one of {', '.join(names)}, got {split!r}")
        self.rows: list[ManifestRow] = [row for row in rows if split in ("all", row.split)]
        if not self.rows:
            raise MissingError(f"{self.folder}: no samples in this dataset; look at errors.csv")

    @property
    def ids(self) -> list[str]:
        """Ids in the order of the items."""
        return [row.id for row in self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> EditSample:
        row = self.rows[index]
        name = f"{row.id}.png"
        photo = read_photo(self.folder / "images" / name)
        sketch = read_sketch(self.folder / "sketches" / name)
        return {
            "id": row.id,
            "photo": photo_to_tensor(photo[None])[0],
            "sketch": torch.from_numpy(sketch.astype(np.float32))[None],
            "mask": torch.from_numpy(self._mask(row).astype(np.float32))[None],
        }

    def _mask(self, row: ManifestRow) -> np.ndarray:
        if self.draw == 0 and mask_folder(self.family) in row.masks:
            return read_mask(self.folder / "masks" / mask_folder(self.family) / f"{row.id}.png")
        return make_mask(self.family, self.size, self.size, self._seed + self.draw, row.id)
