"""Floors of every comparison: the mean colour, and OpenCV's inpainting after Telea and after Navier-Stokes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dpsdata.images.codec import photo_to_tensor, tensor_to_photo
from dpsdata.runtime.device import choose_device
from models.methods.predictor import LoadOptions, MethodProvenance, Painting, check_baseline_precision
from models.methods.registry import Method

# Pixels around a hole that each of its pixels is made from; 3 as in OpenCV's tutorial, at any size of photo.
INPAINT_RADIUS_PX = 3
_MID_GREY = 128

Photo = NDArray[np.uint8]


class FloorPredictor:
    """A classical method behind the protocol of all methods, on 8-bit photos, always on the CPU.

    Args:
        method: its entry of the registry.
        fill: uint8 photo (H, W, 3) with an even hole and hole (H, W) of 0 and 1 to a filled photo.
        reads: what the comparison says of it.
    """

    resolution: int | None = None

    def __init__(self, method: Method, fill: Callable[[Photo, Photo], Photo], reads: str) -> None:
        self.method, self.fill = method, fill
        self.device = torch.device("cpu")
        self.provenance = MethodProvenance("no weights", {}, method.licence, reads)

    def predict(self, photo: Tensor, sketch: Tensor, mask: Tensor, ids: Sequence[str], level: float | None) -> Painting:
        """See `MethodPredictor.predict`; the photo and the mask alone matter."""
        holes = mask[:, 0].cpu().numpy().astype(np.uint8)
        photos = tensor_to_photo(photo)
        filled = [self.fill(fill_mean_color(one, hole), hole) for one, hole in zip(photos, holes, strict=True)]
        return Painting(photo_to_tensor(np.stack(filled)))


def fill_mean_color(photo: Photo, hole: Photo) -> Photo:
    """Fill a hole with the mean colour of the known pixels, rounded; with mid grey where nothing is known.

    Args:
        photo: uint8 (H, W, 3).
        hole: uint8 (H, W), hole = 1.
    """
    known = photo[hole == 0]
    color = np.round(known.mean(axis=0)) if len(known) else np.full(3, _MID_GREY)
    filled = photo.copy()
    filled[hole == 1] = color.astype(np.uint8)
    return filled


def load_mean_color(method: Method, options: LoadOptions) -> FloorPredictor:
    """The mean colour; of the options, the device and the precision have to exist, as for every baseline."""
    _check_options(method, options)
    return FloorPredictor(method, lambda photo, hole: photo, "mean of all known pixels of the photo")


def load_telea(method: Method, options: LoadOptions) -> FloorPredictor:
    """OpenCV's fast marching method; for the options see `load_mean_color`."""
    return _opencv(method, options, cv2.INPAINT_TELEA)


def load_navier_stokes(method: Method, options: LoadOptions) -> FloorPredictor:
    """OpenCV's Navier-Stokes method; for the options see `load_mean_color`."""
    return _opencv(method, options, cv2.INPAINT_NS)


def _check_options(method: Method, options: LoadOptions) -> None:
    choose_device(options.device)
    check_baseline_precision(method, options.precision)


def _opencv(method: Method, options: LoadOptions, flag: int) -> FloorPredictor:
    _check_options(method, options)

    def fill(photo: Photo, hole: Photo) -> Photo:
        # Where nothing is known there is nothing to begin from.
        if hole.all() or not hole.any():
            return photo
        return np.asarray(cv2.inpaint(photo, hole, INPAINT_RADIUS_PX, flag), np.uint8)

    return FloorPredictor(method, fill, f"8-bit photo, radius {INPAINT_RADIUS_PX} px")
