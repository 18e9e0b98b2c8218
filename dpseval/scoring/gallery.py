"""Which photos a report shows: some samples, and the worst of each metric; their pictures are taken in the pass."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dpsdata.images.arrays import resize_photo
from dpsdata.runtime.device import keyed_generator
from dpseval.metrics.names import METRICS
from dpseval.pairing.files import SetKey
from dpseval.report.gallery import GalleryItem, Panel, error_map
from dpseval.scoring.pixel_workers import PhotoMeasures

SAMPLE_COUNT, WORST_COUNT = 8, 4
WORST_METRICS = ("hedps", "psnr")
WORST_REGION = "hole"
_PANEL_SIDE_PX = 256  # larger ones would be kept in memory for nothing: thumbnails are smaller
_GREY = 160


@dataclass(frozen=True)
class Worst:
    """The worst value of one photo over its sets; `badness` is larger for a worse one."""

    badness: float
    value: float
    key: SetKey


class GalleryPicker:
    """Collects the pictures of a gallery while photos pass by.

    Args:
        ids: of all photos, in the order of the dataset.
        seed: of the choice of samples.
    """

    def __init__(self, ids: Sequence[str], seed: int) -> None:
        order = keyed_generator(seed, "", "gallery samples").permutation(len(ids))
        self._samples = {ids[index] for index in order[:SAMPLE_COUNT]}
        self._sampled: list[GalleryItem] = []
        self._worst: dict[str, list[tuple[Worst, GalleryItem]]] = {name: [] for name in WORST_METRICS}

    def see(self, photo: PhotoMeasures, values: dict[SetKey, dict[str, float]]) -> None:
        """Keep the pictures of a photo where they belong into the gallery.

        Args:
            photo: measured.
            values: metrics in the hole, by set.
        """
        if photo.id in self._samples:
            key = next(iter(photo.outputs))
            self._sampled.append(make_item(photo, values, "sample", key))
        for name, kept in self._worst.items():
            worst = find_worst(name, values)
            if worst is None or (len(kept) == WORST_COUNT and worst.badness <= kept[-1][0].badness):
                continue
            kept.append((worst, make_item(photo, values, f"worst {name}", worst.key)))
            kept.sort(key=lambda pair: -pair[0].badness)
            del kept[WORST_COUNT:]

    def items(self) -> list[GalleryItem]:
        """The samples, then the worst of each metric, the worst first."""
        return [*self._sampled, *(item for kept in self._worst.values() for _, item in kept)]


def find_worst(name: str, values: dict[SetKey, dict[str, float]]) -> Worst | None:
    """The set with the worst value of a metric; None where no set has one, or all are perfect."""
    sign = -1.0 if METRICS[name].higher_is_better else 1.0
    found = [
        Worst(sign * scores[name], scores[name], key)
        for key, scores in values.items()
        if not math.isnan(scores.get(name, math.nan)) and math.isfinite(scores[name])
    ]
    return max(found, key=lambda worst: worst.badness, default=None)


def make_item(photo: PhotoMeasures, values: dict[SetKey, dict[str, float]], reason: str, shown: SetKey) -> GalleryItem:
    """The row of pictures of one photo; the error map is that of the set `shown`."""
    cut = photo.truth.copy()
    cut[photo.mask == 1] = _GREY
    panels = [Panel("input", _small(cut), "the hole is grey")]
    if photo.sketch is not None:
        panels.append(Panel("sketch", _small(np.where(photo.sketch == 1, 0, 255).astype(np.uint8)), "as drawn"))
    panels.append(Panel("mask", _small((photo.mask * 255).astype(np.uint8)), f"hole {photo.hole_ratio:.0%}"))
    for key, output in photo.outputs.items():
        picture = photo.composites[output.composite_sha256]
        panels.append(Panel(str(key), _small(picture), _caption(values.get(key, {}))))
    panels.append(Panel("truth", _small(photo.truth), ""))
    painted = photo.composites[photo.outputs[shown].composite_sha256]
    panels.append(Panel(f"error {shown}", _small(error_map(painted, photo.truth)), "bright = far from the truth"))
    return GalleryItem(photo.id, reason, photo.hole_ratio, panels)


def _caption(scores: dict[str, float]) -> str:
    texts = []
    for name, digits in (("psnr", 1), ("hedps", 3)):
        value = scores.get(name, math.nan)
        if not math.isnan(value):
            unit = f" {METRICS[name].unit}" if METRICS[name].unit else ""
            texts.append(f"{name.upper()} {value:.{digits}f}{unit}")
    return ", ".join(texts)


def _small(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    side = max(pixels.shape[:2])
    if side <= _PANEL_SIDE_PX:
        return pixels
    rgb = pixels if pixels.ndim == 3 else np.stack([pixels] * 3, axis=2)
    return resize_photo(rgb, _PANEL_SIDE_PX)
