"""A face as 128 numbers by MobileFaceNet, from a photo that is turned so that five points lie where it learned them.

Source: Chen et al., CCBR 2018; foamliu/MobileFaceNet@a6cc903 mobilefacenet.py; the five points are ArcFace's (Deng et
al., CVPR 2019).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from dpsdata.images.arrays import photos_to_planes
from dpsdata.weights.known.mobilefacenet import BLOCKS

SIDE_PX = 112
# In px of the 112 px crop: eyes, tip of the nose, corners of the mouth; then the points of 300-W that make each.
_PLACES = ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041))
_POINTS = (slice(36, 42), slice(42, 48), slice(30, 31), slice(48, 49), slice(54, 55))
_MEAN_RGB, _STD_RGB = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class MobileFaceNet:
    """The network, in evaluation.

    Args:
        state: tensors with the keys of the published file.
        device: where it runs.
    """

    name = "mobilefacenet"

    def __init__(self, state: Mapping[str, Any], device: torch.device) -> None:
        self._state: dict[str, Tensor] = {key: value.to(device).float() for key, value in state.items()}
        self._device = device

    def describe(self, photo: NDArray[np.uint8], points: NDArray[np.float64]) -> NDArray[np.float32]:
        """The descriptor, (128,), of the face in a uint8 RGB photo (H, W, 3) on which 68 points (x, y) in px lie."""
        return np.asarray(self.descriptors(align(photo, points)[None])[0], np.float32)

    @torch.inference_mode()
    def descriptors(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Descriptors of uint8 RGB (N, 112, 112, 3) crops: float32 (N, 128)."""
        mean, std = (torch.tensor(each, device=self._device)[:, None, None] for each in (_MEAN_RGB, _STD_RGB))
        x = (photos_to_planes(crops, self._device) / 255 - mean) / std
        x = self._layer(x, "conv1.0", "conv1.1", 2).clamp(0, 6)
        x = self._layer(x, "dw_conv.depthwise", "dw_conv.bn1").relu()
        x = self._layer(x, "dw_conv.pointwise", "dw_conv.bn2").relu()
        for number, (before, _, after, stride) in enumerate(BLOCKS):
            place = f"features.{number}.conv"
            inner = self._layer(x, f"{place}.0.0", f"{place}.0.1").clamp(0, 6)
            inner = self._layer(inner, f"{place}.1.0", f"{place}.1.1", stride).clamp(0, 6)
            inner = self._layer(inner, f"{place}.2", f"{place}.3")
            x = x + inner if stride == 1 and before == after else inner
        x = self._layer(x, "conv2.0", "conv2.1").clamp(0, 6)
        x = self._layer(x, "gdconv.depthwise", "gdconv.bn", padding=0)
        return np.asarray(self._layer(x, "conv3", "bn").flatten(1).cpu().numpy(), np.float32)

    def _layer(self, x: Tensor, convolution: str, norm: str, stride: int = 1, padding: int | None = None) -> Tensor:
        """A convolution, in depth where its filters read one channel, and a batch norm behind it."""
        state = self._state
        filters = state[f"{convolution}.weight"]
        groups = x.shape[1] // filters.shape[1]
        around = filters.shape[2] // 2 if padding is None else padding
        x = F.conv2d(x, filters, state.get(f"{convolution}.bias"), stride, around, groups=groups)
        mean, spread, weight, bias = (
            state[f"{norm}.{key}"] for key in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, spread, weight, bias)


def align(photo: NDArray[np.uint8], points: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The face on which 68 points (x, y) lie, turned and scaled into uint8 (112, 112, 3) by least squares."""
    seen = np.stack([points[part].mean(axis=0) for part in _POINTS]) @ (1, 1j)
    wanted = np.array(_PLACES) @ (1, 1j)
    around = seen - seen.mean()
    turn = np.vdot(around, wanted - wanted.mean()) / max(np.vdot(around, around).real, 1e-12)
    half = 0.5 + 0.5j  # pixel centres are at halves here, and at whole numbers in OpenCV
    move = wanted.mean() - turn * (seen.mean() - half) - half
    matrix = np.array([[turn.real, -turn.imag, move.real], [turn.imag, turn.real, move.imag]])
    shrink = 1 / max(abs(turn), 1e-6)
    soft = photo if shrink <= 1 else cv2.GaussianBlur(photo, (0, 0), 0.5 * shrink)  # else sampling would skip pixels
    size = (SIDE_PX, SIDE_PX)
    warped = cv2.warpAffine(soft, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, np.uint8)
