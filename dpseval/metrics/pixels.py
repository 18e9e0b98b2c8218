"""All pixel scores of one output in every region; numpy and OpenCV only, so that worker processes start fast."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dpsdata.contracts import UsageError
from dpseval.metrics.regions import REGIONS, check_hard_mask, check_photos, composite, region_masks

PEAK = 255


def _mean_norm(
    output: NDArray[np.uint8], truth: NDArray[np.uint8], region: NDArray[np.bool_] | None, norm: int
) -> float:
    """Mean over pixels and colours; the sum of a norm over bytes is whole, so rounding makes it exact again."""
    check_photos(output, truth)
    if region is None:
        return round(cv2.norm(output, truth, norm)) / truth.size
    if region.shape != truth.shape[:2] or region.dtype != np.bool_:
        raise UsageError(f"region: expected bool {truth.shape[:2]}, got {region.dtype} {region.shape}")
    count = int(np.count_nonzero(region))
    return round(cv2.norm(output, truth, norm, region.view(np.uint8))) / (3 * count) if count else math.nan


def squared_error(
    output: NDArray[np.uint8], truth: NDArray[np.uint8], region: NDArray[np.bool_] | None = None
) -> float:
    """Mean squared difference over pixels and colours, in squares of grey levels (0 to 255); NaN for no pixel.

    Args:
        output: uint8 RGB (H, W, 3).
        truth: uint8 RGB (H, W, 3).
        region: bool (H, W); None for all pixels.
    """
    return _mean_norm(output, truth, region, cv2.NORM_L2SQR)


def psnr_of(mean_squared_error: float) -> float:
    """PSNR in dB of a mean squared error in squares of grey levels; inf for 0."""
    if mean_squared_error == 0:
        return math.inf
    return float(10 * np.log10(PEAK**2 / mean_squared_error))


def psnr(output: NDArray[np.uint8], truth: NDArray[np.uint8], region: NDArray[np.bool_] | None = None) -> float:
    """Peak signal-to-noise ratio in dB over pixels and colours; inf for equal pixels, NaN for no pixel.

    Args:
        output: uint8 RGB (H, W, 3).
        truth: uint8 RGB (H, W, 3).
        region: bool (H, W); None for all pixels. The mean is over the pixels of the region, not over all.
    """
    return psnr_of(squared_error(output, truth, region))


def l1(output: NDArray[np.uint8], truth: NDArray[np.uint8], region: NDArray[np.bool_] | None = None) -> float:
    """Mean absolute difference over pixels and colours, of a range of 0 to 1; NaN for no pixel.

    Args:
        output: uint8 RGB (H, W, 3).
        truth: uint8 RGB (H, W, 3).
        region: bool (H, W); None for all pixels.
    """
    return _mean_norm(output, truth, region, cv2.NORM_L1) / PEAK


WINDOW_PX = 11
RADIUS_PX = WINDOW_PX // 2
SIGMA_PX = 1.5
_C1 = (0.01 * 255) ** 2
_C2 = (0.03 * 255) ** 2
_OFFSETS = np.arange(-RADIUS_PX, RADIUS_PX + 1)
_KERNEL = np.exp(-0.5 * (_OFFSETS / SIGMA_PX) ** 2)
_KERNEL /= _KERNEL.sum()

Map = NDArray[np.float64]


def _filter(values: Map) -> Map:
    """Weighted mean in every window that lies whole inside of the image; (H-10, W-10, 3)."""
    filtered = cv2.sepFilter2D(values, cv2.CV_64F, _KERNEL, _KERNEL)
    return np.asarray(filtered[RADIUS_PX:-RADIUS_PX, RADIUS_PX:-RADIUS_PX])


def _changed_box(output: NDArray[np.uint8], truth: NDArray[np.uint8]) -> tuple[slice, slice] | None:
    """Rows and columns of the windows that hold any differing pixel; None where there is none."""
    difference = cv2.absdiff(output, truth).reshape(output.shape[0], -1)
    box = []
    for axis, side in enumerate(output.shape[:2]):
        largest = difference.max(axis=1 - axis).reshape(side, -1)
        places = np.flatnonzero(largest.any(axis=1))
        if not len(places):
            return None
        # A window at i covers the pixels i to i + 10.
        box.append(slice(max(0, int(places[0]) - 2 * RADIUS_PX), min(side - 2 * RADIUS_PX, int(places[-1]) + 1)))
    return box[0], box[1]


class SsimTruth:
    """The truth's side of SSIM, filtered once for any number of outputs.

    Gaussian windows of 11x11 px, sigma 1.5 px, population covariance, K of 0.01 and 0.03, range 255; only windows
    that lie whole inside of the image; float64; the mean over R, G and B.

    Args:
        truth: uint8 RGB (H, W, 3) of at least 11 px a side.

    Raises:
        UsageError: wrong type or too small.

    Source: Wang et al., Image Quality Assessment: From Error Visibility to Structural Similarity, 2004, section III.B.
    """

    def __init__(self, truth: NDArray[np.uint8]) -> None:
        check_photos(truth, truth)
        if min(truth.shape[:2]) < WINDOW_PX:
            raise UsageError(f"SSIM: expected at least {WINDOW_PX} px a side, got {truth.shape[:2]}")
        self.truth = truth
        self._values = truth.astype(np.float64)
        self._mean = _filter(self._values)
        square = self._mean * self._mean
        self._variance_c2 = _filter(self._values * self._values) - square + _C2
        self._square_c1 = square + _C1

    def map(self, output: NDArray[np.uint8]) -> Map:
        """SSIM of every window, the mean over R, G and B.

        Args:
            output: uint8 RGB (H, W, 3), of the truth's size.

        Returns:
            float64 (H-10, W-10); (0, 0) is the window around the pixel (5, 5).
        """
        check_photos(output, self.truth)
        similarity = np.ones(self._mean.shape[:2])
        box = _changed_box(output, self.truth)
        if box is None:
            return similarity
        # Where a window shows no difference its SSIM is exactly 1, so a composite costs no more than its hole.
        pixels = tuple(slice(part.start, part.stop + 2 * RADIUS_PX) for part in box)
        theirs, ours = output[pixels].astype(np.float64), self._values[pixels]
        mean = _filter(theirs)
        product = mean * self._mean[box]
        covariance = _filter(theirs * ours)
        variance = _filter(theirs * theirs)
        # In place: at this size fresh arrays cost more than the sums. Both factors of the numerator are halved.
        square = np.multiply(mean, mean, out=mean)
        covariance -= product
        covariance += _C2 / 2
        product += _C1 / 2
        product *= covariance
        variance -= square
        variance += self._variance_c2[box]
        square += self._square_c1[box]
        square *= variance
        product /= square
        similarity[box] = (product[..., 0] + product[..., 1] + product[..., 2]) * (4 / 3)
        return similarity


def plane_map(output: NDArray[np.uint8], truth: NDArray[np.uint8]) -> Map:
    """SSIM of every window of two planes, such as edge maps; constants and windows of `SsimTruth`.

    Args:
        output: uint8 (H, W) of at least 11 px a side.
        truth: uint8 (H, W).

    Returns:
        float64 (H-10, W-10).

    Raises:
        UsageError: wrong type, shapes that differ, or too small.
    """
    if output.dtype != np.uint8 or truth.dtype != np.uint8 or output.shape != truth.shape or output.ndim != 2:
        raise UsageError(f"SSIM: expected two uint8 (H, W), got {output.dtype} {output.shape} and {truth.shape}")
    if min(truth.shape) < WINDOW_PX:
        raise UsageError(f"SSIM: expected at least {WINDOW_PX} px a side, got {truth.shape}")
    similarity = np.ones((truth.shape[0] - 2 * RADIUS_PX, truth.shape[1] - 2 * RADIUS_PX))
    box = _changed_box(output, truth)
    if box is None:
        return similarity
    pixels = tuple(slice(part.start, part.stop + 2 * RADIUS_PX) for part in box)
    x, y = output[pixels].astype(np.float64), truth[pixels].astype(np.float64)
    mean_x, mean_y = _filter(x), _filter(y)
    variance_x, variance_y = _filter(x * x) - mean_x**2, _filter(y * y) - mean_y**2
    covariance = _filter(x * y) - mean_x * mean_y
    light = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    similarity[box] = light * (2 * covariance + _C2) / (variance_x + variance_y + _C2)
    return similarity


def ssim_over(similarity: Map, region: NDArray[np.bool_] | None = None) -> float:
    """Mean SSIM of the windows whose centre lies in a region; NaN where there is none.

    Args:
        similarity: (H-10, W-10), from `SsimTruth.map`.
        region: bool (H, W); None for all windows.
    """
    if region is not None:
        similarity = similarity[region[RADIUS_PX:-RADIUS_PX, RADIUS_PX:-RADIUS_PX]]
    return float(similarity.mean()) if similarity.size else math.nan


def ssim(output: NDArray[np.uint8], truth: NDArray[np.uint8], region: NDArray[np.bool_] | None = None) -> float:
    """Mean SSIM of two photos; see `SsimTruth`.

    Args:
        output: uint8 RGB (H, W, 3).
        truth: uint8 RGB (H, W, 3).
        region: bool (H, W), the centres of the windows; None for all.
    """
    return ssim_over(SsimTruth(truth).map(output), region)


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
