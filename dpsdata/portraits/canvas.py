"""A small software canvas: soft-edged shapes over a float picture at twice the final size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
SIZE_PX = 256
OVERSAMPLING = 2


@dataclass(frozen=True)
class Pane:
    """A rectangle of the canvas: coordinates in final pixels, and a view of the colours.

    Attributes:
        x: (1, W) column positions; pixel centres of the final picture are whole numbers.
        y: (H, 1) row positions.
        rgb: (H, W, 3) colours in [0, 1], painted in place.
    """

    x: Array
    y: Array
    rgb: Array

    def window(self, left: float, top: float, right: float, bottom: float) -> tuple[slice, slice]:
        """Rows and columns between the given positions in final pixels, cut at the border."""
        x, y = self.x[0], self.y[:, 0]
        rows = slice(int(np.searchsorted(y, top)), int(np.searchsorted(y, bottom)))
        return rows, slice(int(np.searchsorted(x, left)), int(np.searchsorted(x, right)))

    def crop(self, left: float, top: float, right: float, bottom: float) -> Pane:
        """The part between the given positions in final pixels, cut at the border."""
        rows, columns = self.window(left, top, right, bottom)
        return Pane(self.x[:, columns], self.y[rows], self.rgb[rows, columns])

    def paint(self, cover: Array, colour: ArrayLike) -> None:
        """Mix `colour` (one colour, or one per pixel) into the picture where `cover` (H, W) is 1."""
        self.rgb[...] += np.asarray(cover)[..., None] * (np.asarray(colour, dtype=np.float64) - self.rgb)

    def darken(self, cover: Array, tint: ArrayLike) -> None:
        """Multiply the picture by `tint` (per channel, in [0, 1]) where `cover` (H, W) is 1."""
        self.rgb[...] *= 1.0 - np.asarray(cover)[..., None] * (1.0 - np.asarray(tint, dtype=np.float64))


def new_canvas() -> Pane:
    """A black canvas of 256 x 256 final pixels."""
    side = SIZE_PX * OVERSAMPLING
    positions = (np.arange(side, dtype=np.float64) + 0.5) / OVERSAMPLING - 0.5
    return Pane(positions[None, :], positions[:, None], np.zeros((side, side, 3)))


def finish(canvas: Pane) -> NDArray[np.uint8]:
    """Average down to the final size and round to 8 bit."""
    step = OVERSAMPLING
    total = sum(canvas.rgb[row::step, column::step] for row in range(step) for column in range(step))
    return np.clip(np.rint(total * (255.0 / step**2)), 0, 255).astype(np.uint8)


def soft(distance: ArrayLike, width: float = 1.0) -> Array:
    """Coverage of a shape from its signed distance in pixels (negative inside), with an edge `width` px wide."""
    ramp = np.clip(0.5 - np.asarray(distance, dtype=np.float64) / width, 0.0, 1.0)
    return np.asarray(ramp * ramp * (3.0 - 2.0 * ramp))


def bump(pane: Pane, x: float, y: float, wide: float, high: float) -> Array:
    """A Gaussian hill of height 1 with the two standard deviations in pixels."""
    return np.asarray(np.exp(-0.5 * ((pane.x - x) / wide) ** 2) * np.exp(-0.5 * ((pane.y - y) / high) ** 2))


def ellipse(pane: Pane, x: float, y: float, wide: float, high: float) -> Array:
    """Signed distance, near enough close to the border, to an ellipse with the given half axes."""
    reach = np.hypot((pane.x - x) / wide, (pane.y - y) / high)
    return np.asarray((reach - 1.0) * min(wide, high))


def stroke(pane: Pane, curve: Array, half_width: Array | float) -> Array:
    """Signed distance to a line along `curve`, the row position for every column (1, W)."""
    spacing = 1.0 / OVERSAMPLING
    slope = np.gradient(curve[0], spacing)[None, :] if curve.shape[1] > 1 else np.zeros_like(curve)
    return np.asarray(np.abs(pane.y - curve) / np.hypot(1.0, slope) - half_width)


@dataclass(frozen=True)
class StrandNoise:
    """Smooth periodic 1-D noise of unit variance, for hair strands and outlines."""

    table: Array

    @staticmethod
    def draw(rng: np.random.Generator, knots: int = 512) -> StrandNoise:
        """New noise with the given number of knots per period."""
        return StrandNoise(rng.normal(size=knots))

    def at(self, position: ArrayLike) -> Array:
        """Noise at positions counted in knots, cosine-interpolated."""
        place = np.asarray(position, dtype=np.float64)
        whole = np.floor(place)
        part = place - whole
        part = part * part * (3.0 - 2.0 * part)
        left = whole.astype(np.int64) % len(self.table)
        return np.asarray(self.table[left] * (1.0 - part) + self.table[(left + 1) % len(self.table)] * part)
