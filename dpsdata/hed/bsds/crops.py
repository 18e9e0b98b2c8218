"""Augmented training crops of photos with the boundaries of several annotators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class LabelledPhoto:
    """A photo and what its annotators marked.

    Attributes:
        photo: uint8 (H, W, 3) RGB.
        boundaries: bool (A, H, W), one map for each annotator.
    """

    photo: NDArray[np.uint8]
    boundaries: NDArray[np.bool_]


class CropSampler:
    """Draws scaled, rotated, flipped crops with labels 1 (edge), 0 (background) and 0.5 (ignored).

    Boundary pixels are moved as points and not as pixels: resampling a one-pixel line loses or thickens it.
    """

    def __init__(self, photos: Sequence[LabelledPhoto], positive_votes: int) -> None:
        self.photos = [item.photo for item in photos]
        self.positive_votes = positive_votes
        self.points = [
            [np.argwhere(boundary)[:, ::-1].astype(np.float32) for boundary in item.boundaries] for item in photos
        ]

    def crop(
        self, generator: np.random.Generator, crop_px: int, scale_low: float, scale_high: float
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """One crop.

        Args:
            generator: all that is random comes from it.
            crop_px: side of the crop.
            scale_low: smallest scale of the photo; drawn uniformly in the logarithm.
            scale_high: largest scale.

        Returns:
            uint8 (crop_px, crop_px, 3) RGB and float32 (crop_px, crop_px) labels.
        """
        index = int(generator.integers(len(self.photos)))
        photo: NDArray[Any] = self.photos[index]
        matrix = self._transform(generator, photo.shape[:2], crop_px, scale_low, scale_high)
        scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
        if scale < 0.7:  # bilinear sampling alone would alias
            photo = cv2.GaussianBlur(photo, (0, 0), 0.4 / scale)
        size = (crop_px, crop_px)
        image = cv2.warpAffine(photo, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        inside: NDArray[Any] = np.ones(photo.shape[:2], np.uint8)
        inside = cv2.warpAffine(inside, matrix, size, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)
        votes = self._votes(index, matrix, crop_px, scale)
        labels = np.where(votes >= self.positive_votes, 1.0, np.where(votes > 0, 0.5, 0.0)).astype(np.float32)
        labels[inside == 0] = 0.5
        return _recolour(generator, image), labels

    @staticmethod
    def _transform(
        generator: np.random.Generator, shape: tuple[int, ...], crop_px: int, scale_low: float, scale_high: float
    ) -> NDArray[np.float64]:
        scale = float(np.exp(generator.uniform(np.log(scale_low), np.log(scale_high))))
        turned = generator.random() < 0.4
        angle = generator.uniform(0, 360) if turned else generator.uniform(-12, 12)
        radians = np.deg2rad(angle)
        linear = scale * np.array([[np.cos(radians), -np.sin(radians)], [np.sin(radians), np.cos(radians)]])
        if generator.random() < 0.5:
            linear[:, 0] *= -1
        reach = crop_px / scale / 2
        centre = [
            generator.uniform(min(reach, length / 2), max(length - reach, length / 2)) for length in reversed(shape)
        ]
        offset = np.array([(crop_px - 1) / 2] * 2) - linear @ np.array(centre)
        return np.column_stack([linear, offset])

    def _votes(self, index: int, matrix: NDArray[np.float64], crop_px: int, scale: float) -> NDArray[np.uint8]:
        votes = np.zeros(crop_px * crop_px, np.uint8)
        # Above full scale neighbouring points fall more than a pixel apart: four points for each close the gaps.
        offsets = [(0.0, 0.0)] if scale <= 1 else [(-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25)]
        linear = matrix[:, :2].astype(np.float32)
        for points in self.points[index]:
            marked = np.zeros(crop_px * crop_px, bool)
            for offset in offsets:
                shift = (matrix[:, :2] @ np.array(offset) + matrix[:, 2]).astype(np.float32)
                moved = np.rint(points @ linear.T + shift).astype(np.int32)
                keep = ((moved >= 0) & (moved < crop_px)).all(axis=1)
                marked[moved[keep, 1] * crop_px + moved[keep, 0]] = True
            votes += marked
        return votes.reshape(crop_px, crop_px)


def _recolour(generator: np.random.Generator, image: NDArray[Any]) -> NDArray[np.uint8]:
    """Vary contrast, brightness and colour balance; one photo in ten turns grey."""
    pixels = image.astype(np.float32)
    if generator.random() < 0.1:
        pixels = np.repeat(pixels.mean(axis=2, keepdims=True), 3, axis=2)
    gain = generator.uniform(0.75, 1.25) * generator.uniform(0.94, 1.06, size=3)
    pixels = (pixels - 128) * gain.astype(np.float32) + 128 + np.float32(generator.uniform(-20, 20))
    recoloured: NDArray[np.uint8] = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    return recoloured
