"""The regions that scores are taken over, the hard composite, and the bins of the hole ratio."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from dpsdata.contracts import UsageError

REGIONS: Final = ("full", "hole", "ring")
RING_WIDTH_PX = 8  # at 256 px, about the reach of the hole's edge in SSIM windows and shallow feature maps
REFERENCE_SIDE_PX = 256
# Name -> (low, high], as PConv bins the ratio of hole to image; what lies above its last bin has one of its own.
HOLE_BINS: Final[dict[str, tuple[float, float]]] = {
    "0.01-0.1": (0.01, 0.1),
    "0.1-0.2": (0.1, 0.2),
    "0.2-0.3": (0.2, 0.3),
    "0.3-0.4": (0.3, 0.4),
    "0.4-0.5": (0.4, 0.5),
    "0.5-0.6": (0.5, 0.6),
    "0.6-1": (0.6, 1.0),
}
SMALLEST_HOLES = "0-0.01"


def check_photos(output: NDArray[np.uint8], truth: NDArray[np.uint8]) -> None:
    """Raise UsageError unless both are uint8 RGB (H, W, 3) of one size."""
    for name, photo in (("output", output), ("truth", truth)):
        if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3 or photo.size == 0:
            raise UsageError(f"{name}: expected uint8 RGB (H, W, 3), got {photo.dtype} {photo.shape}")
    if output.shape != truth.shape:
        raise UsageError(f"output: expected the size of its truth, {truth.shape}, got {output.shape}")


def check_hard_mask(mask: NDArray[np.uint8], height: int, width: int) -> None:
    """Raise UsageError unless `mask` is (height, width) with values 0 (known) and 1 (hole) only."""
    if mask.shape != (height, width):
        raise UsageError(f"mask: expected the size of its photo, ({height}, {width}), got {mask.shape}")
    if mask.dtype != np.uint8 or int(mask.max()) > 1:
        raise UsageError(f"mask: expected uint8 with 0 (known) and 1 (hole), got {mask.dtype} up to {mask.max()}")


def composite(output: NDArray[np.uint8], truth: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The output inside of the hole, and the truth around it.

    Args:
        output: uint8 RGB (H, W, 3), as the method wrote it.
        truth: uint8 RGB (H, W, 3).
        mask: uint8 (H, W) in {0, 1}, hole = 1.

    Returns:
        uint8 RGB (H, W, 3).

    Raises:
        UsageError: wrong types, or sizes that differ.
    """
    check_photos(output, truth)
    check_hard_mask(mask, *truth.shape[:2])
    result = truth.copy()
    cv2.copyTo(output, mask, result)
    return result


def region_masks(mask: NDArray[np.uint8]) -> dict[str, NDArray[np.bool_]]:
    """The pixels of each region.

    Args:
        mask: uint8 (H, W) in {0, 1}, hole = 1.

    Returns:
        Bool (H, W) under each name of `REGIONS`. `ring`: known pixels within 8 px (at 256 px; scaled with the smaller
        side) of the hole. `hole` and `ring` may be empty.
    """
    check_hard_mask(mask, *mask.shape[:2])
    hole = mask == 1
    ring = np.zeros_like(hole)
    if hole.any() and not hole.all():
        width_px = max(1, round(RING_WIDTH_PX * min(hole.shape) / REFERENCE_SIDE_PX))
        distance = cv2.distanceTransform(1 - mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        # OpenCV's last bits change from call to call; the squares are whole numbers.
        ring = (np.rint(distance.astype(np.float64) ** 2) <= width_px**2) & ~hole
    return {"full": np.ones_like(hole), "hole": hole, "ring": ring}


def hole_ratio(mask: NDArray[np.uint8]) -> float:
    """Share of the pixels that lie in the hole, in [0, 1]."""
    check_hard_mask(mask, *mask.shape[:2])
    return int(np.count_nonzero(mask)) / mask.size


def hole_bin(ratio: float) -> str:
    """Name of the bin of a hole ratio: one of `HOLE_BINS`, or `0-0.01` below them.

    Source: Liu et al., Image Inpainting for Irregular Holes Using Partial Convolutions, ECCV 2018, section 4.
    """
    if not 0.0 <= ratio <= 1.0:
        raise UsageError(f"hole ratio: expected a number in [0, 1], got {ratio!r}")
    return next((name for name, (low, high) in HOLE_BINS.items() if low < ratio <= high), SMALLEST_HOLES)
