"""PSNR and the two plain pixel errors, in whole numbers until the last division."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from dpsdata.contracts import UsageError
from dpseval.metrics.regions import check_photos

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
