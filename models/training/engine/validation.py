"""The fixed set of photos that trainings are validated on, the score in the hole, and rows of sample sheets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.networks.published_signs import resize
from models.training.engine.batches import BatchPixels, MaskPool, PhotoStore
from models.training.engine.config import LoopConfig

SHEET_ROWS = 6
_CHUNK = 8
_GAP_PX = 2
_PAPER = 255


def hole_psnr(result: Tensor, photo: Tensor, mask: Tensor | None) -> Tensor:
    """PSNR in dB of each photo over the pixels of its hole, (N,) float32; over the whole photo without a mask.

    Args:
        result: (N, 3, H, W) RGB in [-1, 1].
        photo: the same, the truth.
        mask: (N, 1, H, W) in {0, 1}, hole = 1.
    """
    hole = torch.ones_like(photo[:, :1]) if mask is None else mask
    squared = (((result.clamp(-1, 1) - photo) / 2) ** 2).float() * hole
    mean = squared.sum((1, 2, 3)) / (hole.sum((1, 2, 3)) * photo.shape[1]).clamp_min(1)
    return -10 * torch.log10(mean.clamp_min(1e-10))


def fill_mean_color(photo: Tensor, mask: Tensor) -> Tensor:
    """Photos whose hole is filled with the mean colour of what is known, (N, 3, H, W)."""
    known = 1 - mask
    mean = (photo * known).sum((2, 3), keepdim=True) / known.sum((2, 3), keepdim=True).clamp_min(1)
    return photo * known + mean * mask


class ValidationSet:
    """A fixed choice of photos with fixed masks.

    Args:
        store: photos that are not trained on, or those of the training where there are no others.
        config: of the training.
    """

    def __init__(self, store: PhotoStore, config: LoopConfig) -> None:
        count = min(config.validation_count, len(store))
        chosen = np.linspace(0, len(store) - 1, count).round().astype(int).tolist()
        masks = MaskPool(config.mask_family, store.size, config.seed, "validation")
        samples = np.stack([store.read(index) for index in chosen])
        self._pixels = BatchPixels(
            tuple(f"{store.ids[index]}:validation" for index in chosen),
            samples[..., :3],
            samples[..., 3],
            np.stack([masks.mask(place) for place in range(count)]),
            tuple(store.ids[index] for index in chosen),
        )

    def chunks(self, count: int | None = None) -> Iterator[BatchPixels]:
        """The set, or its first `count` photos, in parts that fit into memory."""
        pixels = self._pixels
        total = len(pixels.keys) if count is None else min(count, len(pixels.keys))
        for start in range(0, total, _CHUNK):
            part = slice(start, min(start + _CHUNK, total))
            yield BatchPixels(
                pixels.keys[part],
                pixels.photos[part],
                pixels.sketches[part],
                pixels.masks[part],
                pixels.photo_ids[part],
            )


def frame_row(panels: Sequence[Tensor], size: int) -> NDArray[np.uint8]:
    """Put photos of (1, 3, H, W) RGB in [-1, 1] side by side, each at `size` px with a gap: uint8 (size', width, 3)."""
    framed = []
    for panel in panels:
        pixels = (resize(panel.float(), size)[0].permute(1, 2, 0) + 1) * 127.5
        image = pixels.round().clamp(0, 255).byte().cpu().numpy()
        framed.append(np.pad(image, ((0, _GAP_PX), (0, _GAP_PX), (0, 0)), constant_values=_PAPER))
    return np.concatenate(framed, axis=1)
