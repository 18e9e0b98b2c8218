"""How well a baseline's averaged weights fill the hole on the validation set, and what it looks like."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from models.training.baselines.batch import BaselineBatch, prepare_baseline_batch
from models.training.baselines.color_map import ColorStrokes
from models.training.baselines.config import BaselineTrainConfig
from models.training.engine.validation import SHEET_ROWS, ValidationSet, frame_row, hole_psnr


@torch.no_grad()
def validate_baseline(
    data: ValidationSet,
    config: BaselineTrainConfig,
    net: nn.Module,
    strokes: ColorStrokes | None,
    device: torch.device,
) -> dict[str, float]:
    """Mean PSNR in the hole in dB; for SC-FEGAN without colour, and `hole_psnr_color` with strokes on every photo."""
    shares = {"hole_psnr": 0.0} if strokes is None else {"hole_psnr": 0.0, "hole_psnr_color": 1.0}
    found = {}
    for name, share in shares.items():
        scores = []
        for pixels in data.chunks():
            batch = prepare_baseline_batch(pixels, config, strokes, device, share)
            composite = net(batch.photo, batch.mask, *batch.guides())["composite"]
            scores.append(hole_psnr(composite, batch.photo, batch.mask))
        found[name] = float(torch.cat(scores).mean())
    return found


@torch.no_grad()
def draw_baseline_sheet(
    data: ValidationSet,
    config: BaselineTrainConfig,
    net: nn.Module,
    strokes: ColorStrokes | None,
    device: torch.device,
) -> NDArray[np.uint8]:
    """A sample sheet, one photo in a row: truth, what is known, sketch and colour where they are read, the results.

    Returns:
        uint8 (H, W, 3).
    """
    rows = []
    for pixels in data.chunks(SHEET_ROWS):
        batch = prepare_baseline_batch(pixels, config, strokes, device, 0.0 if strokes is None else 1.0)
        out = net(batch.photo, batch.mask, *batch.guides())
        results = [out["stage1"]] if "stage1" in out else []
        if strokes is not None:
            bare = prepare_baseline_batch(pixels, config, strokes, device, 0.0)
            results.append(net(bare.photo, bare.mask, *bare.guides())["composite"])
        results.append(out["composite"])
        for index in range(batch.photo.shape[0]):
            panels = [*_shown_inputs(batch, index), *(photos[index : index + 1] for photos in results)]
            rows.append(frame_row(panels, config.network_px))
    return np.concatenate(rows)


def _shown_inputs(batch: BaselineBatch, index: int) -> list[torch.Tensor]:
    part = slice(index, index + 1)
    truth, mask = batch.photo[part], batch.mask[part]
    panels = [truth, truth * (1 - mask)]
    if batch.sketch is not None:
        panels.append((1 - 2 * batch.sketch[part] * mask).expand(-1, 3, -1, -1))
    if batch.color is not None:
        panels.append(batch.color[part] * mask)
    return panels
