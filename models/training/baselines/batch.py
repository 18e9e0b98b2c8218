"""From pixels to what the baselines train on, and how well they fill the hole on the validation set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from dpsdata.runtime.device import keyed_generator
from dpsdata.sketch import smooth_sketch
from models.baselines.scfegan import demo_noise
from models.training.baselines.color_map import ColorStrokes
from models.training.baselines.config import BaselineTrainConfig
from models.training.engine.batches import BatchPixels
from models.training.engine.validation import SHEET_ROWS, ValidationSet, frame_row, hole_psnr


@dataclass(frozen=True, eq=False)
class BaselineBatch:
    """One batch, by the contract's signs; S is the side that the network sees.

    Attributes:
        photo: (N, 3, S, S) RGB in [-1, 1]: the ground truth.
        mask: (N, 1, S, S) in {0, 1}, hole = 1; one for each sample.
        sketch: (N, 1, S, S) in [0, 1], line = 1, drawn with the soft pen; None where the network reads none.
        color: (N, 3, S, S) RGB in [-1, 1], -1 where no colour is given; None where the network reads none.
        noise: (N, 1, S, S); None where the network reads none.
    """

    photo: Tensor
    mask: Tensor
    sketch: Tensor | None
    color: Tensor | None
    noise: Tensor | None

    def guides(self) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """What the network reads beside photo and mask."""
        return self.sketch, self.color, self.noise


def prepare_baseline_batch(
    pixels: BatchPixels,
    config: BaselineTrainConfig,
    strokes: ColorStrokes | None,
    device: torch.device,
    color_share: float | None = None,
) -> BaselineBatch:
    """Draw, enlarge and scale a batch.

    The sketch is the photo's own thin one, drawn with the soft pen that F is trained with (`smooth_sketch`), whole
    and in its place: neither baseline was published with rough sketches.

    Args:
        pixels: photos, thin sketches and masks at the resolution of the built folder.
        config: of the training.
        strokes: of SC-FEGAN; None for DeepFillv2.
        device: where the tensors are made.
        color_share: in how many samples colour is given; None for the share of the training.
    """
    size = config.network_px
    photo = _enlarge(_photo_tensor(pixels.photos, device), size)
    mask = F.interpolate(torch.from_numpy(pixels.masks).to(device)[:, None].float(), size=(size, size), mode="nearest")
    sketch = color = noise = None
    if config.method != "deepfillv2":
        sketch = _enlarge(smooth_sketch(torch.from_numpy(pixels.sketches).to(device)[:, None].float()), size)
    if strokes is not None:
        drawn = strokes.draw(pixels.keys, pixels.photo_ids, pixels.photos, color_share)
        # Nearest, so that a stroke keeps its rim: blended with black it would be another colour.
        color = F.interpolate(_photo_tensor(drawn, device), size=(size, size), mode="nearest")
        planes = [demo_noise(size, size, keyed_generator(config.seed, key, "train-noise")) for key in pixels.keys]
        noise = torch.cat(planes).to(device)
    return BaselineBatch(photo, mask, sketch, color, noise)


def _photo_tensor(photos: NDArray[np.uint8], device: torch.device) -> Tensor:
    return torch.from_numpy(photos).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1


def _enlarge(images: Tensor, size: int) -> Tensor:
    if images.shape[-1] == size:
        return images
    return F.interpolate(images, size=(size, size), mode="bilinear", align_corners=False)


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
