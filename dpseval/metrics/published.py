"""Pixel scores as three published lines of work compute them, so that old tables can be read beside new ones.

| name | scores | what is peculiar |
|---|---|---|
| zits | PSNR, SSIM | PSNR is 1 dB too high, and 71 dB for equal photos; SSIM of grey floats in uniform 7 x 7 windows, with a range of 2 where it is 1, and the weights of red and blue exchanged |
| lama | SSIM | the photo is padded with zeros, so that its rim counts, with windows that are part black |
| mat | PSNR, SSIM, L1 | as by default here; 8-bit photos, windows that lie whole inside |

Source: ewrfcas/ZITS_inpainting and AlonzoLeeeooo/SketchRefiner, their metric scripts; advimman/lama
saicinpainting/evaluation/losses/ssim.py; fenglinglwb/MAT evaluatoin/cal_psnr_ssim_l1.py.
"""  # noqa: E501 - rows of a table

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from dpseval.metrics.names import PROTOCOLS
from dpseval.metrics.pixels import l1, psnr_of, squared_error, ssim

_Plane = NDArray[np.float64]

_MAX_DB = 100.0  # of equal photos, as in every mean here
_SIDE = 7
_GREY = (0.0721, 0.7154, 0.2125)  # of R, G, B: scikit-image's weights, which B, G, R meet
_PAD_PX, _SIGMA_PX = 5, 1.5


def score_as(protocol: str, output: NDArray[np.uint8], truth: NDArray[np.uint8]) -> dict[str, float]:
    """Scores of a composite under a published protocol.

    Args:
        protocol: `zits`, `lama` or `mat`.
        output: uint8 RGB (H, W, 3), composited.
        truth: the same shape.

    Returns:
        By the names of `PROTOCOLS[protocol]`.
    """
    if protocol == "lama":
        values: tuple[float, ...] = (_ssim_of_lama(output, truth),)
    elif protocol == "zits":
        mse = squared_error(output, truth) / 255**2
        values = (1 - 10 * math.log10(mse + 1e-7), _ssim_of_zits(output, truth))
    else:
        decibels = min(_MAX_DB, psnr_of(squared_error(output, truth)))
        values = (decibels, ssim(output, truth), l1(output, truth))
    return dict(zip(PROTOCOLS[protocol], values, strict=True))


def _ssim_of_zits(output: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    x, y = (photo.astype(np.float64) / 255 @ np.array(_GREY) for photo in (output, truth))

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        found = cv2.boxFilter(values, cv2.CV_64F, (_SIDE, _SIDE))
        return np.asarray(found[_SIDE // 2 : -(_SIDE // 2), _SIDE // 2 : -(_SIDE // 2)])

    sample = _SIDE**2 / (_SIDE**2 - 1)
    return float(_similarity(mean, x, y, 2.0, sample).mean())


def _ssim_of_lama(output: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    offsets = np.arange(-_PAD_PX, _PAD_PX + 1)
    kernel = np.exp(-0.5 * (offsets / _SIGMA_PX) ** 2)
    kernel /= kernel.sum()

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(cv2.sepFilter2D(values, cv2.CV_64F, kernel, kernel, borderType=cv2.BORDER_CONSTANT))

    x, y = (photo.astype(np.float64) / 255 for photo in (output, truth))
    return float(_similarity(mean, x, y, 1.0, 1.0).mean())


def _similarity(mean: Callable[[_Plane], _Plane], x: _Plane, y: _Plane, span: float, sample: float) -> _Plane:
    """SSIM of every window; `sample` corrects covariances to those of a sample."""
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    mean_x, mean_y = mean(x), mean(y)
    variances = sample * (mean(x * x) - mean_x**2 + mean(y * y) - mean_y**2)
    covariance = sample * (mean(x * y) - mean_x * mean_y)
    light = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return light * (2 * covariance + c2) / (variances + c2)
