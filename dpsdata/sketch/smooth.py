"""The pen: one-pixel lines become about 3 px wide at 256 px."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import torch.nn.functional as F

from dpsdata.contracts import UsageError, check_sketch

if TYPE_CHECKING:
    from torch import Tensor

PenKernel = Literal["A", "B"]

_REFERENCE_PX = 256
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
