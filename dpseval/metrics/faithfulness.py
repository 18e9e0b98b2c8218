"""How well the edges of an output follow a drawn sketch, inside the hole.

An output pixel is matched where a drawn line lies within the tolerance, and the reverse, by distance transforms (not
one to one). Lines that double a drawn one within the tolerance are therefore not punished, and an output full of edges
reaches every drawn line: read F beside the edge density, which shows both.

Only ink inside the hole counts, on both sides. A drawn line just outside of the hole neither asks for an edge nor
excuses one that lies a pixel across the border, so the scores depend on the pixels of the hole alone and cannot change
with the known part of the photo. The price is small: an edge that follows such a line inside the hole counts as
undrawn, within a band as wide as the tolerance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dpsdata.contracts import UsageError

BitArray = NDArray[np.uint8]

TOLERANCE_PX = 2.0
_REFERENCE_PX = 256


@dataclass(frozen=True)
class EdgeScores:
    """Agreement of output edges with a sketch inside the hole.

    Args:
        f: harmonic mean of precision and recall, in [0, 1].
        precision: share of the output's edge pixels with a drawn line within the tolerance.
        recall: share of the drawn pixels with an output edge within the tolerance.
        chamfer_px: mean distance to the nearest pixel of the other, both ways averaged, in px of these images.
        output_density: share of the hole that the output's edges cover.
        sketch_density: share of the hole that the drawn lines cover.
    """

    f: float
    precision: float
    recall: float
    chamfer_px: float
    output_density: float
    sketch_density: float


def default_tolerance_px(height: int, width: int) -> float:
    """2 px at 256, scaled with the shorter side; 1 px at least, for a pixel is the finest that a thin line has."""
    return max(1.0, TOLERANCE_PX * min(height, width) / _REFERENCE_PX)


def thin_output_edges(edges: NDArray[Any]) -> BitArray:
    """Turn an edge map of an output into one-pixel lines, as the build turns photos into drawn sketches.

    Args:
        edges: (H, W) float in [0, 1], edge = 1.

    Returns:
        (H, W) uint8 in {0, 1}, line = 1.

    Raises:
        UsageError: the shape, the type or the range is wrong.
    """
    from dpsdata.sketch.simplify import simplify_edge_map

    return simplify_edge_map(edges)


def score_edges(
    output_thin: NDArray[Any],
    sketch_thin: NDArray[Any],
    mask: NDArray[Any],
    tolerance_px: float | None = None,
) -> EdgeScores:
    """Score the edges of an output against a sketch inside the hole.

    Empty cases: with an empty hole all six are NaN. Without ink in the hole there is nothing to follow: F, precision,
    recall and chamfer are NaN. With ink, but no output edge, the output drew nothing: F, precision and recall are 0
    and chamfer is the diagonal of the hole's bounding box, the largest distance there can be; NaN would leave just the
    worst images out of a method's mean.

    Args:
        output_thin: (H, W) in {0, 1}, edge = 1.
        sketch_thin: (H, W) in {0, 1}, line = 1.
        mask: (H, W) in {0, 1}, hole = 1.
        tolerance_px: largest distance of a match, in px; None: `default_tolerance_px`.

    Raises:
        UsageError: shapes differ, values are not 0 and 1, or the tolerance is negative.

    """
    output, sketch, hole = _read_bits(output_thin=output_thin, sketch_thin=sketch_thin, mask=mask)
    tolerance = default_tolerance_px(*hole.shape) if tolerance_px is None else float(tolerance_px)
    if not tolerance >= 0:
        raise UsageError(f"score_edges: expected a tolerance of at least 0 px, got {tolerance_px!r}")
    if not hole.any():
        return EdgeScores(*[math.nan] * 6)
    rows, columns = np.flatnonzero(hole.any(axis=1)), np.flatnonzero(hole.any(axis=0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    hole = hole[box]
    output, sketch = output[box] & hole, sketch[box] & hole
    size_px = np.count_nonzero(hole)
    densities = (np.count_nonzero(output) / size_px, np.count_nonzero(sketch) / size_px)
    if not sketch.any():
        return EdgeScores(math.nan, math.nan, math.nan, math.nan, *densities)
    if not output.any():
        return EdgeScores(0.0, 0.0, 0.0, math.hypot(*hole.shape), *densities)
    output_px, sketch_px = _distances(output, sketch), _distances(sketch, output)
    reach = tolerance + 1e-4  # the distance transform is float32
    precision, recall = float(np.mean(output_px <= reach)), float(np.mean(sketch_px <= reach))
    f = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return EdgeScores(f, precision, recall, float(output_px.mean() + sketch_px.mean()) / 2, *densities)


def _read_bits(**arrays: NDArray[Any]) -> tuple[NDArray[np.bool_], ...]:
    shapes = {name: array.shape for name, array in arrays.items()}
    if len(set(shapes.values())) != 1 or len(next(iter(shapes.values()))) != 2:
        raise UsageError(f"score_edges: expected three arrays of one shape (H, W), got {shapes}")
    for name, array in arrays.items():
        if not ((array == 0) | (array == 1)).all():
            raise UsageError(f"score_edges: expected only 0 and 1 in {name}, got other values")
    return tuple(array.astype(bool) for array in arrays.values())


def _distances(lines: NDArray[np.bool_], targets: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Distance of each pixel of `lines` to the nearest pixel of `targets`, in px."""
    away = cv2.distanceTransform((~targets).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # OpenCV's last bits change from call to call; the squares are whole numbers.
    found: NDArray[np.float64] = np.sqrt(np.rint(away[lines].astype(np.float64) ** 2))
    return found
