"""Mask files as people have them: the one reader of `dps edit`, the app, `dpsdata build`, `dps predict` and scoring.

What counts is what was painted, not how bright it is: opacity where a file has a transparent ground, else any paint on
black. What cannot be told is refused, what had to be guessed is noted.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from dpsdata.contracts import BrokenImageError
from dpsdata.images.arrays import MAX_SPECKS, count_pieces
from dpsdata.images.codec import Source, read_layer

MASK_ERROR = "mask "  # how the reason begins where a sample failed because of its mask file

_Bits = NDArray[np.bool_]
_BLACK, _WHITE = 64, 191  # grey levels up to and from which a pixel counts as black or white
_FLAT_SPREAD = 96  # of each channel over one paint, antialiased or lossy
_COLOURED = 32  # levels between the channels of a pixel that is no grey
_BIG = 0.01  # share of a file from which one colour is more than noise
_MANY_PIECES = 50
_EXPECTED = "expected a white hole on black, or one painted on a transparent layer"
_LINE_SHARE, _SHAPE_SHARE = 0.2, 0.6  # shares of thick pixels up to and from which marks are lines or filled shapes


class ReadMask(NamedTuple):
    """A mask, and what a person should know about how it was read.

    Attributes:
        pixels: uint8 (H, W), 255 = hole, 0 = known.
        notes: sentences without a full stop.
    """

    pixels: NDArray[np.uint8]
    notes: tuple[str, ...] = ()


def read_mask_file(source: Source, invert: bool = False) -> ReadMask:
    """Read a mask file: white on black, painted on a transparent ground, or a hole cut into something opaque.

    Args:
        source: a path, or the content of a file.
        invert: swap hole and known.

    Returns:
        The mask; its hole may be empty.

    Raises:
        BrokenImageError: it is no image, or what it holds is no mask.
    """
    return read_mask_pixels(*read_layer(source), invert)


def read_mask_pixels(
    pixels: NDArray[np.uint8], alpha: NDArray[np.uint8] | None = None, invert: bool = False
) -> ReadMask:
    """The same for pixels that are decoded already.

    Args:
        pixels: uint8 (H, W) or (H, W, 3) RGB as painted.
        alpha: uint8 (H, W), 255 = opaque; None where all is.
        invert: swap hole and known.

    Raises:
        BrokenImageError: what they show is no mask.
    """
    lowest, highest = (255, 255) if alpha is None else (int(alpha.min()), int(alpha.max()))
    if highest == 0:
        raise BrokenImageError(f"transparent all over, so it has no hole; {_EXPECTED}")
    # One opacity for all is a layer's setting, no painting.
    if alpha is None or lowest == highest or (lowest and highest - lowest < 32):
        is_color = pixels.ndim == 3 and _is_coloured(pixels)
        grey = pixels if pixels.ndim == 2 else _luma(pixels)
        hole, notes = _read_colors(pixels) if is_color else _read_tones(grey)
    else:
        hole, notes = _read_layer(pixels, alpha)
    pieces = count_pieces(hole)
    if pieces > max(_MANY_PIECES, MAX_SPECKS * hole.size):
        raise BrokenImageError(
            f"not a mask but {pieces} specks, like a photo printed in dots of one colour; {_EXPECTED}"
        )
    if pieces > _MANY_PIECES:
        many = f"the mask has over {_MANY_PIECES} separate pieces, more than a painted one has; look at the result"
        notes = (*notes, many)
    if invert:
        hole, notes = ~hole, (*notes, "the mask is inverted, as --invert-mask asks")
    elif hole.mean() > 0.5 and _is_drawn_on(hole):
        raise BrokenImageError(
            "not a mask but a line drawing, as all of it is white but thin lines; pass it as the sketch, and as the "
            "mask a filled white shape on black; or swap black and white where the lines themselves are the hole"
        )
    return ReadMask(np.where(hole, np.uint8(255), np.uint8(0)), notes)


def looks_inverted(mask: NDArray[np.uint8]) -> bool:
    """Whether white runs along the whole border of a mask and covers the most of it, but not all."""
    hole = mask > 127
    rim = (hole[0], hole[-1], hole[:, 0], hole[:, -1])
    return bool(all(side.all() for side in rim) and 0.5 < hole.mean() < 1)


def describe_hole(hole: _Bits) -> tuple[str, ...]:
    """What to say of a hole, (H, W), that is a mask's but seldom meant: all of the photo, or nothing but lines."""
    if hole.all():
        return ("the mask is white all over, so nothing of the photo is kept",)
    if is_line_drawing(hole):
        return ("the mask is thin lines, and only they are edited; paint the whole area to edit",)
    return ()


def is_line_drawing(marks: _Bits) -> bool:
    """Whether marks, (H, W), are thin lines and no filled shapes: a pen's, far thinner than a brush for holes."""
    rows, columns = np.flatnonzero(marks.any(axis=1)), np.flatnonzero(marks.any(axis=0))
    if not rows.size:
        return False
    extent = max(int(np.ptp(rows)), int(np.ptp(columns)))
    return extent >= max(marks.shape) / 8 and _thick_share(marks) <= _LINE_SHARE


def is_filled_shape(marks: _Bits) -> bool:
    """Whether marks, (H, W), are mostly filled shapes and no lines of a pen."""
    return bool(marks.any()) and _thick_share(marks) >= _SHAPE_SHARE


def _thick_share(marks: _Bits) -> float:
    """Share of the marks that a square of 1/40 of the image, and at least 5 px, fits into."""
    side = max(5, round(min(marks.shape) / 40) | 1)
    return float(cv2.morphologyEx(marks.astype(np.uint8), cv2.MORPH_OPEN, np.ones((side, side), np.uint8)).sum()) / max(
        1, int(marks.sum())
    )


def _is_drawn_on(paper: _Bits) -> bool:
    """Whether what is missing from the paper is a line drawing on it, and no rim around it."""
    rows, columns = np.flatnonzero(paper.any(axis=1)), np.flatnonzero(paper.any(axis=0))
    return is_line_drawing(~paper[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


def _is_coloured(rgb: NDArray[np.uint8]) -> bool:
    return bool((np.ptp(rgb, axis=2) >= _COLOURED).mean() > 0.0005)


def _luma(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """ITU-R BT.601 as `read_grey` has it."""
    red, green, blue = (rgb[..., channel].astype(np.uint32) for channel in range(3))
    return ((19595 * red + 38470 * green + 7471 * blue + 32768) >> 16).astype(np.uint8)


def _read_tones(grey: NDArray[np.uint8]) -> tuple[_Bits, tuple[str, ...]]:
    """An opaque grey mask: over 127, or the brighter of two levels that this would not part."""
    counts = np.bincount(grey.reshape(-1), minlength=256)
    levels = np.flatnonzero(counts)
    low, high = int(levels[0]), int(levels[-1])
    if low == high:
        if low > _WHITE or low == 0:
            return grey > 127, ()
        raise BrokenImageError(f"{low} all over, so it shows no hole; {_EXPECTED}")
    if len(levels) == 2:
        if low < _BLACK and high > _WHITE:
            return grey == high, ()
        if high - low < 8 and low:
            raise BrokenImageError(f"{low} and {high} alone, which do not show a hole; {_EXPECTED}")
        return grey == high, (f"the mask holds {low} and {high} only; {high} is taken as the hole",)
    two = _find_two_levels(counts)
    if two is not None and (two[0] >= _BLACK or two[1] <= _WHITE):
        return grey > sum(two) // 2, (f"the mask holds {two[0]} and {two[1]}; {two[1]} is taken as the hole",)
    big = np.flatnonzero(counts >= _BIG * grey.size)
    if high <= 127:
        if len(big) > 2 or high < 32:
            raise BrokenImageError(
                f"{len(levels)} levels from {low} to {high}, like a label map; make a mask of 0 and 255 from the "
                "labels that you mean"
            )
        return grey > (low + high) // 2, (f"the brightest level of the mask is {high}; what is over half of it is the "
                                          "hole",)  # fmt: skip
    middle = (grey > 32) & (grey < 223)
    share = float(middle.mean())
    flat_count = int(((big > 32) & (big < 223)).sum())
    smooth = cv2.GaussianBlur(grey, (0, 0), 1.5)
    is_rough = share > 0.2 and float(cv2.absdiff(grey, smooth)[middle].mean()) > 2.5  # a feather is not
    if share > 0.5 or is_rough:
        raise BrokenImageError(
            f"not a mask but a photo: {100 * share:.0f} % of it is neither black nor white; {_EXPECTED}"
        )
    if flat_count and share > 0.1:
        raise BrokenImageError(
            f"{100 * share:.0f} % of it is one grey or several between black and white, as in a label map; {_EXPECTED}"
        )
    said = f"{100 * share:.0f} % of the mask are grey; what is over 127 is taken as the hole"
    return grey > 127, (said,) if share > 0.1 else ()


def _find_two_levels(counts: NDArray[np.int64]) -> tuple[int, int] | None:
    """The two levels that a mask has but for what a lossy format makes of them; None where it has others."""
    big = np.flatnonzero(counts >= _BIG * counts.sum())
    groups = np.split(big, np.flatnonzero(np.diff(big) > 8) + 1)
    if len(groups) != 2 or max(np.ptp(group) for group in groups) > 12 or groups[1][0] - groups[0][-1] < 48:
        return None
    near = sum(int(counts[max(0, group[0] - 12) : group[-1] + 13].sum()) for group in groups)
    if counts[groups[1][-1] + 32 :].sum() > 0.001 * counts.sum():  # something small that is lighter than both
        return None
    return (int(np.median(groups[0])), int(np.median(groups[1]))) if near >= 0.9 * counts.sum() else None


def _read_colors(rgb: NDArray[np.uint8]) -> tuple[_Bits, tuple[str, ...]]:
    """An opaque mask in colours: any paint on black."""
    brightest = rgb.max(axis=2)
    if brightest.max() < 80:
        return _read_tones(brightest)
    codes, shares = _color_shares(rgb)
    light = np.array([max(code >> 6, code >> 3 & 7, code & 7) >= 2 for code in codes], np.bool_)
    dark_share = float(shares[~light].sum())
    paints = np.sort(shares[light])[::-1]
    if dark_share + paints[:6].sum() < 0.9:
        raise BrokenImageError(f"not a mask: it has the colours of a photo; {_EXPECTED}")
    if dark_share < 0.02:
        raise BrokenImageError(f"without a black ground, it is unclear which of the colours is the hole; {_EXPECTED}")
    if (paints >= _BIG).sum() > 3:
        raise BrokenImageError(
            f"{int((paints >= _BIG).sum())} colours, like a label map; make a mask of 0 and 255 from the labels "
            "that you mean"
        )
    if not _is_flat_paint(rgb):
        raise BrokenImageError(
            f"not a mask: what is painted on it, or its ground, has the tones of a photo; {_EXPECTED}"
        )
    big = [rgb.reshape(-1, 3)[_codes(rgb) == code].max(axis=1) for code, share in zip(codes, shares, strict=True)
           if share >= min(_BIG, paints[0]) and max(code >> 6, code >> 3 & 7, code & 7) >= 2]  # fmt: skip
    faintest = min(float(np.median(values)) for values in big) if big else 255.0
    return brightest > min(127.0, faintest / 2), ("coloured pixels on the mask's black ground are taken as the hole",)


def _is_flat_paint(rgb: NDArray[np.uint8]) -> bool:
    """Whether the inner parts of what is painted have few colours, and those of the ground are black."""
    window = np.ones((5, 5), np.uint8)
    light = (rgb.max(axis=2) >= _BLACK).astype(np.uint8)
    ground = rgb.max(axis=2)[cv2.dilate(light, window) == 0]
    if ground.size and (ground > 24).mean() > 0.1:
        return False
    inner = rgb[cv2.erode(light, window) > 0].astype(np.int16)
    if len(inner) < 100:
        return True
    left = inner
    for _ in range(3):
        codes, counts = np.unique(_codes(left.astype(np.uint8)), return_counts=True)
        paint = np.median(left[_codes(left.astype(np.uint8)) == codes[counts.argmax()]], axis=0)
        left = left[np.abs(left - paint).max(axis=1) > 20]
        if not len(left):
            return True
    return len(left) < 0.1 * len(inner)


def _read_layer(pixels: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> tuple[_Bits, tuple[str, ...]]:
    """A mask with a transparent part: painted there, or cut out of something opaque."""
    painted = _find_painted(alpha)
    rgb = pixels if pixels.ndim == 3 else np.stack([pixels] * 3, axis=2)
    paint = rgb[painted]
    brightest = paint.max(axis=1)
    is_flat = max(np.ptp(np.percentile(channel, (2, 98))) for channel in paint.T) < _FLAT_SPREAD
    rim = np.concatenate([painted[0], painted[-1], painted[1:-1, 0], painted[1:-1, -1]])
    surrounds = float(rim.mean()) > 0.5
    as_painted = (painted, ("the mask's painted pixels are taken as the hole, its transparent ones are kept",))
    as_cut = (~painted, ("the mask's transparent pixels are taken as the hole, its opaque ones are kept",))
    if is_flat:
        # A black sheet with a hole cut into it; black strokes do not run along the border.
        return as_cut if surrounds and np.median(brightest) < _BLACK else as_painted
    is_grey = np.ptp(paint, axis=1) < _COLOURED
    at_poles = is_grey & ((brightest < _BLACK) | (brightest > _WHITE))
    if at_poles.mean() > 0.95:
        return painted & (rgb.max(axis=2) > 127), ()
    if surrounds and (~painted).mean() < 0.1:  # rounded corners and rims cut no hole into what is a mask without them
        try:
            return _read_colors(np.where(painted[..., None], rgb, np.uint8(0)))
        except BrokenImageError:
            return as_cut
    if surrounds:
        return as_cut
    shares = np.sort(_color_shares(paint[:, None])[1])[::-1]
    return as_painted if shares[:4].sum() > 0.8 else as_cut


def _find_painted(alpha: NDArray[np.uint8]) -> _Bits:
    """What was painted on a transparent ground, at any opacity: more than half of the faintest even paint's."""
    lowest = int(alpha.min())
    above = alpha - np.uint8(lowest)
    window = np.ones((3, 3), np.uint8)
    is_even = cv2.dilate(above, window).astype(np.int16) - cv2.erode(above, window) <= 4
    painted_count = int((above > 0).sum())
    counts = np.bincount(above[is_even & (above > 0)], minlength=256)
    near = np.convolve(counts, np.ones(5, np.int64), mode="same")
    # One paint makes a peak; the rim of a soft brush falls off slowly and makes none.
    rims = np.maximum(np.concatenate([np.zeros(5, np.int64), near[:-5]]), np.append(near[5:], np.zeros(5, np.int64)))
    even_levels = np.flatnonzero((near >= max(1, 0.05 * painted_count)) & (near >= 2 * rims))
    even_levels = even_levels[even_levels >= 8]
    peak = float(even_levels[0]) if even_levels.size else float(above.max())
    return above > min(127.0, peak / 2)


def _codes(rgb: NDArray[np.uint8]) -> NDArray[np.int64]:
    """3 bits a channel, flat."""
    steps = (rgb.reshape(-1, 3) >> 5).astype(np.int64)
    return steps[:, 0] << 6 | steps[:, 1] << 3 | steps[:, 2]


def _color_shares(rgb: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    codes, counts = np.unique(_codes(rgb), return_counts=True)
    return codes, counts / counts.sum()
