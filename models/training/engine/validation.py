"""The fixed set of photos that trainings are validated on, the score in the hole, and rows of sample sheets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from dpsdata.hed import HED, load_hed_scorer
from models.networks.published_signs import resize
from models.training.engine.batches import BatchPixels, MaskPool, PhotoStore
from models.training.engine.config import LoopConfig

SHEET_ROWS = 12
_GRID_PERIODS_PX = (2, 4, 8)
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


def hed_distance(net: HED, photos: Tensor, truth: Tensor, hole: Tensor) -> Tensor:
    """`hedps` of each photo in its hole, (N,): mean squared difference of unit features over five stages.

    Args:
        net: the HED network that is kept for scoring.
        photos: (N, 3, H, W) RGB in [-1, 1].
        truth: the same.
        hole: (N, 1, H, W) in {0, 1}.
    """
    found = torch.zeros(len(photos))
    pairs = zip(*(net.features((each + 1) * 127.5) for each in (photos, truth)), strict=True)
    for index, (got, wanted) in enumerate(pairs):
        units = [F.normalize(each.float(), dim=1, eps=1e-10) for each in (got, wanted)]
        if index == 0:
            units = [F.avg_pool2d(each, 2, ceil_mode=True, count_include_pad=False) for each in units]
        apart = (units[0] - units[1]).square().sum(1, keepdim=True)
        apart = F.interpolate(apart, size=hole.shape[2:], mode="bilinear", align_corners=False) * hole
        found += apart.sum((1, 2, 3)).cpu() / hole.sum((1, 2, 3)).clamp_min(1).cpu() / 5
    return found


def sharpness_ratio(photos: Tensor, truth: Tensor, hole: Tensor) -> Tensor:
    """Standard deviation of the Laplacian in the hole, over the truth's, (N,); arguments as in `hed_distance`."""
    kernel = photos.new_tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]]).view(1, 1, 3, 3)
    inner = -F.max_pool2d(-F.pad(hole, (2, 2, 2, 2)), 5, stride=1) > 0
    spreads = []
    for images in (photos, truth):
        edges = F.conv2d(F.pad(images.mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate"), kernel)
        spreads.append(
            torch.stack([e[m].std() if m.sum() > 1 else e.new_ones(()) for e, m in zip(edges, inner, strict=True)])
        )
    return spreads[0] / spreads[1].clamp_min(1e-6)


def grid_power(photos: Tensor, hole: Tensor, periods_px: tuple[int, ...] = _GRID_PERIODS_PX) -> Tensor:
    """Power of each photo's hole at a few periods over its neighbouring frequencies, (N,).

    The largest of them counts; about 1 without a grid. The photo is taken in the box around its hole, along rows
    and along columns.
    """
    found = []
    for image, mask in zip(photos.mean(1), hole[:, 0], strict=True):
        rows, columns = (torch.nonzero(mask.any(axis)).flatten() for axis in (1, 0))
        box = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] if len(rows) else image
        ratios = []
        for lines in (box, box.T):
            length = lines.shape[1] // 16 * 16
            if length < 32:
                continue
            power = torch.fft.rfft(lines[:, :length] * torch.hann_window(length), dim=1).abs().square().mean(0)
            ratios.append(torch.stack([_peak(power, length // period) for period in periods_px]))
        found.append(torch.stack(ratios).mean(0).max() if ratios else photos.new_ones(()))
    return torch.stack(found)


def _peak(power: Tensor, at: int) -> Tensor:
    near = torch.cat([power[at - 4 : at - 1], power[at + 2 : at + 5]])
    return power[at - 1 : at + 2].max() / near.mean().clamp_min(1e-9)


class ValidationSet:
    """A fixed choice of photos with fixed masks.

    Args:
        store: photos that are not trained on, or those of the training where there are no others.
        config: of the training.
    """

    def __init__(self, store: PhotoStore, config: LoopConfig) -> None:
        self._scorer: HED | None = None
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

    def looks(self, photos: Tensor, truth: Tensor, mask: Tensor | None) -> dict[str, Tensor]:
        """`hedps`, `sharpness` and `grid` of composites, (N,) each; the network that scores is loaded when needed."""
        if self._scorer is None:
            self._scorer = load_hed_scorer().requires_grad_(False)
        hole = torch.ones_like(photos[:, :1]) if mask is None else mask
        pasted = torch.where(hole > 0, photos.float().clamp(-1, 1), truth).cpu()
        real, hole = truth.cpu(), hole.cpu()
        return {
            "hedps": hed_distance(self._scorer, pasted, real, hole),
            "sharpness": sharpness_ratio(pasted, real, hole),
            "grid": grid_power(pasted, hole),
        }

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
