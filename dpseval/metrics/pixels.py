"""All pixel scores of one output in every region; numpy and OpenCV only, so that worker processes start fast."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dpseval.metrics.psnr import l1, psnr_of, squared_error
from dpseval.metrics.regions import REGIONS, check_hard_mask, composite, region_masks
from dpseval.metrics.ssim import SsimTruth, ssim_over

PIXEL_METRICS = ("psnr", "ssim", "l1", "mse")


@dataclass(frozen=True)
class PixelMetrics:
    """Pixel scores of one output.

    Attributes:
        known_drift: mean absolute difference of the known pixels before compositing, of a range of 0 to 1; NaN where
            the mask has no known pixel.
        rows: region -> name of `PIXEL_METRICS` -> value, on the composite; NaN in an empty region. The composite
            keeps the pixels of the ring, so its `mse` and `l1` are 0 there and its `psnr` is inf; its `ssim` is not
            1, as the windows reach into the hole.
    """

    known_drift: float
    rows: dict[str, dict[str, float]]


class PixelTruth:
    """One truth with its mask; what depends on them alone is worked out once for any number of outputs.

    Args:
        truth: uint8 RGB (H, W, 3) of at least 11 px a side.
        mask: uint8 (H, W) in {0, 1}, hole = 1.

    Raises:
        UsageError: wrong types or sizes.
    """

    def __init__(self, truth: NDArray[np.uint8], mask: NDArray[np.uint8]) -> None:
        self._filters = SsimTruth(truth)
        check_hard_mask(mask, *truth.shape[:2])
        self.truth, self.mask, self.regions = truth, mask, region_masks(mask)

    def measure(self, output_raw: NDArray[np.uint8]) -> PixelMetrics:
        """Score an output.

        Args:
            output_raw: uint8 RGB (H, W, 3) as the method wrote it, not yet composited.

        Raises:
            UsageError: wrong type or size.
        """
        result = composite(output_raw, self.truth, self.mask)
        similarity = self._filters.map(result)
        rows = {}
        for name in REGIONS:
            region = None if name == "full" else self.regions[name]
            mse = squared_error(result, self.truth, region)
            values = (psnr_of(mse), ssim_over(similarity, region), l1(result, self.truth, region), mse)
            rows[name] = dict(zip(PIXEL_METRICS, values, strict=True))
        return PixelMetrics(l1(output_raw, self.truth, self.mask == 0), rows)
