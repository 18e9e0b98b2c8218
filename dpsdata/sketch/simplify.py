"""Edge maps to one-pixel sketches: ridges, thinning by look-up tables, area opening.

Every step gives the same bits on every CPU and with any number of threads: orientations come from sums of integers
(exact in float64, so their order does not matter) and need no arctangent, and all that is rounded is rounded by
single IEEE operations in a fixed order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from dpsdata.contracts import UsageError, check_edges

if TYPE_CHECKING:
    from torch import Tensor


def _thinning_tables() -> tuple[BitArray, BitArray]:
    """Which pixels the two Guo-Hall sub-iterations keep, by the 8 neighbours as bits (E first, then NE, N, ...)."""
    tables = (np.ones(256, np.uint8), np.ones(256, np.uint8))
    for code in range(256):
        n = [bool(code >> bit & 1) for bit in range(8)]
        ring = [*n, n[0]]
        crossings = sum(not ring[i] and (ring[i + 1] or ring[(i + 2) % 8]) for i in range(0, 8, 2))
        pairs_a = sum(n[i] or n[i + 1] for i in range(0, 8, 2))
        pairs_b = sum(n[i] or n[(i + 1) % 8] for i in range(1, 8, 2))
        if crossings != 1 or not 2 <= min(pairs_a, pairs_b) <= 3:
            continue
        tables[0][code] = (n[1] or n[2] or not n[7]) and n[0]
        tables[1][code] = (n[5] or n[6] or not n[3]) and n[4]
    return tables


_KEEP_FIRST, _KEEP_SECOND = _thinning_tables()
_NEIGHBOUR_BITS = np.array([[8, 4, 2], [16, 0, 1], [32, 64, 128]], np.float32)


def thin_lines(lines: BitArray) -> BitArray:
    """Thin lines to one pixel, until nothing changes; everything off the image is paper.

    Args:
        lines: (H, W) uint8 in {0, 1}, line = 1.

    Returns:
        (H, W) uint8 in {0, 1}.

    Source: Guo and Hall 1989, as in MATLAB's `bwmorph thin` and scikit-image's `thin`.
    """
    thin = lines.copy()
    before, count = -1, cv2.countNonZero(thin)
    while count != before:
        before = count
        for keep in (_KEEP_FIRST, _KEEP_SECOND):
            code = cv2.filter2D(thin, cv2.CV_8U, _NEIGHBOUR_BITS, borderType=cv2.BORDER_CONSTANT)
            cv2.bitwise_and(thin, cv2.LUT(code, keep), dst=thin)
        count = cv2.countNonZero(thin)
    return thin


FloatArray = NDArray[np.float64]
BitArray = NDArray[np.uint8]

_FLATNESS = 1e-5  # keeps the orientation of flat areas defined
_BLOCK_PX = 8192  # so many pixels at a time keep the temporary arrays in the cache
_REFERENCE_PX = 256


@dataclass(frozen=True)
class SimplifyConfig:
    """How an edge map becomes a thin sketch; the defaults are the published constants for 256 px.

    Args:
        threshold: smallest edge strength that is kept, in (0, 1].
        min_component_px: smallest 8-connected line that is kept, in px.
        nms_radius: distance over which a ridge must be the maximum, in px.
        border_px: width of the border over which edges fade to 0, in px.
        nms_multiplier: how much a pixel is favoured over its neighbours, at least 1.
        triangle_radius: radius of the triangle filter before the orientation, in px.

    Raises:
        UsageError: a value is outside of its range.
    """

    threshold: float = 25 / 255
    min_component_px: int = 5
    nms_radius: int = 1
    border_px: int = 5
    nms_multiplier: float = 1.01
    triangle_radius: int = 4

    def __post_init__(self) -> None:
        _check_number("threshold", self.threshold, 0 < self.threshold <= 1, "a number in (0, 1]")
        _check_number("nms_multiplier", self.nms_multiplier, 1 <= self.nms_multiplier < 10, "a number in [1, 10)")
        for name, low, high in _INTEGER_RANGES:
            value = getattr(self, name)
            whole = isinstance(value, int) and not isinstance(value, bool)
            _check_number(name, value, whole and low <= value <= high, f"a whole number in [{low}, {high}]")

    @classmethod
    def for_size(cls, size: int) -> SimplifyConfig:
        """The constants for maps whose shorter side is `size` px.

        The same photo at twice the size gives ridges twice as wide and lines twice as long, so all lengths (filter
        radius, suppression radius, border, shortest line) grow by `size / 256`, rounded, and by 1 at least. Edge
        strengths do not change with size, so the threshold and the multiplier stay.

        Args:
            size: min(H, W) in px.
        """
        scale = max(1, int(size / _REFERENCE_PX + 0.5))
        base = cls()
        return cls(
            min_component_px=base.min_component_px * scale,
            nms_radius=base.nms_radius * scale,
            border_px=base.border_px * scale,
            triangle_radius=base.triangle_radius * scale,
        )


_INTEGER_RANGES = (
    ("min_component_px", 1, 1_000_000),
    ("nms_radius", 1, 64),
    ("border_px", 0, 10_000),
    ("triangle_radius", 1, 64),
)


def _check_number(name: str, value: object, good: bool, expected: str) -> None:
    if not good:
        raise UsageError(f"SimplifyConfig.{name}: expected {expected}, got {value!r}")


def simplify_edges(edges: Tensor, config: SimplifyConfig | None = None) -> Tensor:
    """Turn edge maps into one-pixel sketches.

    Args:
        edges: (N, 1, H, W) float in [0, 1], edge = 1, H and W at least 3 px; on any device, computed on the CPU.
        config: the constants; None: `SimplifyConfig.for_size(min(H, W))`, the published ones up to 383 px.

    Returns:
        (N, 1, H, W) in {0, 1}, line = 1, on the device and with the dtype of `edges`.

    Raises:
        UsageError: the shape, the type or the range of `edges` is wrong.

    Source: PostprocessHED of pix2pix.
    """
    check_edges(edges)
    on_cpu = edges.detach().cpu()
    maps = on_cpu if on_cpu.dtype in (torch.float32, torch.float64) else on_cpu.float()
    sketches = np.stack([simplify_edge_map(one, config) for one in maps[:, 0].numpy()])
    return torch.from_numpy(sketches)[:, None].to(device=edges.device, dtype=edges.dtype)


def simplify_edge_map(edges: NDArray[Any], config: SimplifyConfig | None = None) -> BitArray:
    """Turn one edge map, as it is stored or as floats, into a one-pixel sketch.

    Args:
        edges: (H, W), uint16 with 65535 = edge (the stored form; read as float32), or float in [0, 1].
        config: the constants; None: `SimplifyConfig.for_size(min(H, W))`.

    Returns:
        (H, W) uint8 in {0, 1}, line = 1.

    Raises:
        UsageError: the shape, the type or the range of `edges` is wrong.
    """
    strength = _as_float64(edges)
    config = config or SimplifyConfig.for_size(min(strength.shape))
    return _drop_small_components(thin_lines(find_ridges(strength, config)), config.min_component_px)


def _as_float64(edges: NDArray[Any]) -> FloatArray:
    if edges.ndim != 2 or min(edges.shape) < 3:
        raise UsageError(f"edges: expected shape (H, W) of at least 3x3 px, got {edges.shape}")
    if edges.dtype == np.uint16:
        # float32 first, so that a map read from disk into a tensor gives the same bits
        edges = edges.astype(np.float32) / np.float32(65535)
    if edges.dtype.kind != "f":
        raise UsageError(f"edges: expected uint16 or float, got {edges.dtype}")
    if not (edges.min() >= -1e-4 and edges.max() <= 1 + 1e-4):  # written so that NaN fails too
        raise UsageError(f"edges: expected values in [0, 1], got [{edges.min():g}, {edges.max():g}]")
    return np.ascontiguousarray(edges, dtype=np.float64)


def _drop_small_components(lines: BitArray, min_component_px: int) -> BitArray:
    _, labels, stats, _ = cv2.connectedComponentsWithStats(lines, connectivity=8)
    keep = (stats[:, cv2.CC_STAT_AREA] >= min_component_px).astype(np.uint8)
    keep[0] = 0  # label 0 is the paper
    kept: BitArray = keep[labels]
    return kept


def find_ridges(strength: FloatArray, config: SimplifyConfig) -> BitArray:
    """Pixels that reach the threshold after the fade and are maxima across their line.

    Args:
        strength: (H, W) float64 in [0, 1], edge = 1, at least 3x3 px, contiguous.
        config: the constants.

    Returns:
        (H, W) uint8 in {0, 1}.

    Source: edgesNms of the structured edge detector.
    """
    height, width = strength.shape
    smoothed = _smooth_for_orientation(strength, config.triangle_radius)
    fade_x, fade_y = fade_weights(width, config.border_px), fade_weights(height, config.border_px)
    # The fade and the suppression only take away: a pixel under the threshold needs no orientation.
    strong = np.flatnonzero(strength >= config.threshold)
    lines = np.zeros(height * width, np.uint8)
    for start in range(0, strong.size, _BLOCK_PX):
        pixel = strong[start : start + _BLOCK_PX]
        y = pixel // width
        x = pixel - y * width
        value = strength.take(pixel)
        kept = np.flatnonzero(value * fade_x.take(x) * fade_y.take(y) >= config.threshold)
        pixel, y, x, limit = pixel.take(kept), y.take(kept), x.take(kept), value.take(kept) * config.nms_multiplier
        cosine, sine = _directions(smoothed, y, x)
        for distance in range(1, config.nms_radius + 1):
            for step in (distance, -distance):
                beside = _sample(strength, y + step * sine, x + step * cosine)
                kept = np.flatnonzero(limit >= beside)
                pixel, y, x, limit = pixel.take(kept), y.take(kept), x.take(kept), limit.take(kept)
                cosine, sine = cosine.take(kept), sine.take(kept)
        lines[pixel] = 1
    return lines.reshape(height, width)


def fade_weights(length: int, border_px: int) -> FloatArray:
    """Weights of one row or column: 0, 1/border, 2/border, ... from both ends, 1 between."""
    position = np.arange(length)
    to_edge = np.minimum(position, position[::-1])
    return np.minimum(to_edge, border_px) / border_px if border_px else np.ones(length)


@dataclass(frozen=True)
class _Smoothed:
    """The triangle-filtered map times `scale`, whole numbers, with a margin of 2 px on all sides."""

    values: FloatArray
    scale: float


def _smooth_for_orientation(strength: FloatArray, radius: int) -> _Smoothed:
    weights = np.concatenate([np.arange(1, radius + 2), np.arange(radius, 0, -1)]).astype(np.float64)
    # Fixed point, with as many bits as keep second differences of the weighted sums exact in float64.
    unit = 2.0 ** (50 - math.ceil(4 * math.log2(radius + 1)))
    fixed = strength * unit
    np.rint(fixed, out=fixed)
    height, width = strength.shape
    values = np.empty((height + 4, width + 4))
    inner = values[2:-2, 2:-2]
    inner[:] = cv2.sepFilter2D(fixed, cv2.CV_64F, weights, weights, borderType=cv2.BORDER_REFLECT)
    # With these margins central differences, taken twice, equal the published ones, which are one-sided at borders.
    for rows in (values[:, 2:-2], values[::-1, 2:-2], values.T, values.T[::-1]):
        rows[1] = 2 * rows[2] - rows[3]
        rows[0] = rows[4] - 4 * rows[3] + 4 * rows[2]
    return _Smoothed(values, (radius + 1) ** 4 * unit)


def _directions(smoothed: _Smoothed, y: NDArray[np.intp], x: NDArray[np.intp]) -> tuple[FloatArray, FloatArray]:
    """Cosine and sine of the direction across the line (up to a common sign).

    The published angle is atan(Oyy * sign(-Oxy) / (Oxx + 1e-5)); its cosine and sine need no trigonometry.
    """
    values, row = smoothed.values, smoothed.values.shape[1]
    here = (y + 2) * row + (x + 2)
    twice = 2 * values.take(here)
    oxx = values.take(here + 2) + values.take(here - 2) - twice
    oyy = values.take(here + 2 * row) + values.take(here - 2 * row) - twice
    diagonal = values.take(here + (row + 1)) + values.take(here - (row + 1))
    oxy = diagonal - values.take(here + (row - 1)) - values.take(here - (row - 1))
    across = oxx + 4 * smoothed.scale * _FLATNESS
    along = oyy * np.sign(-oxy)
    length = np.sqrt(across * across + along * along)
    undefined = length == 0
    across[undefined], length[undefined] = 1.0, 1.0
    return across / length, along / length


def _sample(image: FloatArray, y: FloatArray, x: FloatArray) -> FloatArray:
    """Bilinear samples; coordinates are clamped to [0, size - 1.001], so that a right neighbour always exists."""
    height, width = image.shape
    np.clip(y, 0.0, height - 1.001, out=y)
    np.clip(x, 0.0, width - 1.001, out=x)
    top, left = y.astype(np.intp), x.astype(np.intp)
    fy, fx = y - top, x - left
    corner = top * width + left
    upper = image.take(corner) * (1 - fx) + image.take(corner + 1) * fx
    corner += width
    lower = image.take(corner) * (1 - fx) + image.take(corner + 1) * fx
    between: FloatArray = upper * (1 - fy) + lower * fy
    return between
