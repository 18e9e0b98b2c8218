"""PNG beside its pixels: profile, EXIF, XMP, texts and density, read from a file and put into one."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

SIGNATURE = b"\x89PNG\r\n\x1a\n"
XMP_KEYWORD = b"XML:com.adobe.xmp"
_MAX_CHUNK_BYTES = 16 * 2**20


def make_chunk(kind: bytes, data: bytes) -> bytes:
    """One chunk with its length and check sum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def profile_chunk(profile: bytes) -> bytes:
    """`iCCP` of an ICC profile."""
    return make_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(profile, 9))


def exif_chunk(exif: bytes) -> bytes:
    """`eXIf` of an EXIF block, with or without the six bytes that a JPEG puts before it."""
    return make_chunk(b"eXIf", exif.removeprefix(b"Exif\0\0"))


def xmp_chunk(xmp: bytes) -> bytes:
    """`iTXt` of an XMP packet."""
    return make_chunk(b"iTXt", XMP_KEYWORD + b"\0\0\0\0\0" + xmp)


def text_chunk(keyword: str, text: str) -> bytes:
    """`iTXt` of any text."""
    return make_chunk(b"iTXt", keyword.encode("latin-1", "replace")[:79] + b"\0\0\0\0\0" + text.encode("utf-8"))


def density_chunk(x_dpi: float, y_dpi: float) -> bytes:
    """`pHYs` of dots an inch."""
    return make_chunk(b"pHYs", struct.pack(">IIB", round(x_dpi / 0.0254), round(y_dpi / 0.0254), 1))


def read_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of the chunks of a PNG; ends at the first that is cut off, too large or damaged."""
    at = len(SIGNATURE)
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        content = data[at + 8 : at + 8 + length]
        if kind == b"IDAT":
            at += length + 12
            continue
        stored = data[at + 8 + length : at + 12 + length]
        if length > _MAX_CHUNK_BYTES or stored != struct.pack(">I", zlib.crc32(kind + content)):
            return
        yield kind, content
        at += length + 12


def put_chunks(png: bytes, chunks: bytes) -> bytes:
    """A PNG with chunks more, before its pixels."""
    at = len(SIGNATURE) + 25
    return png[:at] + chunks + png[at:]


def encode_grey_alpha(pixels: npt.NDArray[Any]) -> bytes:
    """Encode grey and alpha, uint8 or uint16 (H, W, 2), which OpenCV has no PNG for."""
    height, width = pixels.shape[:2]
    depth = 8 * pixels.dtype.itemsize
    rows = pixels.astype(pixels.dtype.newbyteorder(">")).reshape(height, -1).view(np.uint8)
    raw = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1).tobytes()
    header = struct.pack(">IIBBBBB", width, height, depth, 4, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(raw, 6)), (b"IEND", b""))
    return SIGNATURE + b"".join(make_chunk(kind, content) for kind, content in parts)


def set_upright(xmp: bytes) -> bytes:
    """An XMP packet whose orientation says that the picture is upright; it is read beside that of EXIF."""
    return re.sub(rb"(tiff:Orientation\s*(?:=\s*[\"']|>)\s*)[2-8]", rb"\g<1>1", xmp)
