"""Colour maps for SC-FEGAN's training: a photo as flat patches, each in its median colour."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.segmentation import slic

from dpsdata.contracts import UsageError
from dpsdata.runtime.device import keyed_generator
from models.training.engine.batches import MIRRORED, MaskPool

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
