"""The standard measure of boundary detection: F of precision and recall against several annotators."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from dpsdata.contracts import UsageError
from dpsdata.engines import Job, open_engine
from dpsdata.hed.bsds.matching import BoundaryMatcher
from dpsdata.runtime.device import use_one_thread
from dpsdata.sketch.simplify import SimplifyConfig, fade_weights, find_ridges, thin_lines

EdgeMap = NDArray[np.float32]
Boundaries = NDArray[np.bool_]
Counts = NDArray[np.int64]
Curve = NDArray[np.float64]
Pair = tuple[EdgeMap, Boundaries]


@dataclass(frozen=True)
class EvalConfig:
    """How edge maps are scored; the defaults are those of the BSDS500 tables in papers on learned edges.

    Args:
        threshold_count: number K of thresholds, k / (K + 1) for k = 1 ... K.
        tolerance: greatest distance of a matched pair, as a share of the image diagonal.
        nms: whether ridges are thinned by non-maximum suppression first (off for a map of thin lines, as Canny's).
        smooth_radius_px: radius of the triangle filter before the suppression, in px; 0: none.
        thin: whether each binary map is thinned to one-pixel lines.

    Raises:
        UsageError: a value is outside of its range.
    """

    threshold_count: int = 99
    tolerance: float = 0.0075
    nms: bool = True
    smooth_radius_px: int = 1
    thin: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.threshold_count <= 10_000:
            raise UsageError(f"threshold_count: expected 1 to 10000, got {self.threshold_count}")
        if not 0 <= self.tolerance <= 0.1:
            raise UsageError(f"tolerance: expected a share of the diagonal in [0, 0.1], got {self.tolerance}")
        if not 0 <= self.smooth_radius_px <= 16:
            raise UsageError(f"smooth_radius_px: expected 0 to 16 px, got {self.smooth_radius_px}")

    @property
    def thresholds(self) -> Curve:
        """The (K,) thresholds, rising."""
        levels: Curve = np.arange(1, self.threshold_count + 1) / (self.threshold_count + 1)
        return levels


@dataclass(frozen=True)
class EdgeScores:
    """The scores of one edge detector on a set of images.

    Attributes:
        ods: best F at one threshold for all images ("optimal dataset scale"), counts pooled, precision and
            recall interpolated between neighbouring thresholds as in the benchmark.
        ods_threshold: the threshold of that F.
        ods_precision: precision there.
        ods_recall: recall there.
        ois: F of the counts pooled at each image's own best threshold ("optimal image scale").
        average_precision: mean precision over recalls 0, 0.01 ... 1; recalls that the curve does not reach count 0.
        image_count: number of images.
        thresholds: the thresholds of the curve.
        precision: pooled precision at each threshold.
        recall: pooled recall at each threshold.
    """

    ods: float
    ods_threshold: float
    ods_precision: float
    ods_recall: float
    ois: float
    average_precision: float
    image_count: int
    thresholds: tuple[float, ...]
    precision: tuple[float, ...]
    recall: tuple[float, ...]


def evaluate_edges(pairs: Iterable[Pair], config: EvalConfig | None = None, workers: int = 1) -> EdgeScores:
    """Score edge maps by the BSDS measure.

    Args:
        pairs: edge map (H, W) float32 in [0, 1], edge = 1, and boundaries (A, H, W) bool, one pair per image.
            Read one by one: a generator that runs the detector is fine.
        config: how to score.
        workers: number of processes.

    Returns:
        The scores, the same for any number of workers.

    Raises:
        UsageError: no pair at all, or an array of another type, shape or range.
        EnvironmentFailure: a worker process was killed.

    Source: Martin, Fowlkes and Malik 2004; Arbelaez et al. 2011; edgesEvalImg and edgesEvalDir of pdollar/edges.
        Their matching has the least total distance among the largest ones, this one only starts nearest first:
        the recall is the same, the precision up to half a point higher (F: 0.001 higher, on 8 images by Canny).
    """
    config = config or EvalConfig()
    if workers < 1:
        raise UsageError(f"workers: expected 1 or more, got {workers}")
    counted: Iterator[Counts] = map(partial(_count, config), pairs)
    if workers > 1:  # few ahead, so that a fast detector does not fill the memory with maps
        job = Job(prepare=partial(_counter, config), is_ordered=True, tasks_ahead=2)
        counted = open_engine("local", workers).run(job, pairs)
    total = len(pairs) if isinstance(pairs, Sized) else None
    counts = list(tqdm(counted, total=total, desc="scoring edges", unit="image", disable=None))
    if not counts:
        raise UsageError("pairs: expected at least one edge map with its boundaries, got none")
    return _scores(np.stack(counts), config)


def count_matches(edge_map: EdgeMap, boundaries: Boundaries, config: EvalConfig | None = None) -> Counts:
    """Count the matched pixels of one image at every threshold.

    Args:
        edge_map: (H, W) float in [0, 1], edge = 1.
        boundaries: (A, H, W) bool.
        config: how to score.

    Returns:
        (K, 4) int64: matched boundary pixels and all boundary pixels, both summed over the annotators; detected
        pixels that match at least one annotator, and all detected pixels.

    Raises:
        UsageError: an array has another type, shape or range.
    """
    config = config or EvalConfig()
    if edge_map.ndim != 2 or edge_map.dtype.kind != "f" or min(edge_map.shape) < 3:
        raise UsageError(f"edge_map: expected float (H, W) of at least 3 x 3, got {edge_map.dtype} {edge_map.shape}")
    if not (edge_map.min() >= 0 and edge_map.max() <= 1):  # written so that NaN fails too
        raise UsageError(f"edge_map: expected values in [0, 1], got [{edge_map.min():g}, {edge_map.max():g}]")
    if boundaries.shape[1:] != edge_map.shape:
        height, width = edge_map.shape
        raise UsageError(f"boundaries: expected shape (A, {height}, {width}), got {boundaries.shape}")
    matcher = BoundaryMatcher(boundaries, config.tolerance * math.hypot(*edge_map.shape))
    strength = suppress_edge_map(edge_map, config) if config.nms else edge_map.astype(np.float32)
    counts = np.zeros((config.threshold_count, 4), np.int64)
    counts[:, 1] = np.count_nonzero(boundaries)
    last_count = -1
    # float32, as the map: 0.07 in float64 is above a pixel of strength 0.07
    for k, threshold in enumerate(config.thresholds.astype(np.float32)):
        marked = strength >= threshold
        count = int(np.count_nonzero(marked))
        if count == last_count:  # the sets are nested, so the same number is the same set
            counts[k] = counts[k - 1]
            continue
        last_count = count
        detected = thin_lines(marked.astype(np.uint8)) > 0 if config.thin else marked
        match = matcher.match(detected)
        counts[k, 0] = match.truth.size
        counts[k, 2] = np.unique(match.detected).size
        counts[k, 3] = np.count_nonzero(detected)
    return counts


def suppress_edge_map(edge_map: EdgeMap, config: EvalConfig | None = None) -> EdgeMap:
    """Keep the ridges of an edge map: smooth, suppress non-maxima (r = 1, m = 1.01), fade the outer 5 px.

    Args:
        edge_map: (H, W) float in [0, 1], edge = 1.
        config: the smoothing, and the lowest threshold, under which nothing is kept.

    Returns:
        (H, W) float32 in [0, 1], 0 off the ridges.
    """
    config = config or EvalConfig()
    strength = np.ascontiguousarray(edge_map, np.float64)
    if config.smooth_radius_px:
        strength = _smooth(strength, config.smooth_radius_px)
    height, width = strength.shape
    # Just under the lowest threshold, so that rounding to float32 decides there as at the others.
    ridge = SimplifyConfig(threshold=float(config.thresholds[0]) * 0.999)
    lines = find_ridges(strength, ridge)
    fade = fade_weights(height, ridge.border_px)[:, None] * fade_weights(width, ridge.border_px)
    return (strength * fade * lines).astype(np.float32)


def measure_crispness(edge_map: EdgeMap) -> float:
    """Share of an edge map's strength that lies on its ridges: 1 for lines of one pixel, less for blurred ones.

    Args:
        edge_map: (H, W) float in [0, 1], edge = 1.

    Returns:
        In [0, 1]; NaN for an empty map. The mean over images is the average crispness (AC).

    Source: Ye et al., DiffusionEdge, AAAI 2024, section 4.1: the sum after non-maximum suppression over that before.
    """
    total = float(edge_map.sum(dtype=np.float64))
    kept = edge_map[suppress_edge_map(edge_map) > 0].sum(dtype=np.float64)
    return float(kept) / total if total else math.nan


def _smooth(strength: Curve, radius_px: int) -> Curve:
    ramp = np.arange(1, radius_px + 2, dtype=np.float64)
    weights = np.concatenate([ramp, ramp[-2::-1]]) / (radius_px + 1) ** 2
    smooth = cv2.sepFilter2D(strength, cv2.CV_64F, weights, weights, borderType=cv2.BORDER_REFLECT)
    return np.minimum(np.asarray(smooth, np.float64), 1.0)  # the weights may add up to a little more than 1


def _counter(config: EvalConfig) -> Callable[[Pair], Counts]:
    use_one_thread()
    return partial(_count, config)


def _count(config: EvalConfig, pair: Pair) -> Counts:
    return count_matches(*pair, config)


def _scores(counts: Counts, config: EvalConfig) -> EdgeScores:
    """Pool the counts (N, K, 4) of N images."""
    precision, recall = _precision_recall(counts.sum(axis=0))
    ods, threshold, best_precision, best_recall = _best_between(config.thresholds, precision, recall)
    best = np.argmax(_f_measure(*_precision_recall(counts)), axis=1)
    ois = _f_measure(*_precision_recall(counts[np.arange(len(counts)), best].sum(axis=0)))
    return EdgeScores(
        ods=ods,
        ods_threshold=threshold,
        ods_precision=best_precision,
        ods_recall=best_recall,
        ois=float(ois),
        average_precision=_average_precision(precision, recall),
        image_count=len(counts),
        thresholds=tuple(config.thresholds.tolist()),
        precision=tuple(precision.tolist()),
        recall=tuple(recall.tolist()),
    )


def _precision_recall(counts: Counts) -> tuple[Curve, Curve]:
    return counts[..., 2] / np.maximum(counts[..., 3], 1), counts[..., 0] / np.maximum(counts[..., 1], 1)


def _f_measure(precision: Curve, recall: Curve) -> Curve:
    f_measure: Curve = 2 * precision * recall / np.maximum(precision + recall, np.finfo(np.float64).eps)
    return f_measure


def _best_between(thresholds: Curve, precision: Curve, recall: Curve) -> tuple[float, float, float, float]:
    """Best F, its threshold, precision and recall, also at 98 points between neighbouring thresholds."""
    share = np.linspace(0, 1, 100)[:, None]
    ends = (thresholds, precision, recall)
    between = [np.ravel(ends_of[:-1] * (1 - share) + ends_of[1:] * share, order="F") for ends_of in ends]
    points = between if len(thresholds) > 1 else ends
    f_measure = _f_measure(points[1], points[2])
    best = int(np.argmax(f_measure))
    return float(f_measure[best]), float(points[0][best]), float(points[1][best]), float(points[2][best])


def _average_precision(precision: Curve, recall: Curve) -> float:
    reached, first = np.unique(recall[::-1], return_index=True)
    grid = np.linspace(0, 1, 101)
    grid = grid[(grid >= reached[0]) & (grid <= reached[-1])]
    return float(np.interp(grid, reached, precision[::-1][first]).sum() / 100)


_LOW_SHARE = 0.4  # low threshold as a share of the high one, the ratio of MATLAB's edge function
_UNIT = 16384  # gradient units of a black-to-white step: fine steps, and no overflow of int16


def canny_edge_map(rgb: NDArray[np.uint8], sigma_px: float = 2.0, level_count: int = 99) -> NDArray[np.float32]:
    """Detect edges by Canny at many thresholds and keep the highest that each pixel survives.

    The strength of a pixel is the greatest k / (level_count + 1) at which Canny still marks it, so that
    `map >= k / (level_count + 1)` is Canny's own result with that high threshold (low threshold: 0.4 of
    it). A threshold t answers to a straight step of t times the contrast from black to white. The lines
    are thin already: score the map with `EvalConfig(nms=False)`.

    Args:
        rgb: (H, W, 3) uint8, RGB.
        sigma_px: standard deviation of the Gaussian blur in pixels.
        level_count: number of thresholds.

    Returns:
        (H, W) float32 in [0, 1).

    Raises:
        UsageError: an argument has another type, shape or range.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or rgb.size == 0:
        raise UsageError(f"rgb: expected a uint8 photo (H, W, 3), got {rgb.dtype} {rgb.shape}")
    if not 0 < sigma_px < math.inf:
        raise UsageError(f"sigma_px: expected a positive number, got {sigma_px}")
    if level_count < 1:
        raise UsageError(f"level_count: expected 1 or more, got {level_count}")
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    blurred = cv2.GaussianBlur(grey, (0, 0), sigma_px)
    # A step blurred by a Gaussian is steepest by contrast / (sigma sqrt(2 pi)); Sobel's weights add up to 8.
    scale = _UNIT * sigma_px * math.sqrt(2 * math.pi) / 8
    dx, dy = (
        np.clip(np.rint(cv2.Sobel(blurred, cv2.CV_32F, *order, scale=scale)), -32767, 32767).astype(np.int16)
        for order in ((1, 0), (0, 1))
    )
    strength = np.zeros(grey.shape, np.float32)
    for level in range(1, level_count + 1):
        high = level / (level_count + 1)
        edges = cv2.Canny(dx, dy, _LOW_SHARE * high * _UNIT, high * _UNIT, L2gradient=True) > 0
        if not edges.any():
            break  # the sets are nested: nothing survives a higher threshold
        strength[edges] = high
    return strength
