"""Drawn sketches as people have them: the one reader of `dps edit`, `dps synthesize`, the app and `dps predict`.

Ink is what differs from the paper around it, in any colour: by a quarter of the range as ever, or, where it is pale, by
at least half of what the strongest ink near it does. On flat paper that is the colour which most pixels have; elsewhere
the paper is estimated for each pixel, so that shadows, side light and printed rules are none of the drawing.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from dpsdata.contracts import BrokenImageError
from dpsdata.images.arrays import MAX_SPECKS, count_pieces
from dpsdata.images.codec import Source, read_layer

_Contrast = NDArray[np.float32]
_Bits = NDArray[np.bool_]

_INK = 64 / 255  # contrast of a line that lies half on each of two pixels, and of ink next to any other
_PALE = 28 / 255  # contrast of the palest ink on flat paper
_PALE_LAYER = 10 / 255  # opacity of the palest ink on a transparent layer
_NEAR_PX = 17  # side of the neighbourhood in which pale ink is held against the strongest
_MANY = 0.2  # share of ink that lines rarely reach
_MANY_PIECES = 400
_FILLED = 0.3  # share of the ink in areas of 1/16 of the side, which no pen has
_SHADOW = 0.4  # paper in shadow is at least this part as light as the lightest; what is darker is ink
_FLAT_SPREAD = 96
_MAX_PX = 512  # longer side at which the paper is estimated


class ReadSketch(NamedTuple):
    """A sketch, and what a person should know about how it was read.

    Attributes:
        pixels: uint8 (H, W), 0 = line, 255 = paper.
        notes: sentences without a full stop.
    """

    pixels: NDArray[np.uint8]
    notes: tuple[str, ...] = ()


def read_sketch_file(source: Source) -> ReadSketch:
    """Read a sketch file: drawn on paper of any kind, or in any colours on a transparent ground.

    Args:
        source: a path, or the content of a file.

    Returns:
        The lines, thick or thin as drawn; there may be none.

    Raises:
        BrokenImageError: it is no image, or a photo and no drawing.
    """
    return read_sketch_pixels(*read_layer(source))


def read_sketch_pixels(pixels: NDArray[np.uint8], alpha: NDArray[np.uint8] | None = None) -> ReadSketch:
    """The same for pixels that are decoded already.

    Args:
        pixels: uint8 (H, W) or (H, W, 3) RGB as painted.
        alpha: uint8 (H, W), 255 = opaque; None where all is.

    Raises:
        BrokenImageError: they show a photo.
    """
    lowest, highest = (255, 255) if alpha is None else (int(alpha.min()), int(alpha.max()))
    if highest == 0:
        blank = np.full(pixels.shape[:2], 255, np.uint8)
        return ReadSketch(blank, ("the sketch is transparent all over, so there are no lines",))
    if alpha is not None and lowest < highest and lowest < 128 and _is_layer(pixels, alpha):
        contrast = (alpha - np.uint8(lowest)).astype(np.float32) / np.float32(255)
        lines = _threshold(contrast, _PALE_LAYER)
        notes: tuple[str, ...] = ("every painted pixel of the sketch is read as a line",)
        if lines.mean() > 0.5:
            raise BrokenImageError("more than half of it is painted, so it is not a line drawing")
        return _pack(lines, notes)
    if alpha is not None and lowest < highest:
        weight = alpha.astype(np.float32) / 255
        weight = weight if pixels.ndim == 2 else weight[..., None]
        pixels = np.rint(pixels * weight + 255 * (1 - weight)).astype(np.uint8)
    lines, notes, is_photo = find_ink(pixels)
    if is_photo:
        raise BrokenImageError(
            "not a line drawing: it has tones all over, like a photo; draw on white paper or on a transparent layer, "
            "and pass that alone"
        )
    return _pack(lines, notes)


def find_ink(pixels: NDArray[np.uint8]) -> tuple[_Bits, tuple[str, ...], bool]:
    """The ink of an opaque drawing.

    Args:
        pixels: uint8 (H, W) or (H, W, 3) RGB.

    Returns:
        Bool (H, W); notes; and whether it looks like a photo.
    """
    planes = pixels[..., None] if pixels.ndim == 2 else pixels
    if planes.max() < 32 and planes.min() < planes.max() and len(np.unique(planes)) == 2:
        planes = np.where(planes == planes.max(), np.uint8(255), np.uint8(0))  # values of 0 and 1
    grey = planes.mean(axis=2)
    rounded = np.rint(grey).astype(np.int64)
    counts = np.bincount(rounded.reshape(-1), minlength=256)
    near = np.convolve(counts, np.ones(3, np.int64), mode="same")
    mode = int(near.argmax())
    is_tiny = min(grey.shape) < 16
    if is_tiny or near[mode] >= 0.5 * grey.size:
        is_paper = np.abs(rounded - mode) <= 1
        paper = np.median(planes[is_paper], axis=0).astype(np.float32)
        difference = planes.astype(np.float32) - paper
        contrast, has_rules = _drop_rules(np.abs(difference).max(axis=2) / 255, _PALE)
        lines = _threshold(contrast, _PALE)
        if is_tiny or lines.mean() <= 0.15 or not _may_be_shadow(grey, lines, mode):
            is_light = bool((difference.sum(axis=2)[lines] > 0).mean() > 0.5) if lines.any() else mode <= 127
            return lines, _flat_notes(is_light, has_rules), False
    return _find_on_uneven(planes)


def _threshold(contrast: _Contrast, palest: float) -> _Bits:
    """Ink by its contrast to the paper: clear, or pale and no rim of a clearer line."""
    pale = contrast >= palest
    if not (pale & (contrast < _INK)).any():
        return contrast >= _INK
    strongest = cv2.dilate(contrast, np.ones((_NEAR_PX, _NEAR_PX), np.uint8))
    return np.asarray((contrast >= _INK) | (pale & (contrast >= 0.5 * strongest)))


def _may_be_shadow(grey: NDArray[np.floating], lines: _Bits, paper: int) -> bool:
    """Whether much of what is darker than the paper is broad, and as light as paper in shadow would be."""
    shade = lines & (grey < paper) & (grey > _SHADOW * paper)
    side = max(5, round(min(grey.shape) / 20) | 1)
    core = cv2.erode(shade.astype(np.uint8), np.ones((side, side), np.uint8))
    return bool(core.sum() > 0.4 * lines.sum())


def _find_on_uneven(planes: NDArray[np.uint8]) -> tuple[_Bits, tuple[str, ...], bool]:
    """Ink on paper that no single colour has."""
    values = planes.astype(np.float32)
    grey = values.mean(axis=2)
    is_light = _lines_are_light(grey)
    if is_light:
        values, grey = 255 - values, 255 - grey
    paper = _estimate_paper(values)
    scale = np.maximum(paper, 16)
    contrast = np.clip((paper - values) / scale, 0, 1).max(axis=2)
    noise = float(np.median(np.abs(grey - cv2.GaussianBlur(grey, (0, 0), 1.5)))) * 1.48
    relative = np.clip(noise / np.maximum(scale.mean(axis=2), 1), 0, 0.1)
    palest = np.maximum(0.11, 5 * relative).astype(np.float32)
    is_photo = _is_photo(values, paper)
    contrast, has_rules = _drop_rules(contrast, _PALE)
    strongest = cv2.dilate(cv2.GaussianBlur(contrast, (0, 0), 0.7), np.ones((_NEAR_PX, _NEAR_PX), np.uint8))
    lines = np.asarray((contrast >= np.maximum(_INK, palest)) | ((contrast >= palest) & (contrast >= 0.5 * strongest)))
    lines = _drop_specks(lines)
    soft = cv2.GaussianBlur(contrast, (0, 0), 1)
    is_photo = is_photo or bool(((soft > 0.06) & (soft < 0.2)).mean() > 0.1) or bool(lines.mean() > 0.25)
    low, high = np.percentile(paper.mean(axis=2), (3, 97))
    found = "not evenly lit" if low < 0.85 * high else "of no single tone"
    uneven = f"the paper is {found}, so lines are held against the paper around them; look at the result"
    return lines, (uneven, *_flat_notes(is_light, has_rules)), is_photo


def _lines_are_light(grey: NDArray[np.float32]) -> bool:
    """Whether thin details are lighter than what is around them."""
    shrink = min(1.0, 256 / max(grey.shape))
    small = cv2.resize(grey, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA) if shrink < 1 else grey
    soft = cv2.GaussianBlur(small, (0, 0), 1)
    largest = max(5, round(min(small.shape) / 20) | 1)
    found = []
    for size in range(5, largest + 1, 2):
        window = np.ones((size, size), np.uint8)
        dark = cv2.morphologyEx(soft, cv2.MORPH_CLOSE, window) - soft
        light = soft - cv2.morphologyEx(soft, cv2.MORPH_OPEN, window)
        found.append([float(np.square(np.maximum(part - 16, 0)).sum()) for part in (dark, light)])
    # Gaps between lines that lie close are details too, though broader ones: the thinnest with weight are the lines.
    weights = next(pair for pair in found if max(pair) >= 0.25 * max(found[-1]))
    return weights[1] > weights[0]


def _estimate_paper(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The paper under every pixel of (H, W, C), lines being darker."""
    height, width = values.shape[:2]
    shrink = min(1.0, _MAX_PX / max(height, width))
    small = values
    if shrink < 1:
        size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
        small = cv2.resize(values, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], -1).astype(np.float32)
    side = min(max(7, round(min(small.shape[:2]) / 9) | 1), min(small.shape[:2]) - 1)
    window = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))  # a square one would cut round shadows
    planes = []
    for channel in range(small.shape[2]):
        soft = cv2.medianBlur(np.ascontiguousarray(small[..., channel]), 5)
        # Light that falls off goes on falling off beyond the border; a corner is no dark spot to be closed.
        wide = np.pad(soft, side, mode="reflect", reflect_type="odd")
        closed = cv2.morphologyEx(wide, cv2.MORPH_CLOSE, window)[side:-side, side:-side]
        # The closing follows the lightest grain; paper is what most of it is.
        planes.append(closed * np.float32(1 - np.median((closed - soft) / np.maximum(closed, 1))))
    paper = np.stack(planes, axis=2)
    grey = paper.mean(axis=2)
    filled = grey < _SHADOW * np.percentile(grey, 95)
    if filled.any() and not filled.all():  # broad strokes and fills, which no window reaches across
        paper[filled] = np.median(paper[~filled], axis=0)
    if shrink < 1:
        paper = cv2.resize(paper, (width, height), interpolation=cv2.INTER_LINEAR).reshape(height, width, -1)
    return paper.astype(np.float32)


def _drop_rules(contrast: _Contrast, palest: float) -> tuple[_Contrast, bool]:
    """Without the printed rules of writing or graph paper: long straight parallel lines, paler than the drawing."""
    weak = contrast >= palest
    rows = _find_straight(weak, contrast)
    columns = [line._replace(pixels=line.pixels.T) for line in _find_straight(weak.T, contrast.T)]
    straight = np.zeros(weak.shape, np.bool_)
    for line in (*rows, *columns):
        straight |= line.pixels
    others = contrast[weak & ~straight]
    if not others.size or not straight.any():
        return contrast, False
    limit = 0.75 * float(np.percentile(others, 98))  # what is as strong as the rest is drawn as the rest is
    strong = ((contrast >= 0.66 * limit) & ~straight).astype(np.uint8)
    if 2 * cv2.morphologyEx(strong, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8)).sum() > strong.sum():
        # A pen of two pixels and more shows its full strength wherever it is drawn, and rules of its width theirs.
        rows, columns = ([line._replace(strength=line.peak) for line in lines] for lines in (rows, columns))
    printed = [[line for line in lines if line.strength <= limit] for lines in (rows, columns)]
    if not any(_are_even([line.place for line in lines]) for lines in printed):
        return contrast, False
    contrast = contrast.copy()
    for line in (*printed[0], *printed[1]):  # also a margin, which is one alone
        # A line that crosses a rule is darker than the rule.
        contrast[line.pixels & (contrast < 1.4 * line.strength + 0.05)] = 0
    return contrast, True


class _Straight(NamedTuple):
    """A line over nearly the whole width: where it lies across, its strength, its peak, and its pixels with their rims.

    The strength is what it would have on one row of pixels: one pixel wide on two rows, a line has half of it on each.
    """

    place: float
    strength: float
    peak: float
    pixels: _Bits


def _find_straight(weak: _Bits, contrast: _Contrast) -> list[_Straight]:
    """Thin straight lines that run over at least 0.85 of the width."""
    width = weak.shape[1]
    thick = cv2.dilate(np.ascontiguousarray(weak, np.uint8), np.ones((3, 1), np.uint8))
    # Gaps of grain are bridged, and not the squares of graph paper.
    bridged = cv2.morphologyEx(thick, cv2.MORPH_CLOSE, np.ones((1, max(3, width // 80)), np.uint8))
    long = cv2.morphologyEx(bridged, cv2.MORPH_OPEN, np.ones((1, max(9, width // 3)), np.uint8))
    count, labels, stats, centers = cv2.connectedComponentsWithStats(long, connectivity=8)
    thin_px = max(8, len(weak) / 40)
    found = []
    for part in range(1, count):
        span, area, top = (stats[part, key] for key in (cv2.CC_STAT_WIDTH, cv2.CC_STAT_AREA, cv2.CC_STAT_TOP))
        if area > thin_px * span or span < 0.85 * width:
            continue
        rows = slice(max(0, top - 1), top + stats[part, cv2.CC_STAT_HEIGHT] + 1)
        strength = min(1.0, float(np.median(contrast[rows].sum(axis=0))))
        peak = float(np.median(contrast[rows].max(axis=0)))
        near = cv2.dilate((labels == part).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        found.append(_Straight(float(centers[part][1]), strength, peak, near & weak))
    return found


def _are_even(places: list[float]) -> bool:
    """Whether lines are at least four and lie at even distances, some of them perhaps hidden by the drawing."""
    gaps = np.diff(np.sort(places))
    if len(gaps) < 3:
        return False
    steps = gaps / np.median(gaps)
    is_even = float(np.abs(steps - 1).mean()) < 0.25
    return is_even or (len(gaps) > 4 and float(np.abs(steps - np.maximum(1, np.round(steps))).mean()) < 0.12)


def _drop_specks(lines: _Bits) -> _Bits:
    """Without what is of few pixels and has no other near, as grain has; a dotted line has."""
    near = cv2.dilate(lines.astype(np.uint8), np.ones((7, 7), np.uint8))
    _, labels = cv2.connectedComponents(near, connectivity=8)
    areas = np.bincount(labels[lines], minlength=int(labels.max()) + 1)
    return np.asarray(lines & (areas[labels] >= 5))


def _is_photo(values: NDArray[np.float32], paper: NDArray[np.float32]) -> bool:
    """Whether the ground has the range of tones or of colours of a photo."""
    grey = paper.mean(axis=2)
    low, high = np.percentile(grey, (3, 97))
    if low < 0.33 * high:
        return True
    shares = paper / np.maximum(paper.sum(axis=2, keepdims=True), 1)
    spread = np.ptp(np.percentile(shares, (3, 97), axis=(0, 1)), axis=0).max() if values.shape[2] == 3 else 0
    return bool(spread > 0.08)


def _is_layer(pixels: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> bool:
    """Whether the opaque pixels are strokes, and no sheet of paper with strokes on it."""
    opaque = alpha > min(127, int(alpha.max()) // 2)
    if opaque.mean() >= 0.5:
        return False
    ink = pixels[opaque]
    ink = ink if ink.ndim == 2 else ink[:, None]
    if max(np.ptp(np.percentile(channel, (2, 98))) for channel in ink.T) < _FLAT_SPREAD:
        return True
    side = max(3, round(min(alpha.shape) / 20) | 1)
    core = cv2.erode(opaque.astype(np.uint8), np.ones((side, side), np.uint8))
    return bool(core.sum() < 0.1 * opaque.sum())


def _flat_notes(is_light: bool, has_rules: bool) -> tuple[str, ...]:
    light = ("the sketch has light lines on dark, and is read so",) if is_light else ()
    return (*light, "printed rules of the paper are left out") if has_rules else light


def _pack(lines: _Bits, notes: tuple[str, ...]) -> ReadSketch:
    pieces = count_pieces(lines)
    if pieces > max(50, MAX_SPECKS * lines.size):
        raise BrokenImageError("not a line drawing: it is specks all over, like a photo printed in dots of one colour")
    if pieces > _MANY_PIECES:
        notes = (*notes, f"the sketch has over {_MANY_PIECES} separate pieces, as on dotted paper; look at the result")
    share = float(lines.mean())
    side = max(5, round(min(lines.shape) / 16) | 1)
    filled = cv2.morphologyEx(lines.astype(np.uint8), cv2.MORPH_OPEN, np.ones((side, side), np.uint8))
    if filled.sum() > _FILLED * lines.sum():
        notes = (*notes, "much of the sketch's ink is filled areas and no lines; look at the result")
    if share > _MANY:
        notes = (*notes, f"{100 * share:.0f} % of the sketch are read as ink, more than lines have; look at the result")
    return ReadSketch(np.where(lines, np.uint8(0), np.uint8(255)), notes)
