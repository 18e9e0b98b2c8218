"""A face as 128 numbers and as 68 points, by the networks of @vladmandic/face-api or another; and where to cut it out.

Source: @vladmandic/face-api 1.7.15 (MIT), src/faceRecognitionNet and src/faceFeatureExtractor; King, dlib, 2017.
MobileFaceNet sees the photo turned so that five points lie where it learned them: Chen et al., CCBR 2018;
foamliu/MobileFaceNet@a6cc903 mobilefacenet.py; the five points are ArcFace's (Deng et al., CVPR 2019).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from dpsdata import weights
from dpsdata.contracts import EYE_CENTRES, UsageError
from dpsdata.images.arrays import photos_to_planes
from dpsdata.runtime.device import choose_device
from dpsdata.weights.known.face_api import DENSE_WIDTHS, DESCRIPTOR, LANDMARKS, RESIDUALS, face_weights
from dpsdata.weights.known.mobilefacenet import BLOCKS, MOBILEFACENET
from dpsdata.weights.reading import read_state
from dpsdata.weights.store import sha256_file
from dpseval.metrics.names import IDENTITY_NETWORKS

SIDE_PX = 112
# In px of the 112 px crop: eyes, tip of the nose, corners of the mouth; then the points of 300-W that make each.
_PLACES = ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041))
_POINTS = (slice(36, 42), slice(42, 48), slice(30, 31), slice(48, 49), slice(54, 55))
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


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
        mean, std = (torch.tensor(each, device=self._device)[:, None, None] for each in (_IMAGENET_MEAN, _IMAGENET_STD))
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


DESCRIPTOR_PX, LANDMARK_PX = 150, 112
_MEAN_RGB = (122.782, 117.001, 104.298)
_FRAME_PX = 256
# The first crop, in distances between the eyes of the CelebA-HQ frame: its side, and how far it lies below them.
_FIRST_SIDE, _FIRST_DROP = 2.5, 0.45
_POINTS_MARGIN, _FACE_MARGIN = 1.1, 1.4  # of the points' box: what the landmark network saw, what a descriptor sees

Box = tuple[float, float, float]
Points = NDArray[np.float64]


class FaceNetworks:
    """Landmarks and descriptors of photos in the CelebA-HQ frame.

    Args:
        device: `auto`, `cpu`, `cuda`, `cuda:N`.
        states: tensors of the networks by registered name; None for the installed ones.
        identity: which network describes faces, `face-api` or `mobilefacenet`; landmarks are face-api's.

    Attributes:
        name: of the networks, for caches.
        weights_id: SHA-256 of their files; empty for state dicts.

    Raises:
        MissingError: not installed, or damaged.
        UsageError: no such device.
    """

    def __init__(
        self,
        device: str = "cpu",
        states: Mapping[str, Mapping[str, Any]] | None = None,
        identity: str = IDENTITY_NETWORKS[0],
    ) -> None:
        self._device = choose_device(device)
        self.weights_id = ""
        self.name = "face-api" if identity == "face-api" else f"face-api-{identity}"
        if states is None:
            paths = {name: weights.weights_path(name) for name in face_weights(identity)}
            self.weights_id = "-".join(sha256_file(path) for path in paths.values())
            states = {name: read_state(path)[0] for name, path in paths.items()}
        self._mobile = MobileFaceNet(states[MOBILEFACENET], self._device) if identity == MOBILEFACENET else None
        self._descriptor, self._landmarks = (
            {key: _to_torch(key, value).to(self._device) for key, value in states.get(name, {}).items()}
            for name in (DESCRIPTOR, LANDMARKS)
        )

    def find_points(self, photo: NDArray[np.uint8]) -> Points:
        """The 68 points of a face: found in the frame's usual place, then once more around where they are.

        Args:
            photo: uint8 RGB (H, W, 3).

        Returns:
            (68, 2) of (x, y) in px, pixel centres at halves; in the order of 300-W.
        """
        return self.place_points(photo, points_box(self.place_points(photo, frame_box(photo.shape[0]))))

    def place_points(self, photo: NDArray[np.uint8], box: Box) -> Points:
        """The 68 points as the network sees them in a box (x, y, side) of a photo, in px of the photo."""
        found = self.landmarks(cut_square(photo, box, LANDMARK_PX)[None])[0]
        return np.asarray(np.array(box[:2]) + found * box[2], np.float64)

    def describe(self, photo: NDArray[np.uint8], points: Points) -> NDArray[np.float32]:
        """The descriptor, (128,), of the face that points lie on: those of the reference, whatever the photo shows."""
        if self._mobile is not None:
            return self._mobile.describe(photo, points)
        return np.asarray(self.descriptors(cut_square(photo, face_box(points), DESCRIPTOR_PX)[None])[0], np.float32)

    @torch.inference_mode()
    def landmarks(self, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
        """68 points of uint8 RGB (N, 112, 112, 3) crops: (N, 68, 2) of (x, y) as shares of the side."""
        x = self._prepare(crops, LANDMARK_PX) / 255
        state = self._landmarks
        for block in range(len(DENSE_WIDTHS)):
            total = first = self._dense(x, f"dense{block}/conv0", 2).relu()
            for index in range(1, 4):
                total = total + self._dense(first if index == 1 else total.relu(), f"dense{block}/conv{index}", 1)
            x = total.relu()
        pooled = F.avg_pool2d(x, 7, 2).permute(0, 2, 3, 1).flatten(1)
        found = pooled @ state["fc/weights"] + state["fc/bias"]
        return np.asarray(found.cpu().numpy(), np.float64).reshape(-1, 68, 2)

    @torch.inference_mode()
    def descriptors(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Descriptors of uint8 RGB (N, 150, 150, 3) crops: float32 (N, 128)."""
        x = self._convolve(self._prepare(crops, DESCRIPTOR_PX) / 256, "conv32_down", 2, 0).relu()
        x = F.max_pool2d(x, 3, 2)
        for name, before, after, halves in RESIDUALS:
            inner = self._convolve(x, f"{name}/conv1", 2 if halves else 1, 0 if halves else 1).relu()
            inner = self._convolve(inner, f"{name}/conv2", 1, 1)
            if halves:
                x = F.avg_pool2d(x, 2)
                missing = x.shape[2] - inner.shape[2]
                inner = F.pad(inner, (0, missing, 0, missing))
                x = F.pad(x, (0, 0, 0, 0, 0, after - before))
            x = (inner + x).relu()
        return np.asarray((x.mean(dim=(2, 3)) @ self._descriptor["fc"]).cpu().numpy(), np.float32)

    def _prepare(self, crops: NDArray[np.uint8], side: int) -> Tensor:
        if crops.dtype != np.uint8 or crops.shape[1:] != (side, side, 3):
            raise UsageError(f"face: expected uint8 (N, {side}, {side}, 3), got {crops.dtype} {crops.shape}")
        pixels = photos_to_planes(crops, self._device)
        return pixels - torch.tensor(_MEAN_RGB, device=self._device)[:, None, None]

    def _convolve(self, x: Tensor, place: str, stride: int, padding: int) -> Tensor:
        state = self._descriptor
        x = F.conv2d(x, state[f"{place}/conv/filters"], state[f"{place}/conv/bias"], stride, padding)
        return x * state[f"{place}/scale/weights"][:, None, None] + state[f"{place}/scale/biases"][:, None, None]

    def _dense(self, x: Tensor, place: str, stride: int) -> Tensor:
        """A convolution of 3 x 3, in depth and point by point but for the first; padded as TensorFlow's `same`."""
        state = self._landmarks
        before = (3 - stride) // 2
        x = F.pad(x, (before, 1, before, 1))
        if f"{place}/filters" in state:
            return F.conv2d(x, state[f"{place}/filters"], state[f"{place}/bias"], stride)
        x = F.conv2d(x, state[f"{place}/depthwise_filter"], None, stride, groups=x.shape[1])
        return F.conv2d(x, state[f"{place}/pointwise_filter"], state[f"{place}/bias"])


def frame_box(size: int) -> Box:
    """The box (x, y, side) in px in which a face of the CelebA-HQ frame lies, in photos of `size` px."""
    (left_x, left_y), (right_x, right_y) = EYE_CENTRES
    apart = right_x - left_x
    side = _FIRST_SIDE * apart
    middle = ((left_x + right_x) / 2, (left_y + right_y) / 2 + _FIRST_DROP * apart)
    scale = size / _FRAME_PX
    return (middle[0] - side / 2) * scale, (middle[1] - side / 2) * scale, side * scale


def points_box(points: Points, margin: float = _POINTS_MARGIN) -> Box:
    """The square around points, `margin` times as large as their longer side."""
    low, high = points.min(axis=0), points.max(axis=0)
    side = max(1.0, float((high - low).max()) * margin)
    x, y = (low + high) / 2 - side / 2
    return float(x), float(y), side


def face_box(points: Points) -> Box:
    """The square that a descriptor is taken of: that of the points and a fifth of their size on every side."""
    return points_box(points, _FACE_MARGIN)


def cut_square(photo: NDArray[np.uint8], box: Box, size: int) -> NDArray[np.uint8]:
    """A box (x, y, side) of a photo, resized to (size, size, 3); beyond the photo's edge its last pixels go on."""
    x, y, side = box
    scale = side / size
    # Sampled in full and averaged after, as bilinear sampling alone would skip pixels.
    factor = max(1, int(scale))
    step, many = scale / factor, (size * factor, size * factor)
    place = np.array([[step, 0, x + 0.5 * step - 0.5], [0, step, y + 0.5 * step - 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    found = cv2.warpAffine(photo, place, many, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found if factor == 1 else cv2.resize(found, (size, size), interpolation=cv2.INTER_AREA))


def landmark_error(found: Points, truth: Points, mask: NDArray[np.uint8] | None = None) -> float:
    """Mean distance of points, over the distance between the eyes' outer corners of the truth (NME).

    Args:
        found: (68, 2) of an output, in px.
        truth: (68, 2) of its reference.
        mask: (H, W), hole = 1: only points of the truth inside it count; None for all.

    Returns:
        0 or more; NaN where no point lies in the hole.
    """
    gaps = np.linalg.norm(found - truth, axis=1)
    if mask is not None:
        columns, rows = (np.clip(truth[:, axis].astype(int), 0, mask.shape[1 - axis] - 1) for axis in (0, 1))
        gaps = gaps[mask[rows, columns] == 1]
    between = float(np.linalg.norm(truth[36] - truth[45]))
    return float(gaps.mean() / max(between, 1e-9)) if gaps.size else float("nan")


class Identity(NamedTuple):
    """How well the people of a set are kept.

    Attributes:
        low: 5th percentile of the similarities.
        share: of outputs above the threshold.
        threshold: the similarity that one pair in 1,000 of different people of this set exceeds.
        impostor: mean similarity of different people.
        high: 95th percentile of it.
        pair_count: pairs of different people.
    """

    low: float
    share: float
    threshold: float
    impostor: float
    high: float
    pair_count: int


def measure_identity(similarities: Sequence[float], truths: NDArray[np.float32]) -> Identity:
    """Similarities of outputs to their truths beside those of the truths to each other.

    Args:
        similarities: of each output, in [-1, 1].
        truths: (N, 128) descriptors of the distinct truths, taken to show N people.
    """
    units = truths.astype(np.float64)
    units /= np.maximum(np.linalg.norm(units, axis=1, keepdims=True), 1e-12)
    others = (units @ units.T)[np.triu_indices(len(units), 1)]
    values = np.asarray(similarities, np.float64)
    low = float(np.percentile(values, 5))
    if not others.size:
        return Identity(low, math.nan, math.nan, math.nan, math.nan, 0)
    threshold = float(np.quantile(others, 0.999, method="higher"))
    share = float((values > threshold).mean())
    return Identity(low, share, threshold, float(others.mean()), float(np.percentile(others, 95)), others.size)


def cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Cosine of two descriptors, in [-1, 1]."""
    first, second = a.astype(np.float64), b.astype(np.float64)
    return float(first @ second / max(float(np.linalg.norm(first) * np.linalg.norm(second)), 1e-12))


def _to_torch(key: str, value: Tensor) -> Tensor:
    if key.endswith("depthwise_filter"):
        return value.permute(2, 3, 0, 1).contiguous()
    return value.permute(3, 2, 0, 1).contiguous() if value.ndim == 4 else value
