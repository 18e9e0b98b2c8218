"""Rough sketches for training: deformed, with strokes missing, then dilated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from dpsdata.contracts import UsageError, check_sketch
from dpsdata.runtime.device import keyed_generator
from dpsdata.sketch.dilate import dilate_sketch, levels_as_list, max_diameter_px

if TYPE_CHECKING:
    from torch import Tensor

_REFERENCE_PX = 256
_MAX_MOVE_PX = 20.0  # at 256 px and level 1
_GRID = 16
_FILTER_RADIUS = 4  # and full width at half maximum, in cells of the grid
_MAX_RECTANGLES = 2


@dataclass(frozen=True)
class RoughDraws:
    """The random draws of a batch of rough sketches, on the CPU until they are used.

    Args:
        noise: (N, 2, 16, 16) float32, standard normal: moves along x, then along y.
        rectangles: (N, 2, 4) int64: top, left, height, width in px; a rectangle of size 0 discards nothing.
    """

    noise: Tensor
    rectangles: Tensor


def draw_rough(sample_ids: Sequence[str], height: int, width: int, seed: int, turn: int = 0) -> RoughDraws:
    """Draw what makes each sketch of a batch rough, from (seed, sample id, turn) alone.

    Args:
        sample_ids: one id for each sketch; batch order and worker count change nothing.
        height: of the sketches, in px.
        width: in px.
        seed: the run's seed.
        turn: epoch or step; another turn gives the same sample other draws.

    Source: VITA-Group/DeepPS@3079d46 src/roughSketchSyn.py.
    """
    if min(height, width) < 8:
        raise UsageError(f"rough sketch: expected sides of at least 8 px, got {height}x{width}")
    noise = np.empty((len(sample_ids), 2, _GRID, _GRID), np.float32)
    rectangles = np.zeros((len(sample_ids), _MAX_RECTANGLES, 4), np.int64)
    for index, sample in enumerate(sample_ids):
        deform = keyed_generator(seed, sample, f"rough-deform:{turn}")
        noise[index] = deform.standard_normal((2, _GRID, _GRID), np.float32)
        discard = keyed_generator(seed, sample, f"rough-discard:{turn}")
        for rectangle in range(int(discard.integers(0, _MAX_RECTANGLES + 1))):
            tall = int(discard.integers(height // 8, height // 4))
            wide = int(discard.integers(width // 8, width // 4))
            top = int(discard.integers(0, height - tall + 1))
            left = int(discard.integers(0, width - wide + 1))
            rectangles[index, rectangle] = (top, left, tall, wide)
    return RoughDraws(torch.from_numpy(noise), torch.from_numpy(rectangles))


def deform_sketch(sketch: Tensor, max_move_px: float | Tensor, noise: Tensor) -> Tensor:
    """Move the lines of smoothed sketches by a smooth random field.

    Args:
        sketch: (N, 1, H, W) float in [0, 1], line = 1.
        max_move_px: hard limit of the move along each axis, in px: a number, or (N,).
        noise: (N, 2, 16, 16), standard normal: along x, then along y; any device.

    Returns:
        (N, 1, H, W) in [0, 1], line = 1.

    Raises:
        UsageError: the sketch breaks its contract, the noise has another shape, or a move is negative.

    Source: VITA-Group/DeepPS@3079d46 src/roughSketchSyn.py (RandomDeform); sampled with align_corners=True,
        as PyTorch 1.2 did.
    """
    check_sketch(sketch)
    field = deform_grid(sketch.shape[0], sketch.shape[2], sketch.shape[3], max_move_px, noise, sketch.device)
    # No coordinate leaves the image, so that the padding mode only decides about rounding at its rim.
    return F.grid_sample(sketch, field.to(sketch.dtype), mode="bilinear", padding_mode="border", align_corners=True)


def simulate_sketch(edges: Tensor, max_move_px: float | Tensor, noise: Tensor, filter_radius: int = 5) -> Tensor:
    """SketchRefiner's deformable sketch simulation, which turns edge maps into rough sketches.

    Args:
        edges: (N, 1, H, W) float in [0, 1], line = 1.
        max_move_px: hard limit of the move along each axis, in px: a number, or (N,); 20 as published.
        noise: (N, 2, g, g), standard normal: along x, then along y; g = 10 as published.
        filter_radius: of the Gaussian that smooths the noise, in cells of it.

    Returns:
        (N, 1, H, W) in [0, 1], line = 1, grey at the rims of lines. Moves aside, the image is stretched about its
        centre by up to half a pixel, as published.

    Raises:
        UsageError: the edges break their contract, the noise has another shape, or a move is negative.

    Source: AlonzoLeeeooo/SketchRefiner@bddc77e.
    """
    check_sketch(edges)
    size, grid = edges.shape, noise.shape[-1]
    field = deform_grid(size[0], size[2], size[3], max_move_px, noise, edges.device, grid, filter_radius)
    return F.grid_sample(edges, field.to(edges.dtype), mode="bilinear", padding_mode="zeros", align_corners=False)


def deform_grid(
    count: int,
    height: int,
    width: int,
    max_move_px: float | Tensor,
    noise: Tensor,
    device: torch.device,
    grid: int = _GRID,
    filter_radius: int = _FILTER_RADIUS,
) -> Tensor:
    """The sampling grid of `deform_sketch` and `simulate_sketch`: (N, H, W, 2) float32 in [-1, 1], x first."""
    if tuple(noise.shape) != (count, 2, grid, grid):
        raise UsageError(f"noise: expected shape ({count}, 2, {grid}, {grid}), got {tuple(noise.shape)}")
    moves = torch.as_tensor(max_move_px, dtype=torch.float32).to(device)
    if moves.ndim > 1 or (moves.ndim == 1 and moves.shape[0] not in (1, count)):
        raise UsageError(f"max_move_px: expected a number or shape ({count},), got shape {tuple(moves.shape)}")
    if not bool((moves >= 0).all()):  # written so that NaN fails too
        raise UsageError("max_move_px: expected moves of 0 px or more")
    limit = 2.0 * moves.reshape(-1, 1, 1, 1) / torch.tensor([width, height], device=device).reshape(1, 2, 1, 1)
    moved = _smooth_noise(noise.detach().cpu().float().numpy(), filter_radius).to(device) * limit
    moved = torch.minimum(torch.maximum(moved, -limit), limit)
    moved = F.interpolate(moved, size=(height, width), mode="bilinear", align_corners=False)
    x = moved[:, 0] + _positions(width, device)
    y = moved[:, 1] + _positions(height, device)[:, None]
    return torch.stack([x, y], dim=-1).clamp(-1.0, 1.0)


def _positions(length: int, device: torch.device) -> Tensor:
    # Near 1 one float32 step of the grid already moves a steep line by 3e-5, so the published arithmetic is kept:
    # linspace rounds otherwise.
    return 2.0 * torch.arange(length, device=device, dtype=torch.float32) / max(1, length - 1) - 1.0


def _smooth_noise(noise: NDArray[np.float32], radius: int = _FILTER_RADIUS) -> Tensor:
    """Gaussian of the small noise grids, as wide at half maximum as its radius, on the CPU.

    It is rounded tap by tap as a fused multiply-add does.
    A convolution would add in an order that depends on the CPU or, on CUDA, round to TF32; see `_positions`.
    """
    offsets = np.arange(-radius, radius + 1)
    bell = np.exp(-4.0 * math.log(2.0) * (offsets / radius) ** 2)
    weights = (np.outer(bell, bell) / np.outer(bell, bell).sum()).astype(np.float32).astype(np.float64)
    rim = (radius, radius)
    grid = noise.shape[-1]
    padded = np.pad(noise, ((0, 0), (0, 0), rim, rim), mode="edge").astype(np.float64)
    total = np.zeros(noise.shape, np.float32)
    for (row, column), weight in np.ndenumerate(weights):
        total = (total + padded[..., row : row + grid, column : column + grid] * weight).astype(np.float32)
    return torch.from_numpy(total)


def discard_strokes(sketch: Tensor, rectangles: Tensor) -> Tensor:
    """Erase rectangles from sketches.

    Args:
        sketch: (N, 1, H, W) float in [0, 1], line = 1.
        rectangles: (N, K, 4) whole numbers: top, left, height, width in px; size 0 erases nothing.

    Returns:
        A new (N, 1, H, W) tensor with 0 (paper) inside the rectangles.

    Raises:
        UsageError: the sketch breaks its contract, or the rectangles have another shape.

    Source: VITA-Group/DeepPS@3079d46 src/roughSketchSyn.py (random_discard).
    """
    check_sketch(sketch)
    count, _, height, width = sketch.shape
    if rectangles.ndim != 3 or rectangles.shape[0] != count or rectangles.shape[2] != 4:
        raise UsageError(f"rectangles: expected shape ({count}, K, 4), got {tuple(rectangles.shape)}")
    top, left, tall, wide = rectangles.to(sketch.device)[..., None, None].unbind(2)
    y = torch.arange(height, device=sketch.device)[:, None]
    x = torch.arange(width, device=sketch.device)
    inside = (y >= top) & (y < top + tall) & (x >= left) & (x < left + wide)
    return sketch.masked_fill(inside.any(1, keepdim=True), 0.0)


def published_move_px(height: int, width: int) -> float:
    """Limit of the move at level 1: 20 px at 256, scaled with min(height, width)."""
    return _MAX_MOVE_PX * min(height, width) / _REFERENCE_PX


def make_rough_sketch(
    sketch_smoothed: Tensor,
    level: float | Tensor,
    draws: RoughDraws,
    max_diameter: float | None = None,
    move_scale: float = 1.0,
    max_move: float | None = None,
) -> Tensor:
    """Deform, discard, dilate: the rough sketch that the refiner is trained to correct.

    Args:
        sketch_smoothed: (N, 1, H, W) float in [0, 1], line = 1, from `smooth_sketch`; any device.
        level: refinement level in [0, 1]: a number, or (N,) with one for each sketch.
        draws: from `draw_rough`, for this batch and size.
        max_diameter: dilation diameter at level 1, rounded up to odd, in px, which also limits the move to
            `(max_diameter - 1) * level`; None: diameter 21 px and move 20 px at 256, scaled with min(H, W).
        move_scale: all moves and their limit are multiplied by it. The smooth field stays far below its limit: with
            1, as published, lines move by 4.7 px of 256 at level 1 (root mean square).
        max_move: limit of the move at level 1 in px, whatever the diameter; None: as `max_diameter` has it.

    Returns:
        (N, 1, H, W) float32 in [0, 1], line = 1.

    Raises:
        UsageError: an argument breaks its contract.

    Source: VITA-Group/DeepPS@3079d46 src/train.py and roughSketchSyn.py.
    """
    check_sketch(sketch_smoothed)
    count, _, height, width = sketch_smoothed.shape
    if max_move is not None:
        largest_move = max_move
    elif max_diameter is None:
        largest_move = published_move_px(height, width)
    else:
        largest_move = float(max_diameter_px(height, width, max_diameter) - 1)
    moves = torch.tensor([move_scale * largest_move * value for value in levels_as_list(level, count)])
    deformed = deform_sketch(sketch_smoothed, moves, draws.noise)
    return dilate_sketch(discard_strokes(deformed.clamp(0.0, 1.0), draws.rectangles), level, max_diameter)
