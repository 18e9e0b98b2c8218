"""Good sketches made poor in one chosen way: displaced, deformed, or with strokes missing; for comparisons.

Training sketches are made rough by `rough`; these here differ in that the size of the fault is known.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, get_args

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from dpsdata.contracts import UsageError
from dpsdata.runtime.device import keyed_generator
from dpsdata.sketch.rough import simulate_sketch
from dpsdata.sketch.simplify import thin_lines

Fault = Literal["displaced", "deformed", "dropped", "sketchrefiner"]
FAULTS: Final[tuple[Fault, ...]] = get_args(Fault)

_Lines = NDArray[np.uint8]
_Field = NDArray[np.float32]
_SMOOTHNESS = 1 / 8  # standard deviation of the field's Gaussian, as a share of the shorter side: 32 px at 256 px
_MAX_PX = 1024.0
_NEIGHBOURS = ((0, 1), (1, -1), (1, 0), (1, 1))  # the later four of eight, (row, column): each pair is seen once
_FRACTION_BITS = 8  # of cv2.line's coordinates
_ROUNDINGS = (math.floor, math.ceil)
_CROSSING = 3  # a line pixel with so many neighbours joins strokes
_CROSSING_AREA = 5  # px that a crossing has at most
_SIMULATED_GRID = 10
# A one-pixel line between four pixels is a quarter as dark as it was; at the published 0.7, half of a line would go.
_LEAST_GREY = 0.25


@dataclass(frozen=True)
class Perturbation:
    """One fault of a sketch and its size.

    Attributes:
        fault: `displaced` moves the whole sketch into a seeded direction, by whole pixels; `deformed` moves it by a
            smooth random field, of which about a third is one shift of the whole; `dropped` leaves out whole strokes;
            `sketchrefiner` is that paper's simulated sketch, see `simulate_sketch`.
        amount: distance of the move in px; of `deformed` the root mean square over the image; of `dropped` the share
            of the ink, in [0, 1], as near as whole strokes come to it; of `sketchrefiner` its `max_move`, 20 as
            published, which moves lines by a quarter of it.
        seed: of the draws; they are keyed by it and the id of the photo.
    """

    fault: Fault
    amount: float
    seed: int = 0

    def __post_init__(self) -> None:
        if self.fault not in FAULTS:
            raise UsageError(f"fault: expected one of {', '.join(FAULTS)}, got {self.fault!r}")
        most, unit = (
            (1.0, "a share in [0, 1], such as 0.33") if self.fault == "dropped" else (_MAX_PX, f"0 to {_MAX_PX:g} px")
        )
        if not 0 <= self.amount <= most:
            raise UsageError(f"amount: a sketch is {self.fault} by {unit}, got {self.amount!r}")


def perturb_sketch(lines: _Lines, perturbation: Perturbation, sample_id: str) -> _Lines:
    """Make a good sketch poor.

    Args:
        lines: uint8 (H, W) in {0, 1}, one-pixel line = 1.
        perturbation: how.
        sample_id: id of the photo.

    Returns:
        uint8 (H, W) in {0, 1}, one-pixel line = 1; what is moved off the image is gone.

    Raises:
        UsageError: the lines break their contract.
    """
    if lines.dtype != np.uint8 or lines.ndim != 2 or lines.size == 0 or lines.max() > 1:
        raise UsageError(f"sketch: expected uint8 (H, W) in 0 and 1, got {lines.dtype} of shape {lines.shape}")
    # The word that the draws were first keyed by: another one would give other bytes.
    generator = keyed_generator(perturbation.seed, sample_id, f"disturb:{perturbation.fault}")
    return _WAYS[perturbation.fault](lines, perturbation.amount, generator)


def _displace(lines: _Lines, distance_px: float, generator: np.random.Generator) -> _Lines:
    angle = generator.uniform(0, 2 * math.pi)
    exact = distance_px * np.array([math.sin(angle), math.cos(angle)])
    # Of the four whole moves around the exact one, that of the nearest length: rounding alone errs by a third at 2 px.
    around = [np.array([down(exact[0]), right(exact[1])]) for down in _ROUNDINGS for right in _ROUNDINGS]
    move = min(around, key=lambda item: abs(math.hypot(*item) - distance_px)).astype(int)
    places = np.argwhere(lines) + move
    rows, columns = places[((places >= 0) & (places < lines.shape)).all(axis=1)].T
    moved = np.zeros_like(lines)
    moved[rows, columns] = 1
    return moved


def _deform(lines: _Lines, distance_px: float, generator: np.random.Generator) -> _Lines:
    if distance_px == 0:
        return lines.copy()
    field = _smooth_field(lines.shape, distance_px, generator)
    moved = np.zeros_like(lines)
    rows, columns = np.indices(lines.shape, np.float32)
    x, y = columns + field[0], rows + field[1]
    height, width = lines.shape
    ends: list[NDArray[np.float32]] = []
    # Neighbours are joined again where they come to lie: moved pixels alone would leave gaps in a stretched line.
    for down, right in ((0, 0), *_NEIGHBOURS):
        here = (slice(0, height - down), slice(max(0, -right), width - max(0, right)))
        there = (slice(down, height), slice(max(0, right), width + min(0, right)))
        both = (lines[here] == 1) & (lines[there] == 1)
        ends.append(np.stack([x[here][both], y[here][both], x[there][both], y[there][both]], axis=1))
    for x0, y0, x1, y1 in np.rint(np.concatenate(ends) * 2**_FRACTION_BITS).astype(int).tolist():
        cv2.line(moved, (x0, y0), (x1, y1), 1, 1, cv2.LINE_8, _FRACTION_BITS)
    return thin_lines(moved)


def _smooth_field(shape: tuple[int, ...], distance_px: float, generator: np.random.Generator) -> _Field:
    """Moves along x and y, (2, H, W) in px, whose root mean square over the image is the distance."""
    height, width = shape
    sigma = _SMOOTHNESS * min(height, width)
    noise = generator.standard_normal((2, height, width), np.float32)
    smooth = np.stack([cv2.GaussianBlur(plane, (0, 0), sigma, borderType=cv2.BORDER_REFLECT) for plane in noise])
    length = math.sqrt(float((smooth.astype(np.float64) ** 2).sum(0).mean()))
    return (smooth * (distance_px / length)).astype(np.float32)


def _drop(lines: _Lines, share: float, generator: np.random.Generator) -> _Lines:
    """Leave out whole strokes in a random order, while that comes nearer to the share of the ink."""
    neighbours = cv2.filter2D(lines, cv2.CV_8U, np.ones((3, 3), np.float32), borderType=cv2.BORDER_CONSTANT) - lines
    strokes = lines * (neighbours < _CROSSING).astype(np.uint8)
    count, labels = cv2.connectedComponents(strokes, connectivity=8)
    lengths = np.bincount(labels.ravel(), minlength=count)
    # Crossings go with the last of their strokes, so the share is one of the strokes' ink.
    wanted, gone = share * int(strokes.sum()), 0
    kept = lines.copy()
    for label in generator.permutation(np.arange(1, count)):
        if gone + lengths[label] / 2 > wanted:
            continue
        kept[labels == label] = 0
        gone += int(lengths[label])
    return _without_specks(kept, lines) if gone else kept


def _without_specks(kept: _Lines, before: _Lines) -> _Lines:
    """Without the crossings that lost all of their strokes."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(kept, connectivity=8)
    whole = cv2.connectedComponentsWithStats(before, connectivity=8)
    small = np.flatnonzero(stats[:, cv2.CC_STAT_AREA] <= _CROSSING_AREA)
    was_small = whole[2][whole[1], cv2.CC_STAT_AREA] <= _CROSSING_AREA
    return np.where(np.isin(labels, small[small > 0]) & ~was_small, 0, kept).astype(np.uint8) if count > 1 else kept


def _simulate(lines: _Lines, max_move_px: float, generator: np.random.Generator) -> _Lines:
    if max_move_px == 0:
        return lines.copy()
    noise = torch.from_numpy(generator.standard_normal((1, 2, _SIMULATED_GRID, _SIMULATED_GRID), np.float32))
    grey = simulate_sketch(torch.from_numpy(lines.astype(np.float32))[None, None], max_move_px, noise)[0, 0].numpy()
    return thin_lines((grey > _LEAST_GREY).astype(np.uint8))


_WAYS: Final[dict[Fault, Callable[[_Lines, float, np.random.Generator], _Lines]]] = {
    "displaced": _displace,
    "deformed": _deform,
    "dropped": _drop,
    "sketchrefiner": _simulate,
}
