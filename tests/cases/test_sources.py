"""Photos, source folders and split lists in the forms that people and tools have them, with the right values stated."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from dpsdata.contracts import BrokenImageError
from dpsdata.images import codec

ROWS, COLUMNS = np.mgrid[0:48, 0:64]
PHOTO = np.stack([ROWS * 5, COLUMNS * 3, 200 - ROWS - COLUMNS], 2).astype(np.uint8)
GREY = PHOTO[..., 0]
ALPHA = np.clip(COLUMNS * 5, 0, 255).astype(np.uint8)


def save(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def over_white(color: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    color = color if color.ndim == 3 else np.repeat(color[..., None], 3, 2)
    weight = alpha[..., None].astype(int)
    return (color * weight + 255 * (255 - weight) + 127) // 255


def as_rgb(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, 2)


TIFF_KINDS: dict[str, tuple[np.ndarray, str, str | None, np.ndarray]] = {
    "grey": (GREY, "minisblack", None, as_rgb(GREY)),
    "white is zero": (255 - GREY, "miniswhite", None, as_rgb(GREY)),
    "rgb": (PHOTO, "rgb", None, PHOTO),
    "rgba": (np.dstack([PHOTO, ALPHA]), "rgb", "unassalpha", over_white(PHOTO, ALPHA)),
    "multiplied": (
        np.dstack([(PHOTO.astype(int) * ALPHA[..., None] + 127) // 255, ALPHA]).astype(np.uint8),
        "rgb", "assocalpha", over_white(PHOTO, ALPHA),
    ),
    "a fourth sample": (np.dstack([PHOTO, ALPHA]), "rgb", "unspecified", PHOTO),
}  # fmt: skip


def tiff(pixels: np.ndarray, photometric: str, extra: str | None, planar: bool, **options: object) -> bytes:
    stream = io.BytesIO()
    in_planes = planar and pixels.ndim == 3
    tifffile.imwrite(
        stream,
        np.ascontiguousarray(np.moveaxis(pixels, 2, 0)) if in_planes else pixels,
        photometric=photometric,
        planarconfig=("separate" if in_planes else "contig") if pixels.ndim == 3 else None,
        extrasamples=[extra] if extra else None,
        **options,
    )
    return stream.getvalue()


def tiff_cases() -> Iterator[tuple[str, bytes, bytes, np.ndarray]]:
    """Name, the 16-bit file, its 8-bit twin and the photo.

    Pillow does not open big TIFFs whose fourth sample means nothing and lies in a plane; those are said, never guessed.
    """
    forms = {"plain": {}, "deflate and predictor": {"compression": "zlib", "predictor": True},
             "deflated tiles": {"compression": "zlib", "tile": (16, 16)}, "big": {"bigtiff": True}}  # fmt: skip
    for kind, (pixels, photometric, extra, expected) in TIFF_KINDS.items():
        for form, options in forms.items():
            for planar in (False, True):
                deep = tiff(pixels.astype(np.uint16) * 257, photometric, extra, planar, **options)
                twin = tiff(pixels, photometric, extra, planar, **options)
                yield f"{kind}, {form}{', planes' if planar else ''}", deep, twin, expected


TIFFS = {name: case for name, *case in tiff_cases()}


@pytest.mark.parametrize("name", TIFFS)
def test_every_form_of_tiff_is_its_photo(name: str) -> None:
    deep, twin, expected = TIFFS[name]
    found = codec.read_photo(deep)
    rounding = 1 if name.startswith("multiplied") else 0
    assert np.abs(found.astype(int) - expected).max() <= rounding
    assert codec.probe_image(deep) == (64, 48)
    if name.startswith("a fourth sample") and name.endswith("planes") and "deflate" not in name:
        with pytest.raises(BrokenImageError, match="TIFF image of a form that is not read"):
            codec.read_photo(twin)
        return
    shallow = codec.read_photo(twin)
    # An alpha that was multiplied in is taken out again in 8 bits by Pillow, which loses a few levels where it is low.
    assert np.abs(shallow.astype(int) - expected).max() <= 3 * rounding


def test_big_endian_16_bit_tiff() -> None:
    data = tiff(PHOTO.astype(np.uint16) * 257, "rgb", None, True, byteorder=">", compression="zlib", predictor=True)
    assert data[:2] == b"MM"
    assert np.array_equal(codec.read_photo(data), PHOTO)
    inverted = tiff((255 - GREY).astype(np.uint16) * 257, "miniswhite", None, False, byteorder=">")
    assert np.array_equal(codec.read_photo(inverted), as_rgb(GREY))


@pytest.mark.parametrize("deep", [False, True])
def test_a_small_copy_on_the_first_page_is_not_the_photo(deep: bool) -> None:
    scale = np.uint16(257) if deep else np.uint8(1)
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        writer.write(PHOTO[::4, ::4] * scale, photometric="rgb", subfiletype=1)
        writer.write(PHOTO * scale, photometric="rgb", subfiletype=0)
        writer.write((255 - PHOTO) * scale, photometric="rgb")
    assert np.array_equal(codec.read_photo(stream.getvalue()), PHOTO)
    assert codec.probe_image(stream.getvalue()) == (64, 48)


@pytest.mark.parametrize("pixels", [PHOTO.astype(np.float32) / 255, PHOTO.astype(np.int16), PHOTO.astype(np.uint32)])
def test_samples_without_a_known_white_are_refused(pixels: np.ndarray) -> None:
    with pytest.raises(BrokenImageError, match=r"save it (with 8 or 16 bits|as PNG)"):
        codec.read_photo(tiff(pixels, "rgb", None, False))


def bmp_32(alpha: int | None, bitfields: bool) -> bytes:
    """A BMP of 32 bits: plain, or with the masks of a header of version 5 that name an alpha."""
    rows = np.dstack([PHOTO[::-1, :, ::-1], np.full(GREY.shape, alpha or 0, np.uint8)]).tobytes()
    height, width = GREY.shape
    head = struct.pack("<IiiHHIIiiII", 124 if bitfields else 40, width, height, 1, 32, 3 if bitfields else 0,
                       len(rows), 2835, 2835, 0, 0)  # fmt: skip
    if bitfields:
        head += struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + b"BGRs" + bytes(64)
    offset = 14 + len(head)
    return b"BM" + struct.pack("<IHHI", offset + len(rows), 0, 0, offset) + head + rows


@pytest.mark.parametrize("bitfields", [False, True])
@pytest.mark.parametrize("alpha", [0, 255])
def test_a_bmp_whose_alpha_is_unset_is_not_white(alpha: int, bitfields: bool) -> None:
    data = bmp_32(alpha, bitfields)
    assert np.array_equal(codec.read_photo(data), PHOTO)
    assert np.array_equal(codec.read_photo(data), cv2.imdecode(np.frombuffer(data, np.uint8), 1)[..., ::-1])


def test_a_cmyk_jpeg_without_its_marker_is_no_negative() -> None:
    data = save(Image.fromarray(PHOTO).convert("CMYK"), "JPEG", quality=98, subsampling=0)
    start = data.index(b"\xff\xee")
    bare = data[:start] + data[start + 2 + struct.unpack(">H", data[start + 2 : start + 4])[0] :]
    assert b"Adobe" not in bare
    for file in (data, bare):
        found = codec.read_photo(file).astype(int)
        assert np.abs(found - PHOTO).mean() < 3
        assert np.abs(found - cv2.imdecode(np.frombuffer(file, np.uint8), 1)[..., ::-1]).mean() < 3


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def text_chunks() -> dict[str, bytes]:
    exif = Image.Exif()
    exif[274] = 6
    body = exif.tobytes()
    profile = f"\nexif\n{len(body):8d}\n{body.hex()}\n".encode()
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    return {
        "exif": png_chunk(b"eXIf", body.removeprefix(b"Exif\0\0")),
        "raw profile": png_chunk(b"tEXt", b"Raw profile type exif\0" + profile),
        "packed raw profile": png_chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(profile)),
        "raw profile of APP1": png_chunk(b"zTXt", b"Raw profile type APP1\0\0" + zlib.compress(profile)),
        "xmp": png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp),
        "packed xmp": png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(xmp)),
    }


@pytest.mark.parametrize("name", text_chunks())
@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("late", [False, True])
def test_an_orientation_counts_wherever_a_png_holds_it(name: str, deep: bool, late: bool) -> None:
    stored = np.ascontiguousarray(np.rot90(PHOTO, 1))
    stored = stored.astype(np.uint16) * 257 if deep else stored
    data = cv2.imencode(".png", stored[..., ::-1])[1].tobytes()
    place = data.index(b"IEND") - 4 if late else data.index(b"IDAT") - 4
    data = data[:place] + text_chunks()[name] + data[place:]
    assert np.array_equal(codec.read_photo(data), PHOTO)
    assert codec.probe_image(data) == (64, 48)


def deep_png(color_type: int, samples: np.ndarray, *between: bytes) -> bytes:
    height, width = samples.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    head = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)
    parts = [png_chunk(b"IHDR", head), *between, png_chunk(b"IDAT", zlib.compress(rows)), png_chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_16_bit_pngs_with_transparency_equal_their_twins() -> None:
    def wide(pixels: np.ndarray) -> np.ndarray:
        return pixels.astype(np.uint16) * 257

    assert np.array_equal(codec.read_photo(deep_png(4, wide(np.dstack([GREY, ALPHA])))), over_white(GREY, ALPHA))
    assert np.array_equal(codec.read_photo(deep_png(6, wide(np.dstack([PHOTO, ALPHA])))), over_white(PHOTO, ALPHA))
    key = wide(PHOTO)[10, 20]
    keyed = codec.read_photo(deep_png(2, wide(PHOTO), png_chunk(b"tRNS", key.astype(">u2").tobytes())))
    is_key = (PHOTO[10, 20] == PHOTO).all(2)
    assert is_key.any()
    assert np.array_equal(keyed, np.where(is_key[..., None], 255, PHOTO))
    grey = codec.read_photo(deep_png(0, wide(GREY), png_chunk(b"tRNS", struct.pack(">H", int(GREY[10, 0]) * 257))))
    assert np.array_equal(grey, as_rgb(np.where(GREY[10, 0] == GREY, 255, GREY)))
    twin = save(Image.fromarray(PHOTO), "PNG", transparency=tuple(int(value) for value in PHOTO[10, 20]))
    assert np.array_equal(codec.read_photo(twin), keyed)


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize("inside", [False, True])
def test_a_grey_that_is_transparent_in_a_png_of_few_bits(depth: int, inside: bool) -> None:
    most, per_byte = (1 << depth) - 1, 8 // depth
    levels = (GREY >> (8 - depth)).astype(int)
    key = most // 3 if inside else most
    packed = sum(levels[:, place::per_byte] << (8 - depth * (place + 1)) for place in range(per_byte))
    rows = b"".join(b"\0" + bytes(row.tolist()) for row in np.asarray(packed))
    head = struct.pack(">IIBBBBB", 64, 48, depth, 0, 0, 0, 0)
    parts = [(b"IHDR", head), (b"tRNS", struct.pack(">H", key)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*part) for part in parts)
    expected = np.where(levels == key, 255, levels * 255 // most).astype(np.uint8)
    assert np.array_equal(codec.read_photo(data), as_rgb(expected))


@pytest.mark.parametrize("top", [255, 1023, 65535])
def test_portable_maps_of_any_depth(top: int) -> None:
    def pack(pixels: np.ndarray) -> bytes:
        scaled = np.rint(pixels / 255 * top)
        return scaled.astype(">u2" if top > 255 else np.uint8).tobytes()

    size = f"{GREY.shape[1]} {GREY.shape[0]}\n{top}\n".encode()
    assert np.array_equal(codec.read_photo(b"P5\n" + size + pack(GREY)), as_rgb(GREY))
    assert np.array_equal(codec.read_photo(b"P6\n" + size + pack(PHOTO)), PHOTO)


def test_other_containers_of_photos() -> None:
    from PIL import features

    photo = Image.fromarray(PHOTO)
    for kind, distance in (
        ("PPM", 0),
        ("JPEG", 12),
        ("WEBP", 25),
        ("GIF", 40),
        *([("AVIF", 25)] * features.check("avif")),
    ):
        assert np.abs(codec.read_photo(save(photo, kind)).astype(int) - PHOTO).mean() <= distance / 4, kind
    for kind in ("JPEG2000",):
        with pytest.raises(BrokenImageError, match="JPEG 2000 image, which is not read; convert it"):
            codec.read_photo(save(photo, kind))
    heic = struct.pack(">I4s4sI4s4s", 24, b"ftyp", b"heic", 0, b"mif1", b"heic") + bytes(64)
    with pytest.raises(BrokenImageError, match=r"HEIC|form that is not read"):
        codec.read_photo(heic)


def test_too_many_pixels_are_said_with_their_number() -> None:
    data = bytearray(save(Image.new("L", (8, 8)), "PNG"))
    data[16:24] = struct.pack(">II", 19_000, 10_000)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    with pytest.raises(BrokenImageError, match=r"190,?000,?000|19000 x 10000.*make it smaller"):
        codec.read_photo(bytes(data))
