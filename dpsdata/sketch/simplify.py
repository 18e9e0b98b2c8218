"""Edge maps to one-pixel sketches: ridges, thinning, area opening."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from dpsdata.contracts import UsageError, check_edges
from dpsdata.sketch.ridges import BitArray, FloatArray, find_ridges
from dpsdata.sketch.thin import thin_lines

if TYPE_CHECKING:
    from torch import Tensor

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

    Source: PostprocessHED of pix2pix, as described in hed_and_dataset.md section 2.
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
