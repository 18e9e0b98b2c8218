"""Canny as a graded edge map: the usual baseline beside a learned edge detector."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from dpsdata.contracts import UsageError

_LOW_SHARE = 0.4  # low threshold as a share of the high one, the ratio of MATLAB's edge function
_UNIT = 16384  # gradient units of a black-to-white step: fine steps, and no overflow of int16


def canny_edge_map(rgb: NDArray[np.uint8], sigma_px: float = 2.0, level_count: int = 99) -> NDArray[np.float32]:
    """Detect edges by Canny at many thresholds and keep the highest that each pixel survives.

    The strength of a pixel is the greatest k / (level_count + 1) at which Canny still marks it, so that
    `map >= k / (level_count + 1)` is Canny's own result with that high threshold (low threshold: 0.4 of
    it). A threshold t answers to a straight step of t times the contrast from black to white. The lines
    are thin already: score the map with `EvalConfig(nms=False)`.

    Args:
        rgb: (H, W, 3) uint8, RGB.
        sigma_px: standard deviation of the Gaussian blur in pixels.
        level_count: number of thresholds.

    Returns:
        (H, W) float32 in [0, 1).

    Raises:
        UsageError: an argument has another type, shape or range.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or rgb.size == 0:
        raise UsageError(f"rgb: expected a uint8 photo (H, W, 3), got {rgb.dtype} {rgb.shape}")
    if not 0 < sigma_px < math.inf:
        raise UsageError(f"sigma_px: expected a positive number, got {sigma_px}")
    if level_count < 1:
        raise UsageError(f"level_count: expected 1 or more, got {level_count}")
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    blurred = cv2.GaussianBlur(grey, (0, 0), sigma_px)
    # A step blurred by a Gaussian is steepest by contrast / (sigma sqrt(2 pi)); Sobel's weights add up to 8.
    scale = _UNIT * sigma_px * math.sqrt(2 * math.pi) / 8
    dx, dy = (
        np.clip(np.rint(cv2.Sobel(blurred, cv2.CV_32F, *order, scale=scale)), -32767, 32767).astype(np.int16)
        for order in ((1, 0), (0, 1))
    )
    strength = np.zeros(grey.shape, np.float32)
    for level in range(1, level_count + 1):
        high = level / (level_count + 1)
        edges = cv2.Canny(dx, dy, _LOW_SHARE * high * _UNIT, high * _UNIT, L2gradient=True) > 0
        if not edges.any():
            break  # the sets are nested: nothing survives a higher threshold
        strength[edges] = high
    return strength
