"""From pixels to what the networks train on, for the whole batch and on the training device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dpsdata.runtime.device import keyed_generator
from dpsdata.sketch import (
    RoughDraws,
    dilate_sketch,
    draw_rough,
    make_rough_sketch,
    published_move_px,
    truth_sketches,
)
from models.networks.published_signs import discriminator_input, network_input, refiner_inputs, resize, shrink_mask
from models.training.editing.config import Stage, TrainConfig
from models.training.engine.batches import BatchPixels


@dataclass(frozen=True, eq=False)
class RoughSamples:
    """Samples of F's batch whose sketch G refines first.

    Attributes:
        rows: (M,) int64: which samples of the batch.
        inputs: {size in px: (M, 3 or 7, size, size)}, what G reads.
        level: (M,) in [0, 1].
    """

    rows: Tensor
    inputs: dict[int, Tensor]
    level: Tensor


@dataclass(frozen=True, eq=False)
class TrainBatch:
    """One batch of one stage, by the contract's signs; S is the size of the stage.

    Attributes:
        inputs: {size in px: (N, 3 or 7, size, size)}, what the network reads: G every size up to S, F its own.
        sketch: (N, 1, S, S) in [0, 1], line = 1: the ground truth, not masked.
        photo: (N, 3, S, S) RGB in [-1, 1]: the ground truth.
        mask: (N, 1, S, S) in {0, 1}, hole = 1; None for synthesis.
        level: of the whole batch, or (N,) with one for each sample.
        windows: (N, 4) int64: top, left, height, width of what features and D see of each photo, in px.
        rough: at F's stage, the samples that G refines; None for none.
    """

    inputs: dict[int, Tensor]
    sketch: Tensor
    photo: Tensor
    mask: Tensor | None
    level: float | Tensor
    windows: NDArray[np.int64]
    rough: RoughSamples | None = None

    def discriminator_truth(self) -> Tensor:
        """What D reads as real: (N, 6 or 7, S, S)."""
        return discriminator_input(self.sketch, self.photo, self.mask)


def prepare_batch(
    pixels: BatchPixels,
    stage: Stage,
    config: TrainConfig,
    level: float | Tensor,
    device: torch.device,
    is_rough: bool = True,
) -> TrainBatch:
    """Smooth, deform, discard, dilate and mask a batch, for one stage.

    Args:
        pixels: photos, thin sketches and masks at the model's resolution.
        stage: which network is trained.
        config: its task (synthesis sees neither photo nor mask), the resolutions, and the seed, which with the keys of
            the batch decides about deforming and discarding.
        level: refinement level in [0, 1]: a number, or (N,).
        device: where all of it is done; three arrays of bytes are all that is copied there.
        is_rough: False neither deforms nor discards, as when a person's sketch is edited.

    Source: VITA-Group/DeepPS@3079d46 src/train.py and trainPix2pix.py.
    """
    photo = torch.from_numpy(pixels.photos).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
    thin = torch.from_numpy(pixels.sketches).to(device)[:, None].float()
    mask = torch.from_numpy(pixels.masks).to(device)[:, None].float() if config.task == "edit" else None
    truths = truth_sketches(thin)
    side = thin.shape[-1]
    known = photo if config.task == "edit" else None
    windows = place_windows(pixels, config)
    sizes = [size for size in config.networks.refiner.resolutions if size <= stage.size]
    if stage.part == "F":
        inputs = {side: network_input(truths[side], known, mask)}
        rows = [row for row, key in enumerate(pixels.keys) if _is_refined(key, stage.refined_share, config.seed)]
        rough = None
        if rows:
            at = torch.tensor(rows, device=device)
            levels = level[rows] if isinstance(level, Tensor) else torch.full((len(rows),), level)
            lines = _roughen(truths[side][at], [pixels.keys[row] for row in rows], levels, config, is_rough)
            around, hole = (None, None) if mask is None else (photo[at], mask[at])
            rough = RoughSamples(at, refiner_inputs(lines, around, hole, sizes), levels)
        return TrainBatch(inputs, truths[side], photo, mask, level, windows, rough)
    sketch = _roughen(truths[side], pixels.keys, level, config, is_rough)
    return TrainBatch(
        refiner_inputs(sketch, known, mask, sizes),
        truths[stage.size],
        resize(photo, stage.size),
        None if mask is None else shrink_mask(mask, stage.size),
        level,
        windows,
    )


def _is_refined(key: str, share: float, seed: int) -> bool:
    return share > 0 and keyed_generator(seed, key, "train-refined").random() < share


def _roughen(truth: Tensor, keys: Sequence[str], level: float | Tensor, config: TrainConfig, is_rough: bool) -> Tensor:
    """What a person might draw of smooth sketches (N, 1, S, S), dilated; the draws are keyed."""
    side = truth.shape[-1]
    pen_px = config.networks.refiner.pen_px(side)
    if not is_rough:
        return dilate_sketch(truth, level, pen_px)
    draws = draw_rough(keys, side, side, config.seed)
    draws = RoughDraws(draws.noise, draws.rectangles.to(truth.device))
    return make_rough_sketch(truth, level, draws, pen_px, config.max_deformation, published_move_px(side, side))


def place_windows(pixels: BatchPixels, config: TrainConfig) -> NDArray[np.int64]:
    """Windows of one size that lie around holes, or, where a hole is larger, on a part of it that its key draws.

    Returns:
        (N, 4) int64: top, left, height, width in px.
    """
    count, height, width = pixels.masks.shape
    crop = (round(config.losses.crop * height), round(config.losses.crop * width))
    found = np.empty((count, 4), np.int64)
    for index, key in enumerate(pixels.keys):
        draws = keyed_generator(config.seed, key, "train-window")
        for axis, (side, span) in enumerate(zip((height, width), crop, strict=True)):
            lines = np.flatnonzero(pixels.masks[index].any(axis=1 - axis)) if config.task == "edit" else np.arange(side)
            low, high = (int(lines[0]), int(lines[-1]) + 1) if len(lines) else (0, side)
            # Every start from which the window holds all of the hole, or, if that is larger, lies within it.
            first, last = sorted((high - span, low))
            first, last = max(0, min(first, side - span)), max(0, min(last, side - span))
            found[index, axis] = draws.integers(first, last + 1)
        found[index, 2:] = crop
    return found
