"""TIFF files of 16 bits or in planes: one page as plain samples, whatever their planes, polarity, alpha and predictor.

Pillow cuts 16-bit samples to 8 bits, and OpenCV takes planes, inverted grey and most forms of alpha wrongly. So the
page is described anew as grey samples side by side, which any reader of TIFF unpacks alike, and put in order here.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from dpsdata.contracts import BrokenImageError

Samples = npt.NDArray[Any]

(_SUBFILE, _OLD_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER, _STRIPS, _SAMPLES, _ROWS,
 _STRIP_BYTES, _PLANES, _PREDICTOR, _TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES, _EXTRA, _FORMAT) = (
    254, 255, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 317, 322, 323, 324, 325, 338, 339
)  # fmt: skip
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2
_ASSOCIATED, _STRAIGHT = 1, 2
_MAX_PAGES = 32


def seek_main_page(image: Image.Image) -> None:
    """Go to the first page that is not marked as a small copy of another one; the first where all are."""
    for page in range(_MAX_PAGES):
        try:
            image.seek(page)
        except EOFError:
            break
        tags: Any = getattr(image, "tag_v2", {})
        if not (_number(tags, _SUBFILE, 0) & 1 or _number(tags, _OLD_SUBFILE, 0) == 2):
            return
    image.seek(0)


def sample_bits(tags: Any) -> int:
    """Bits of a sample of the page with these tags; BrokenImageError where samples are no whole numbers from 0 up."""
    bits = tags.get(_BITS, 1)
    kinds = tags.get(_FORMAT, 1)
    depth = max(bits if isinstance(bits, tuple) else (bits,))
    kind = max(kinds if isinstance(kinds, tuple) else (kinds,))
    if kind in (2, 3, 5, 6) or depth > 16:
        word = "floating-point" if kind == 3 else "complex" if kind > 4 else "signed" if kind == 2 else "whole"
        raise BrokenImageError(
            f"its samples are {word} numbers of {depth} bits, and nothing says which are black and white; save it "
            "with 8 or 16 bits a sample"
        )
    return int(depth)


def needs_own_reader(image: Image.Image, depth: int) -> bool:
    """Whether neither Pillow nor OpenCV reads a page of this depth in bits rightly."""
    tags: Any = getattr(image, "tag_v2", {})
    is_plain = tags.get(_PHOTOMETRIC) in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB)
    in_planes = tags.get(_PLANES, 1) == 2 and tags.get(_SAMPLES, 1) != 1
    return depth == 16 or (depth == 8 and in_planes and is_plain and tags.get(_COMPRESSION, 1) not in (6, 7))


def read_samples(
    image: Image.Image, data: bytes, unpack: Callable[[bytes], npt.NDArray[Any] | None]
) -> tuple[Samples, Samples | None, bool]:
    """The samples of a page of 8 or 16 bits, black = 0.

    Args:
        image: the opened file, at its page.
        data: its bytes.
        unpack: decodes a grey TIFF to uint8 or uint16 (H, W), or None.

    Returns:
        Colour (H, W) or (H, W, 3) RGB, alpha (H, W) or None, and whether the colour is multiplied by the alpha already.

    Raises:
        BrokenImageError: a form that is not read.
    """
    tags: Any = getattr(image, "tag_v2", {})
    photometric = _number(tags, _PHOTOMETRIC, _BLACK_IS_ZERO)
    if photometric not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB):
        raise BrokenImageError(f"TIFF pixels of the photometric kind {photometric} are not read; save it as RGB")
    count = _number(tags, _SAMPLES, 1)
    colors = 3 if photometric == _RGB else 1
    if count < colors:
        raise BrokenImageError(f"it has {count} samples a pixel, expected {colors}")
    if _number(tags, _PLANES, 1) == 2 and count > 1:
        planes = [_unpack_grey(tags, data, 1, plane, count, unpack) for plane in range(count)]
        samples = np.stack(planes, axis=2)
    else:
        samples = _unpack_grey(tags, data, count, 0, 1, unpack)
        samples = samples.reshape(samples.shape[0], -1, count)
    if photometric == _WHITE_IS_ZERO:
        samples[..., 0] = np.iinfo(samples.dtype).max - samples[..., 0]
    color = samples[..., :3] if colors == 3 else samples[..., 0]
    extra = tags.get(_EXTRA, ())
    kinds = extra if isinstance(extra, tuple) else (extra,)
    place = next((index for index, kind in enumerate(kinds) if kind in (_ASSOCIATED, _STRAIGHT)), None)
    if place is None or colors + place >= count:
        return color, None, False
    return color, samples[..., colors + place], kinds[place] == _ASSOCIATED


def _unpack_grey(
    tags: Any, data: bytes, across: int, plane: int, planes: int, unpack: Callable[[bytes], npt.NDArray[Any] | None]
) -> Samples:
    """One plane as (H, W * across): `across` samples of each pixel side by side."""
    prefix = data[:2] if data[:2] in (b"II", b"MM") else b"II"
    order = "<" if prefix == b"II" else ">"
    width, height, predictor = _number(tags, _WIDTH, 0), _number(tags, _HEIGHT, 0), _number(tags, _PREDICTOR, 1)
    if predictor not in (1, 2):
        raise BrokenImageError(f"the predictor {predictor} of its compression is not for whole numbers; save it as PNG")
    depth = sample_bits(tags)
    is_tiled = _TILES in tags
    block = _number(tags, _TILE_WIDTH, width) if is_tiled else width
    # Without the predictor: over samples side by side it would run wrongly, so it is undone below.
    fresh = {
        _WIDTH: [width * across],
        _HEIGHT: [height],
        _BITS: [depth],
        _COMPRESSION: [_number(tags, _COMPRESSION, 1)],
        _PHOTOMETRIC: [_BLACK_IS_ZERO],
        _SAMPLES: [1],
        _PLANES: [1],
    }
    if is_tiled:
        fresh |= {_TILE_WIDTH: [block * across], _TILE_HEIGHT: [_number(tags, _TILE_HEIGHT, height)]}
    else:
        fresh[_ROWS] = [min(_number(tags, _ROWS, height), height)]
    if _FILL_ORDER in tags:
        fresh[_FILL_ORDER] = [_number(tags, _FILL_ORDER, 1)]
    for tag in (_TILES, _TILE_BYTES) if is_tiled else (_STRIPS, _STRIP_BYTES):
        values = tags[tag] if isinstance(tags[tag], tuple) else (tags[tag],)
        share = len(values) // planes
        fresh[tag] = list(values[plane * share : (plane + 1) * share])
    start = len(data) + len(data) % 2
    head = prefix + struct.pack(order + "HI", 42, start) + data[8:].ljust(start - 8, b"\0")
    body = head + _directory(fresh, start, order)
    samples = unpack(body)
    if samples is None or samples.dtype.itemsize * 8 != depth or samples.shape != (height, width * across):
        raise BrokenImageError("the image is cut off or damaged: its pixels could not be decoded")
    if predictor == 2:
        for left in range(0, width, block):
            part = samples[:, left * across : (left + block) * across]
            rows = part.reshape(height, -1, across)
            part[:] = np.add.accumulate(rows, axis=1, dtype=samples.dtype).reshape(part.shape)
    return samples


def _directory(tags: dict[int, list[int]], start: int, order: str) -> bytes:
    """A directory of TIFF that begins at byte `start`, of whole numbers of 32 bits alone."""
    entries, tail = b"", b""
    after = start + 2 + 12 * len(tags) + 4
    for tag in sorted(tags):
        values = struct.pack(f"{order}{len(tags[tag])}I", *tags[tag])
        place = values if len(values) == 4 else struct.pack(order + "I", after + len(tail))
        tail += b"" if len(values) == 4 else values
        entries += struct.pack(order + "HHI", tag, 4, len(tags[tag])) + place
    return struct.pack(order + "H", len(tags)) + entries + bytes(4) + tail


def _number(tags: Any, tag: int, default: int) -> int:
    value = tags.get(tag, default)
    value = value[0] if isinstance(value, tuple) else value
    if not isinstance(value, int):
        raise BrokenImageError(f"the TIFF tag {tag} is damaged")
    return value
