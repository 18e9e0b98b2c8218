"""From pixels to what the baselines train on, and how well they fill the hole on the validation set.

A colour map of SC-FEGAN is a photo as flat patches, each in its median colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from skimage.segmentation import slic
from torch import Tensor, nn
from torch.nn import functional as F

from dpsdata.contracts import UsageError
from dpsdata.runtime.device import keyed_generator
from dpsdata.sketch import smooth_sketch
from models.baselines.scfegan import demo_noise
from models.training.baselines.config import BaselineTrainConfig
from models.training.engine.batches import MIRRORED, BatchPixels, MaskPool
from models.training.engine.validation import SHEET_ROWS, ValidationSet, frame_row, hole_psnr

# The paper names a median of size 3, a bilateral filter without its widths, and the segments of a face parser,
# which nobody can have any more; superpixels stand in for those.
_MEDIAN_PX = 3
_COLOR_SPREAD = 40.0
_SPACE_SPREAD_PX = 5.0  # at 256 px
_SEGMENT_COUNT = 96
_COMPACTNESS = 10.0
_STROKE_MASKS = 1024
_BLACK = 0
_READER_COUNT = 8


def paint_color_map(photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Smooth a photo and fill each of its superpixels with the median colour of the smoothed pixels.

    Args:
        photo: (H, W, 3) uint8 RGB.

    Returns:
        (H, W, 3) uint8 RGB; the same for the same photo.

    Raises:
        UsageError: no photo of this form.

    Source: Jo and Park, SC-FEGAN, ICCV 2019, section 3; superpixels instead of a face parsing are ours.
    """
    if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8:
        raise UsageError(f"photo: expected (H, W, 3) uint8, got {photo.shape} {photo.dtype}")
    spread = _SPACE_SPREAD_PX * min(photo.shape[:2]) / 256
    median = cv2.medianBlur(np.ascontiguousarray(photo), _MEDIAN_PX)
    smooth = np.asarray(cv2.bilateralFilter(median, -1, _COLOR_SPREAD, spread), np.uint8)
    labels = slic(smooth, _SEGMENT_COUNT, _COMPACTNESS, start_label=0, channel_axis=-1)
    return fill_with_medians(smooth, labels)


def fill_with_medians(photo: NDArray[np.uint8], labels: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Fill each segment with the median of its pixels, by channel; of an even number, the lower of the middle two.

    Args:
        photo: (H, W, 3) uint8.
        labels: (H, W), the segment of each pixel, from 0 on.
    """
    flat = labels.reshape(-1)
    counts = np.bincount(flat)
    middles = np.cumsum(counts) - counts + np.maximum(counts - 1, 0) // 2
    filled = np.empty((flat.size, photo.shape[2]), np.uint8)
    for channel in range(photo.shape[2]):
        values = photo[..., channel].reshape(-1)
        ranked = np.sort(flat.astype(np.int64) * 256 + values)
        # A label without pixels may point past the end, and is read by nobody.
        filled[:, channel] = (ranked[np.minimum(middles, flat.size - 1)] % 256)[flat]
    return filled.reshape(photo.shape)


class ColorStrokes:
    """Colour strokes for training samples: the colour map under a free-form mask, black elsewhere.

    Args:
        size: of the photos, px.
        seed: of the run.
        share: how many of the samples get strokes.
        keeps: whether colour maps stay in memory once they were made.

    Source: Jo and Park, SC-FEGAN, ICCV 2019, section 3.
    """

    def __init__(self, size: int, seed: int, share: float, keeps: bool = True) -> None:
        self._seed, self._share, self._keeps = seed, share, keeps
        self._masks = MaskPool("scfegan", size, seed, "color-strokes")
        self._maps: dict[str, NDArray[np.uint8]] = {}
        self._pool: ThreadPoolExecutor | None = None

    def draw(
        self, keys: Sequence[str], photo_ids: Sequence[str], photos: NDArray[np.uint8], share: float | None = None
    ) -> NDArray[np.uint8]:
        """Draw the strokes of a batch.

        Args:
            keys: (N) names of the samples, which with the seed decide about strokes.
            photo_ids: (N) IDs of the photos, marked where they are mirrored.
            photos: (N, S, S, 3) uint8 RGB.
            share: None for that of the training.

        Returns:
            (N, S, S, 3) uint8 RGB, black where no colour is given.
        """
        limit = self._share if share is None else share
        strokes = np.full_like(photos, _BLACK)
        drawn: list[tuple[int, int]] = []
        for index, key in enumerate(keys):
            generator = keyed_generator(self._seed, key, "train-color")
            if generator.random() < limit:
                drawn.append((index, int(generator.integers(_STROKE_MASKS))))
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_READER_COUNT)
        maps = self._pool.map(lambda place: self._map(photo_ids[place[0]], photos[place[0]]), drawn)
        for (index, mask), colors in zip(drawn, maps, strict=True):
            np.copyto(strokes[index], colors, where=self._masks.mask(mask)[..., None].astype(np.bool_))
        return strokes

    def _map(self, photo_id: str, photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if photo_id.endswith(MIRRORED):
            turned: NDArray[np.uint8] = self._map(photo_id.removesuffix(MIRRORED), photo[:, ::-1])[:, ::-1]
            return turned
        found = self._maps.get(photo_id)
        if found is None:
            found = paint_color_map(photo)
            if self._keeps:
                self._maps[photo_id] = found
        return found


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
