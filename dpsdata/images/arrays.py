"""Photos as arrays: the square crop, the named resamplers, and the way to tensors and back.

A photo that is not square is cropped to its middle square first, then resized: faces keep their shape.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray
from PIL import Image

from dpsdata.contracts import UsageError

if TYPE_CHECKING:
    import torch
    from torch import Tensor


RESAMPLERS = ("area", "lanczos", "bicubic", "nearest")


def crop_square(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The middle square of (H, W, ...); of an odd rest the extra row or column goes from the end."""
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return pixels[top : top + side, left : left + side]


def resize_nearest(pixels: npt.NDArray[Any], height: int, width: int) -> npt.NDArray[Any]:
    """Resize (H, W, ...) by the pixel whose square holds the new pixel's centre; no value is mixed."""
    rows = (2 * np.arange(height) + 1) * pixels.shape[0] // (2 * height)
    columns = (2 * np.arange(width) + 1) * pixels.shape[1] // (2 * width)
    return np.ascontiguousarray(pixels[rows[:, None], columns[None, :]])


def resize_photo(rgb: npt.NDArray[np.uint8], size: int, resampler: str = "area") -> npt.NDArray[np.uint8]:
    """Crop to the middle square and resize to `size` x `size`.

    Args:
        rgb: uint8 (H, W, 3).
        size: side of the result, px, at least 1.
        resampler: `area` (mean over the covered area; bicubic where the photo grows), `lanczos` or
            `bicubic` (both of Pillow, antialiased when shrinking), or `nearest`.

    Returns:
        uint8 (size, size, 3); of the right size already, the pixels are unchanged.

    Raises:
        UsageError: unknown resampler, wrong shape, type or size.
    """
    if resampler not in RESAMPLERS:
        raise UsageError(f"resampler: expected one of {', '.join(RESAMPLERS)}, got {resampler!r}")
    if size < 1:
        raise UsageError(f"size: expected at least 1 px, got {size}")
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or not rgb.size:
        raise UsageError(f"photo: expected uint8 (H, W, 3), got {rgb.dtype} of shape {rgb.shape}")
    square = np.ascontiguousarray(crop_square(rgb))
    if square.shape[0] == size:
        return square.copy()
    if resampler == "nearest":
        return resize_nearest(square, size, size)
    if resampler == "area" and square.shape[0] > size:
        return np.asarray(cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA), np.uint8)
    kernel = Image.Resampling.LANCZOS if resampler == "lanczos" else Image.Resampling.BICUBIC
    return np.array(Image.fromarray(square).resize((size, size), kernel))


def photos_to_planes(photos: npt.NDArray[np.uint8], device: torch.device | str = "cpu") -> Tensor:
    """uint8 (N, H, W, 3) RGB as float32 (N, 3, H, W) from 0 to 255 on a device, its channels last in memory.

    Raises:
        UsageError: another type or shape, or no photo.
    """
    import torch  # here, since reading images must not cost the start of torch

    if photos.dtype != np.uint8 or photos.ndim != 4 or photos.shape[3] != 3 or not photos.size:
        raise UsageError(f"photos: expected uint8 (N, H, W, 3), got {photos.dtype} of shape {photos.shape}")
    # Pillow's arrays are read-only, of which torch warns.
    return torch.from_numpy(np.require(photos, requirements=("C", "W"))).to(device).permute(0, 3, 1, 2).float()


def photo_to_tensor(photos: npt.NDArray[np.uint8]) -> Tensor:
    """Photos from the numpy door to the contract tensor.

    Args:
        photos: uint8 (N, H, W, 3) RGB.

    Returns:
        float32 (N, 3, H, W) in [-1, 1].
    """
    return (photos_to_planes(photos) / 127.5 - 1).contiguous()


def tensor_to_photo(photo: Tensor) -> npt.NDArray[np.uint8]:
    """The contract tensor as 8-bit photos: rounded to nearest, then clipped.

    Args:
        photo: float (N, 3, H, W) RGB; values outside of [-1, 1] are clipped.

    Returns:
        uint8 (N, H, W, 3).
    """
    import torch

    if photo.ndim != 4 or photo.shape[1] != 3:
        raise UsageError(f"photo: expected shape (N, 3, H, W), got {tuple(photo.shape)}")
    rounded = torch.round((photo.detach().to("cpu", torch.float32) + 1) * 127.5).clamp(0, 255)
    return np.ascontiguousarray(rounded.to(torch.uint8).permute(0, 2, 3, 1).numpy())


MAX_SPECKS = 0.012  # pieces a pixel; a drawing, an edge map and a photo in black and white have under half of that


def count_pieces(marks: NDArray[np.bool_]) -> int:
    """Pieces of marks, (H, W), and of the ground between them; a photo in dots of one colour has thousands."""
    bits = np.ascontiguousarray(marks, np.uint8)
    return cv2.connectedComponents(bits, connectivity=8)[0] + cv2.connectedComponents(1 - bits, connectivity=4)[0] - 2


_SIDE = 16
_GRID_PX = 64
LOOK_BITS = _SIDE * _SIDE


def hash_look(image: NDArray[np.uint8]) -> str:
    """A perceptual hash of uint8 (S, S, 3), 64 hex digits: where brightness rises from left to right, 16 x 16 times."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_SIDE + 1, _SIDE), interpolation=cv2.INTER_AREA).astype(np.int16)
    return np.packbits(small[:, 1:] > small[:, :-1]).tobytes().hex()


def measure_colors(photo: NDArray[np.uint8]) -> tuple[int, float]:
    """Number of colours, and the share of the most frequent, of uint8 (H, W, 3) at 64 x 64 points."""
    rows = np.linspace(0, photo.shape[0] - 1, min(_GRID_PX, photo.shape[0])).astype(int)
    columns = np.linspace(0, photo.shape[1] - 1, min(_GRID_PX, photo.shape[1])).astype(int)
    points = photo[rows[:, None], columns[None, :]].reshape(-1, 3).astype(np.int32)
    counts = np.unique(points @ np.array([65536, 256, 1], np.int32), return_counts=True)[1]
    return len(counts), float(counts.max() / counts.sum())
