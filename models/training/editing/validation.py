"""How well the averaged F and G fill the hole on the validation set, and what it looks like."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.training.editing.config import Stage, TrainConfig
from models.training.editing.steps import FrozenNets, Painted, TrainBatch, paint_batch, prepare_batch
from models.training.engine.batches import BatchPixels
from models.training.engine.validation import SHEET_ROWS, ValidationSet, frame_row, hole_psnr

LEVELS = (0.0, 1.0)


@torch.no_grad()
def validate(
    data: ValidationSet,
    config: TrainConfig,
    stage: Stage,
    net: nn.Module,
    frozen: FrozenNets,
    device: torch.device,
) -> dict[str, float]:
    """Mean PSNR in the hole in dB, by level, for the network of a stage and, where F has a part, for its result.

    `hedps` (lower is better, see `dpseval`), `sharpness` (1 is the truth's) and `grid` (power at the period of 4 px
    over that of its neighbours, about 1 without a grid) are those of the composite. Where F learns from G's sketches
    too, `_refined` is its result from them at level 1.
    """
    scores: dict[str, list[Tensor]] = {}
    if stage.refined_share > 0:
        always = replace(stage, refined_share=1.0)
        for pixels in data.chunks():
            batch = _as_drawn(pixels, always, config, 1.0, device)
            painted = paint_batch(always, net, frozen, batch)
            for name, values in data.looks(painted.photo, batch.photo, batch.mask).items():
                scores.setdefault(f"{name}_refined", []).append(values)
        stage = replace(stage, refined_share=0.0)
    for level in LEVELS if stage.part == "G" else LEVELS[:1]:
        suffix = f"_l{level:g}" if stage.part == "G" else ""
        for pixels in data.chunks():
            batch = _as_drawn(pixels, stage, config, level, device)
            painted = paint_batch(stage, net, frozen, batch)
            scores.setdefault(f"hole_psnr{suffix}", []).append(hole_psnr(painted.photo, batch.photo, batch.mask))
            if painted.result is not None:
                found = hole_psnr(painted.result, batch.photo, batch.mask)
                scores.setdefault(f"result_hole_psnr{suffix}", []).append(found)
            final = painted.photo if painted.result is None else painted.result
            for name, values in data.looks(final, batch.photo, batch.mask).items():
                scores.setdefault(f"{name}{suffix}", []).append(values)
    return {name: float(torch.cat(parts).mean()) for name, parts in scores.items()}


@torch.no_grad()
def draw_sheet(
    data: ValidationSet,
    config: TrainConfig,
    stage: Stage,
    net: nn.Module,
    frozen: FrozenNets,
    device: torch.device,
) -> NDArray[np.uint8]:
    """A sample sheet, one photo in a row: truth, what is known, sketch read, sketch refined, photo, F's result.

    Returns:
        uint8 (H, W, 3).
    """
    rows: list[NDArray[np.uint8]] = []
    for pixels in data.chunks(SHEET_ROWS):
        batch = _as_drawn(pixels, stage, config, 0.5, device)
        painted = paint_batch(stage, net, frozen, batch)
        rows.extend(_row(batch, painted, index) for index in range(batch.photo.shape[0]))
    return np.concatenate(rows)


def _as_drawn(pixels: BatchPixels, stage: Stage, config: TrainConfig, level: float, device: torch.device) -> TrainBatch:
    """Sketches as a person draws them: dilated, but whole and in their place."""
    return prepare_batch(pixels, stage, config, level, device, is_rough=False)


def _row(batch: TrainBatch, painted: Painted, index: int) -> NDArray[np.uint8]:
    truth = batch.photo[index : index + 1]
    hole = torch.ones_like(truth[:, :1]) if batch.mask is None else batch.mask[index : index + 1]
    read = batch.inputs[max(batch.inputs)][index : index + 1, :3]
    refined = (1 - 2 * painted.sketch[index : index + 1]).expand(-1, 3, -1, -1)
    panels = [truth, truth * (1 - hole), read, refined, painted.photo[index : index + 1]]
    if painted.result is not None:
        panels.append(painted.result[index : index + 1])
    return frame_row(panels, truth.shape[-1])
