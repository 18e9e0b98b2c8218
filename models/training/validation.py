"""How well the averaged networks fill the hole on a fixed set, and what it looks like."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.inpainter import Inpainter
from models.network_inputs import resize
from models.refiner import RefinerScale
from models.training.batches import BatchPixels, MaskPool, PhotoStore
from models.training.presets import TrainConfig
from models.training.rough_batch import TrainBatch, prepare_batch
from models.training.schedule import Stage
from models.training.steps import Painted, paint_batch

LEVELS = (0.0, 1.0)
_CHUNK = 8
_SHEET_ROWS = 6
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

    def __init__(self, store: PhotoStore, config: TrainConfig) -> None:
        self.config = config
        count = min(config.validation_count, len(store))
        chosen = np.linspace(0, len(store) - 1, count).round().astype(int).tolist()
        masks = MaskPool(config.mask_family, store.size, config.seed, "validation")
        samples = np.stack([store.read(index) for index in chosen])
        self._pixels = BatchPixels(
            tuple(f"{store.ids[index]}:validation" for index in chosen),
            samples[..., :3],
            samples[..., 3],
            np.stack([masks.mask(place) for place in range(count)]),
        )

    def batches(self, stage: Stage, level: float, device: torch.device, count: int | None = None) -> list[TrainBatch]:
        """The set as batches of a stage, sketches as a person draws them: dilated, but whole and in their place."""
        pixels = self._pixels
        total = len(pixels.keys) if count is None else min(count, len(pixels.keys))
        found = []
        for start in range(0, total, _CHUNK):
            part = slice(start, min(start + _CHUNK, total))
            chunk = BatchPixels(pixels.keys[part], pixels.photos[part], pixels.sketches[part], pixels.masks[part])
            found.append(prepare_batch(chunk, stage, self.config, level, device, is_rough=False))
        return found


@torch.no_grad()
def validate(
    data: ValidationSet,
    stage: Stage,
    net: nn.Module,
    coarser: dict[int, RefinerScale],
    inpainter: Inpainter | None,
    device: torch.device,
) -> dict[str, float]:
    """Mean PSNR in the hole in dB, by level, for the network of a stage and, where F has a part, for its result."""
    scores: dict[str, list[Tensor]] = {}
    for level in LEVELS if stage.part == "G" else LEVELS[:1]:
        suffix = f"_l{level:g}" if stage.part == "G" else ""
        for batch in data.batches(stage, level, device):
            painted = paint_batch(stage, net, coarser, inpainter, batch)
            scores.setdefault(f"hole_psnr{suffix}", []).append(hole_psnr(painted.photo, batch.photo, batch.mask))
            if painted.result is not None:
                found = hole_psnr(painted.result, batch.photo, batch.mask)
                scores.setdefault(f"result_hole_psnr{suffix}", []).append(found)
    return {name: float(torch.cat(parts).mean()) for name, parts in scores.items()}


@torch.no_grad()
def draw_sheet(
    data: ValidationSet,
    stage: Stage,
    net: nn.Module,
    coarser: dict[int, RefinerScale],
    inpainter: Inpainter | None,
    device: torch.device,
) -> NDArray[np.uint8]:
    """A sample sheet, one photo in a row: truth, what is known, sketch read, sketch refined, photo, F's result.

    Returns:
        uint8 (H, W, 3).
    """
    rows: list[NDArray[np.uint8]] = []
    for batch in data.batches(stage, 0.5, device, _SHEET_ROWS):
        painted = paint_batch(stage, net, coarser, inpainter, batch)
        rows.extend(_row(batch, painted, index) for index in range(batch.photo.shape[0]))
    return np.concatenate(rows)


def _row(batch: TrainBatch, painted: Painted, index: int) -> NDArray[np.uint8]:
    truth = batch.photo[index : index + 1]
    hole = torch.ones_like(truth[:, :1]) if batch.mask is None else batch.mask[index : index + 1]
    read = batch.inputs[max(batch.inputs)][index : index + 1, :3]
    refined = (1 - 2 * painted.sketch[index : index + 1]).expand(-1, 3, -1, -1)
    panels = [truth, truth * (1 - hole), read, refined, painted.photo[index : index + 1]]
    if painted.result is not None:
        panels.append(painted.result[index : index + 1])
    framed = []
    for panel in panels:
        pixels = (resize(panel.float(), truth.shape[-1])[0].permute(1, 2, 0) + 1) * 127.5
        image = pixels.round().clamp(0, 255).byte().cpu().numpy()
        framed.append(np.pad(image, ((0, _GAP_PX), (0, _GAP_PX), (0, 0)), constant_values=_PAPER))
    return np.concatenate(framed, axis=1)
