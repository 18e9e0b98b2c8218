"""The pen, by which one-pixel lines become about 3 px wide at 256 px; and its dilation for any level, by box sums."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from dpsdata.contracts import UsageError, check_level, check_sketch

if TYPE_CHECKING:
    from torch import Tensor


PenKernel = Literal["A", "B"]

_PENS = {"A": (3, 0.8), "B": (2, 0.55)}  # radius and standard deviation in px
# The published kernel sums to 2 and sees lines of value 2, while lines are 1 here.
_GAIN = 4.0


def smooth_sketch(sketch: Tensor, kernel: PenKernel = "A") -> Tensor:
    """Draw a one-pixel sketch with a soft pen.

    Up to 256 px the published kernels are used as they are. Above, the same drawing should look the same: the pen
    (radius and standard deviation) grows with min(H, W) / 256, and so does the gain, because a one-pixel line is
    thinner in proportion.

    Args:
        sketch: (N, 1, H, W) float in [0, 1], line = 1.
        kernel: "A" (7x7, sigma 0.8, for 256 and 64 px) or "B" (5x5, sigma 0.55, for 128 px).

    Returns:
        (N, 1, H, W) in [0, 1], line = 1; a published value s is (1 - s) / 2 here.

    Raises:
        UsageError: the sketch breaks its contract, or there is no such kernel.

    Source: VITA-Group/DeepPS@3079d46 src/roughSketchSyn.py (MyDilateBlur).
    """
    check_sketch(sketch)
    if kernel not in _PENS:
        raise UsageError(f"kernel: expected A or B, got {kernel!r}")
    scale = max(1.0, min(sketch.shape[-2:]) / _REFERENCE_PX)
    radius, sigma = math.ceil(_PENS[kernel][0] * scale), _PENS[kernel][1] * scale
    bell = [math.exp(-0.5 * (offset / sigma) ** 2) for offset in range(-radius, radius + 1)]
    weights = [value / math.fsum(bell) for value in bell]
    blurred = _filter_along(_filter_along(sketch, weights, -1), weights, -2)
    return (blurred * (_GAIN * scale)).clamp(0.0, 1.0)


def _filter_along(values: Tensor, weights: list[float], axis: int) -> Tensor:
    # Sums of shifted copies, not a convolution: CUDA convolutions may round to TF32 and autocast to bf16.
    radius = len(weights) // 2
    pad = (radius, radius, 0, 0) if axis == -1 else (0, 0, radius, radius)
    padded = F.pad(values, pad, mode="replicate")
    length = values.shape[axis]
    total = padded.narrow(axis, 0, length) * weights[0]
    for offset, weight in enumerate(weights[1:], start=1):
        total.add_(padded.narrow(axis, offset, length), alpha=weight)
    return total


def truth_sketches(sketch: Tensor) -> dict[int, Tensor]:
    """The ground-truth sketches at the three sizes of the network, lines about 3 px wide at each.

    Args:
        sketch: (N, 1, H, W) float in [0, 1], line = 1, one pixel wide; 256 px as published, at most that, and
            sides that 4 divides.

    Returns:
        {H: ..., H // 2: ..., H // 4: ...}, for 256 px {256, 128, 64}; line = 1.

    Raises:
        UsageError: the sketch breaks its contract or has another size.

    Source: VITA-Group/DeepPS@3079d46 src/train.py.
    """
    check_sketch(sketch)
    height, width = sketch.shape[-2:]
    if height % 4 or width % 4 or max(height, width) > _REFERENCE_PX:
        raise UsageError(f"sketch: expected sides of at most 256 px that 4 divides, got {height}x{width}")
    full = smooth_sketch(sketch, "A")
    half = smooth_sketch(_shrink(smooth_sketch(sketch, "B"), height // 2, width // 2), "B")
    quarter = smooth_sketch(_shrink(full, height // 4, width // 4), "A")
    return {height: full, height // 2: half, height // 4: quarter}


def _shrink(sketch: Tensor, height: int, width: int) -> Tensor:
    return F.interpolate(sketch, size=(height, width), mode="bilinear", align_corners=True)


_REFERENCE_PX = 256
PUBLISHED_DIAMETER_PX = 21  # of 256, at level 1
_WIDEST_PX = 4095
_UNIT = 2.0**40  # fixed point: every float32 above 2**-16 is a whole number of units


def max_diameter_px(height: int, width: int, max_diameter: float | None = None) -> int:
    """The largest dilation diameter, odd, in px: that of level 1.

    Args:
        height: in px.
        width: in px.
        max_diameter: rounded up to odd; None: 21 px at 256, scaled with min(height, width), to the nearest odd
            number (11 at 128, 43 at 512, 85 at 1024).

    Raises:
        UsageError: `max_diameter` is outside of [1, 4095].
    """
    if max_diameter is None:
        return scaled_diameter_px(height, width, PUBLISHED_DIAMETER_PX)
    if not 1 <= max_diameter <= _WIDEST_PX:
        raise UsageError(f"max_diameter: expected 1 to {_WIDEST_PX} px, got {max_diameter!r}")
    return 2 * math.ceil((max_diameter - 1) / 2) + 1


def scaled_diameter_px(height: int, width: int, diameter_at_256: float) -> int:
    """A pen that is given in px of 256, at another size: scaled with min(height, width), to the nearest odd number.

    Raises:
        UsageError: the pen is outside of [1, 255] px of 256.
    """
    if not 1 <= diameter_at_256 < _REFERENCE_PX:
        raise UsageError(f"pen: expected a diameter of 1 to 255 px of 256, got {diameter_at_256!r}")
    return 2 * int(diameter_at_256 * min(height, width) / _REFERENCE_PX / 2) + 1


def dilate_sketch(sketch: Tensor, level: float | Tensor, max_diameter: float | None = None) -> Tensor:
    """Thicken the lines of smoothed sketches by a box sum whose diameter is `(max_diameter - 1) * level + 1` px.

    Between two odd diameters the two sums are blended, and the blend is clamped to [0, 1].

    Args:
        sketch: (N, 1, H, W) float in [0, 1], line = 1, smoothed; any device.
        level: refinement level in [0, 1]: a number, or (N,) with one for each sketch.
        max_diameter: diameter at level 1, rounded up to odd, in px; None: 21 at 256, scaled with min(H, W).

    Returns:
        (N, 1, H, W) float32 in [0, 1], line = 1; a published value s is (1 - s) / 2 here.

    Raises:
        UsageError: the sketch, the level or the diameter is out of its range.

    Source: VITA-Group/DeepPS@3079d46 src/roughSketchSyn.py (OneDilate, ConditionalDilate).
    """
    check_sketch(sketch)
    count, _, height, width = sketch.shape
    largest = max_diameter_px(height, width, max_diameter)
    plans = [_plan(value, largest) for value in levels_as_list(level, count)]
    reach = largest // 2
    padded = F.pad(sketch.detach().float(), (reach, reach, reach, reach), mode="replicate")
    # Sums of whole numbers are exact in any order: the same bits on every device, and no drift along an image.
    # Overflow of the running sums wraps around and cancels in the differences.
    fixed = (padded * _UNIT).to(torch.int64)[:, 0]
    table = F.pad(fixed.cumsum(1).cumsum(2), (1, 0, 1, 0))
    out = torch.empty((count, height, width), device=sketch.device)
    for plan in dict.fromkeys(plans):
        samples = [index for index, other in enumerate(plans) if other == plan]
        part = table if len(samples) == count else table[samples]
        small, large, weight = plan
        blend = _box_sums(part, small, reach, height, width)
        if weight:
            blend = blend * (1.0 - weight) + _box_sums(part, large, reach, height, width) * weight
        out[samples] = blend
    return out.clamp_(0.0, 1.0)[:, None]


def levels_as_list(level: float | Tensor, count: int) -> list[float]:
    """One checked level for each of `count` samples, from a number or a (count,) tensor.

    Raises:
        UsageError: a level is outside of [0, 1], or the tensor has another length.
    """
    if not isinstance(level, torch.Tensor):
        return [check_level(level)] * count
    if level.ndim > 1 or (level.ndim == 1 and level.shape[0] not in (1, count)):
        raise UsageError(f"level: expected a number or shape ({count},), got shape {tuple(level.shape)}")
    values = [check_level(value) for value in level.detach().reshape(-1).tolist()]
    return values * count if len(values) == 1 else values


def _plan(level: float, largest: int) -> tuple[int, int, float]:
    """Radii of the two boxes around the diameter of a level, and the weight of the larger one."""
    radius = (largest - 1) / 2 * level
    small = min(int(radius), largest // 2)
    return small, min(small + 1, largest // 2), radius - small


def _box_sums(table: Tensor, radius: int, reach: int, height: int, width: int) -> Tensor:
    near, far = reach - radius, reach + radius + 1
    bands = table[:, far : far + height] - table[:, near : near + height]
    return (bands[:, :, far : far + width] - bands[:, :, near : near + width]).float() / _UNIT


def dilate_sketch_array(
    sketch: NDArray[np.float32], levels: Sequence[float], max_diameter: float | None = None
) -> NDArray[np.float32]:
    """The same dilation of one sketch at many levels, which share their box sums.

    Args:
        sketch: (H, W) float32 in [0, 1], line = 1, smoothed.
        levels: refinement levels in [0, 1].
        max_diameter: as in `dilate_sketch`.

    Returns:
        (L, H, W) float32 in [0, 1], line = 1.

    Raises:
        UsageError: the sketch, a level or the diameter is out of its range.
    """
    if sketch.ndim != 2 or sketch.dtype != np.float32 or sketch.size == 0:
        raise UsageError(f"sketch: expected (H, W) float32, got {sketch.shape} {sketch.dtype}")
    if not (sketch.min() >= -1e-4 and sketch.max() <= 1 + 1e-4):  # written so that NaN fails too
        raise UsageError(f"sketch: expected values in [0, 1], got [{sketch.min():g}, {sketch.max():g}]")
    height, width = sketch.shape
    largest = max_diameter_px(height, width, max_diameter)
    plans = [_plan(check_level(level), largest) for level in levels]
    needed = sorted({plan[0] for plan in plans} | {plan[1] for plan in plans if plan[2]})
    sums = {radius: _box_sum_array(sketch, radius) for radius in needed}
    out = np.empty((len(plans), height, width), np.float32)
    for target, (small, large, weight) in zip(out, plans, strict=True):
        if weight:
            cv2.addWeighted(sums[small], 1.0 - weight, sums[large], weight, 0.0, dst=target)
            np.clip(target, 0.0, 1.0, out=target)
        else:
            np.clip(sums[small], 0.0, 1.0, out=target)
    return out


def _box_sum_array(sketch: NDArray[np.float32], radius: int) -> NDArray[np.float32]:
    size = (2 * radius + 1, 2 * radius + 1)
    summed = cv2.boxFilter(sketch, cv2.CV_32F, size, normalize=False, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(summed, dtype=np.float32)
