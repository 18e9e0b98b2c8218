from __future__ import annotations

import io
import os
import struct
import time
import tracemalloc
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dpsdata.contracts import BrokenImageError, UsageError
from dpsdata.images import codec as image_io
from dpsdata.images import header as image_header


def picture(height: int = 24, width: int = 16) -> np.ndarray:
    """Smooth and without any symmetry, so that every turn and every lost channel shows."""
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows * 8, columns * 12, 200 - rows * 3 - columns * 2], 2).astype(np.uint8)


def upright_to_stored(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """What a camera stores so that EXIF `orientation` shows `pixels`: row 0 and column 0 as the standard names them."""
    return {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.swapaxes(0, 1),
        6: np.rot90(pixels, 1),  # shown turned by 90 degrees clockwise, so stored turned counter-clockwise
        7: pixels[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(pixels, -1),
    }[orientation]


def save(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def with_orientation(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[274] = orientation
    return exif


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, depth: int, color: int, rows: bytes, *between: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    parts = [png_chunk(b"IHDR", header), *between, png_chunk(b"IDAT", zlib.compress(rows)), png_chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_every_orientation_comes_out_upright(kind: str, orientation: int) -> None:
    stored = np.ascontiguousarray(upright_to_stored(picture(), orientation))
    options = {"PNG": {}, "TIFF": {}, "WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}[kind]
    data = save(Image.fromarray(stored), kind, exif=with_orientation(orientation), **options)
    found = image_io.read_photo(data)
    assert found.shape == (24, 16, 3)
    assert np.abs(found.astype(int) - picture()).max() <= (3 if kind == "JPEG" else 0)
    assert image_io.probe_image(data) == (16, 24)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("grey", [True, False])
def test_every_orientation_of_a_16_bit_tiff(orientation: int, grey: bool) -> None:
    upright = picture()[..., 0] if grey else picture()
    stored = np.ascontiguousarray(upright_to_stored(upright.astype(np.uint16) * 257, orientation))
    data = cv2.imencode(".tiff", stored if grey else stored[..., ::-1], [cv2.IMWRITE_TIFF_COMPRESSION, 1])[1].tobytes()
    start = struct.unpack("<I", data[4:8])[0]
    count = struct.unpack("<H", data[start : start + 2])[0]
    # One more entry of the directory, written behind the rest, as OpenCV has no option for the tag.
    entries = [data[start + 2 + 12 * i : start + 14 + 12 * i] for i in range(count)]
    kept = [entry for entry in entries if struct.unpack("<H", entry[:2])[0] != 274]
    kept.append(struct.pack("<HHIHH", 274, 3, 1, orientation, 0))
    kept.sort(key=lambda entry: struct.unpack("<H", entry[:2])[0])
    data += b"\0" * (len(data) % 2)
    data = (
        data[:4] + struct.pack("<I", len(data)) + data[8:] + struct.pack("<H", len(kept)) + b"".join(kept) + b"\0" * 4
    )
    found = image_io.read_grey(data) if grey else image_io.read_photo(data)
    assert np.array_equal(found, upright)
    assert image_io.probe_image(data) == (16, 24)


def test_orientation_behind_the_pixels_of_a_png_counts() -> None:
    plain = save(Image.fromarray(np.ascontiguousarray(np.rot90(picture(), 1))), "PNG")
    late = plain[:-12] + png_chunk(b"eXIf", with_orientation(6).tobytes()[6:]) + plain[-12:]
    assert image_io.probe_image(late) == (16, 24)
    assert np.array_equal(image_io.read_photo(late), picture())


def test_damaged_exif_does_not_lose_the_photo() -> None:
    data = save(Image.fromarray(picture()), "PNG", exif=b"Exif\0\0nonsense")
    assert np.array_equal(image_io.read_photo(data), picture())
    assert image_io.probe_image(data) == (16, 24)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_lossless_formats_are_exact(kind: str) -> None:
    assert np.array_equal(image_io.read_photo(save(Image.fromarray(picture()), kind)), picture())


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF"])
def test_one_bit(kind: str) -> None:
    bits = picture()[..., 0] > 90
    found = image_io.read_photo(save(Image.fromarray(bits), kind))
    assert np.array_equal(found, np.repeat(bits[..., None], 3, 2) * np.uint8(255))


def test_grey_is_the_same_in_three_channels() -> None:
    grey = picture()[..., 1]
    data = save(Image.fromarray(grey), "PNG")
    assert np.array_equal(image_io.read_photo(data), np.stack([grey] * 3, 2))
    assert np.array_equal(image_io.read_grey(data), grey)
    three = save(Image.fromarray(np.stack([grey] * 3, 2)), "PNG")
    assert np.array_equal(image_io.read_grey(three), grey)


def test_luma_weights() -> None:
    pure = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    assert image_io.read_grey(image_io.encode_png(pure)).tolist() == [[76, 150, 29]]  # 0.299, 0.587, 0.114 of 255


def test_transparent_pixels_lie_on_white() -> None:
    rgba = np.array([[[100, 50, 0, 255], [100, 50, 0, 0], [100, 50, 0, 128]]], np.uint8)
    # 128/255 of (100, 50, 0) and 127/255 of white: 177.2, 152.1, 127
    expected = [[[100, 50, 0], [255, 255, 255], [177, 152, 127]]]
    for kind in ("PNG", "TIFF"):
        assert image_io.read_photo(save(Image.fromarray(rgba), kind)).tolist() == expected
    lossless = save(Image.fromarray(rgba), "WEBP", lossless=True, exact=True)
    assert image_io.read_photo(lossless).tolist() == expected
    assert image_io.read_photo(
        cv2.imencode(".png", rgba[..., [2, 1, 0, 3]].astype(np.uint16) * 257)[1].tobytes()
    ).tolist() == (expected)


def test_grey_with_alpha() -> None:
    layers = Image.merge(
        "LA", [Image.fromarray(np.array([[10, 10]], np.uint8)), Image.fromarray(np.array([[255, 0]], np.uint8))]
    )
    assert image_io.read_grey(save(layers, "PNG")).tolist() == [[10, 255]]


def test_palette_with_and_without_transparency() -> None:
    image = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    image.putpalette([200, 10, 20, 30, 40, 250])
    assert image_io.read_photo(save(image, "PNG")).tolist() == [[[200, 10, 20], [30, 40, 250]]]
    assert image_io.read_photo(save(image, "PNG", transparency=1)).tolist() == [[[200, 10, 20], [255, 255, 255]]]
    assert image_io.read_photo(save(image, "GIF", transparency=1)).tolist() == [[[200, 10, 20], [255, 255, 255]]]


def test_cmyk_jpeg_with_and_without_the_mark_of_adobe() -> None:
    ink = np.zeros((16, 16, 4), np.uint8)
    ink[...] = (0, 200, 250, 0)  # red: no cyan, much magenta and yellow
    adobe = save(Image.frombytes("CMYK", (16, 16), ink.tobytes()), "JPEG", quality=100)
    at = adobe.index(b"\xff\xee")
    assert adobe[at + 4 : at + 9] == b"Adobe"
    assert np.abs(image_io.read_photo(adobe).astype(int) - (255, 55, 5)).max() <= 3
    length = struct.unpack(">H", adobe[at + 2 : at + 4])[0]
    bare = adobe[:at] + adobe[at + 2 + length :]
    # Pillow, OpenCV and ImageMagick take ink in a JPEG as inverted, with the mark or without it.
    assert np.array_equal(image_io.read_photo(bare), image_io.read_photo(adobe))


def test_16_bit_png_is_rounded_not_cut() -> None:
    values = np.array([[0, 128, 129, 257, 385, 386, 65406, 65407, 65535]], np.uint16)
    expected = [[0, 0, 1, 1, 1, 2, 254, 255, 255]]  # round(v / 257); v >> 8 would give 0 for 129 and 1 for 386
    grey = cv2.imencode(".png", values)[1].tobytes()
    assert image_io.read_grey(grey).tolist() == expected
    color = np.stack([values, values[:, ::-1], values * 0], 2)
    found = image_io.read_photo(cv2.imencode(".png", color[..., ::-1])[1].tobytes())
    assert found[..., 0].tolist() == expected
    assert found[..., 1].tolist() == [expected[0][::-1]]
    assert not found[..., 2].any()


def test_16_bit_png_obeys_its_orientation() -> None:
    stored = np.ascontiguousarray(np.rot90(picture(), 1)).astype(np.uint16) * 257
    plain = cv2.imencode(".png", stored[..., ::-1])[1].tobytes()
    data = plain[:33] + png_chunk(b"eXIf", with_orientation(6).tobytes()[6:]) + plain[33:]
    assert np.array_equal(image_io.read_photo(data), picture())
    assert image_io.probe_image(data) == (16, 24)


def test_wrong_extension_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "really_a_png.jpg"
    path.write_bytes(save(Image.fromarray(picture()), "PNG"))
    assert np.array_equal(image_io.read_photo(path), picture())
    assert np.array_equal(image_io.read_photo(str(path)), picture())


def test_float_pixels_have_no_range_and_are_refused() -> None:
    with pytest.raises(BrokenImageError, match="samples are floating-point numbers of 32 bits"):
        image_io.read_photo(save(Image.fromarray(np.zeros((4, 4), np.float32)), "TIFF"))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP"])
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.9])
def test_a_cut_file_is_broken(kind: str, kept: float) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (64, 48, 3)).astype(np.uint8)
    data = save(Image.fromarray(noise), kind)
    with pytest.raises(BrokenImageError, match=r"cut off|damaged"):
        image_io.read_photo(data[: int(len(data) * kept)])


def test_a_cut_16_bit_png_is_broken() -> None:
    noise = np.random.default_rng(3).integers(0, 65536, (64, 48, 3)).astype(np.uint16)
    data = cv2.imencode(".png", noise)[1].tobytes()
    for kept in (40, len(data) // 2, len(data) - 20):
        with pytest.raises(BrokenImageError):
            image_io.read_photo(data[:kept])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"hello, I am text", "not a JPEG"),
        (b"\x89PNG\r\n\x1a\n", "cut off"),
        (b"%!PS-Adobe", "not a JPEG"),
    ],
)
def test_what_is_no_image_has_a_reason(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(data)
    for source in (path, data):
        with pytest.raises(BrokenImageError, match=reason) as caught:
            image_io.read_photo(source)
        assert "\n" not in str(caught.value)
        with pytest.raises(BrokenImageError, match=reason):
            image_io.probe_image(source)


@settings(max_examples=60, deadline=None)
@given(kind=st.sampled_from(["PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP"]), data=st.data())
def test_flipped_bytes_never_raise_anything_else(kind: str, data: st.DataObject) -> None:
    content = bytearray(
        save(Image.fromarray(picture()), kind, exif=with_orientation(6))
        if kind not in ("GIF", "BMP")
        else (save(Image.fromarray(picture()), kind))
    )
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = image_io.read_photo(bytes(content), max_pixels=100_000)
    except BrokenImageError:
        return
    assert found.dtype == np.uint8
    assert found.ndim == 3


@pytest.mark.parametrize("side", [12_000, 20_000])
def test_a_bomb_is_refused_fast_and_with_little_memory(side: int) -> None:
    data = png(side, side, 8, 2, b"\0" * 1000)
    tracemalloc.start()
    start = time.perf_counter()
    with pytest.raises(BrokenImageError, match="pixels"):
        image_io.read_photo(data)
    with pytest.raises(BrokenImageError, match="pixels"):
        image_io.probe_image(data)
    assert time.perf_counter() - start < 1
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


def test_the_pixel_limit_is_sharp() -> None:
    data = image_io.encode_png(picture(10, 10))
    assert image_io.read_photo(data, max_pixels=100).shape == (10, 10, 3)
    with pytest.raises(BrokenImageError, match=r"10 x 10 pixels, more than the 99"):
        image_io.read_photo(data, max_pixels=99)


def test_what_is_no_ordinary_file(tmp_path: Path) -> None:
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "dangling.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    reasons = {
        "folder": "a folder",
        "pipe": "a pipe",
        "dangling": "a link to",
        "loop": "cannot be opened",
        "no": "not exist",
    }
    for name, reason in reasons.items():
        for read in (image_io.read_photo, image_io.probe_image):
            with pytest.raises(BrokenImageError, match=reason):
                read(tmp_path / f"{name}.jpg")


def test_a_huge_file_is_refused_before_reading(tmp_path: Path) -> None:
    path = tmp_path / "huge.bmp"
    with path.open("wb") as stream:
        stream.truncate(image_header.MAX_FILE_BYTES + 1)  # a hole: takes no room on the disk
    with pytest.raises(BrokenImageError, match="bytes, more than"):
        image_io.read_photo(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file(tmp_path: Path) -> None:
    path = tmp_path / "secret.png"
    path.write_bytes(image_io.encode_png(picture()))
    path.chmod(0)
    with pytest.raises(BrokenImageError, match="cannot be opened"):
        image_io.read_photo(path)


def test_polarities_on_disk(tmp_path: Path) -> None:
    drawn = np.zeros((4, 6), np.uint8)
    drawn[1, 2:5] = 1
    image_io.write_mask(tmp_path / "m.png", drawn)
    image_io.write_sketch(tmp_path / "s.png", drawn)
    assert np.array_equal(image_io.read_grey(tmp_path / "m.png"), drawn * 255)  # white = hole
    assert np.array_equal(image_io.read_grey(tmp_path / "s.png"), 255 - drawn * 255)  # black = line
    assert np.array_equal(image_io.read_mask(tmp_path / "m.png"), drawn)
    assert np.array_equal(image_io.read_sketch(tmp_path / "s.png"), drawn)


def test_thresholds_and_transparency_of_masks_and_sketches() -> None:
    ramp = image_io.encode_png(np.array([[0, 127, 128, 255]], np.uint8))
    assert image_io.read_mask(ramp).tolist() == [[0, 0, 1, 1]]
    assert image_io.read_sketch(ramp).tolist() == [[1, 1, 0, 0]]
    strokes = np.array([[[255, 255, 255, 255], [255, 255, 255, 0]], [[0, 0, 0, 255], [0, 0, 0, 0]]], np.uint8)
    layer = save(Image.fromarray(strokes), "PNG")
    assert image_io.read_mask(layer).tolist() == [[1, 0], [0, 0]]
    assert image_io.read_sketch(layer).tolist() == [[0, 0], [1, 0]]


def test_edges_keep_16_bits(tmp_path: Path) -> None:
    edges = np.arange(0, 65536, 97, dtype=np.uint16)[:600].reshape(20, 30)
    image_io.write_edges(tmp_path / "e.png", edges)
    found = image_io.read_edges(tmp_path / "e.png")
    assert found.dtype == np.uint16
    assert np.array_equal(found, edges)
    assert image_io.read_edges(image_io.encode_png(np.array([[0, 1, 255]], np.uint8))).tolist() == [[0, 257, 65535]]


def test_photos_survive_png_and_nearly_survive_jpeg(tmp_path: Path) -> None:
    for suffix, distance in ((".png", 0), (".jpg", 12), (".JPEG", 12)):
        image_io.write_photo(tmp_path / f"p{suffix}", picture())
        found = image_io.read_photo(tmp_path / f"p{suffix}")
        assert np.abs(found.astype(int) - picture()).max() <= distance
    assert (tmp_path / "p.jpg").read_bytes()[:3] == b"\xff\xd8\xff"
    with pytest.raises(UsageError, match=r"\.png"):
        image_io.write_photo(tmp_path / "p.bmp", picture())


def test_png_bytes_are_the_same_for_any_memory_layout() -> None:
    flipped = picture()[::-1, ::-1]
    assert image_io.encode_png(flipped) == image_io.encode_png(np.ascontiguousarray(flipped))
    assert image_io.encode_png(flipped[..., 0]) == image_io.encode_png(np.asfortranarray(flipped[..., 0]))


def test_wrong_arrays_are_named() -> None:
    for wrong in (np.zeros((3, 4), np.float32), np.zeros((3, 4, 2), np.uint8), np.zeros((0, 4), np.uint8)):
        with pytest.raises(UsageError, match="PNG is made of"):
            image_io.encode_png(wrong)
    with pytest.raises(UsageError, match="mask: expected"):
        image_io.write_mask("m.png", np.full((2, 2), 255, np.uint8))
    with pytest.raises(UsageError, match="sketch: expected"):
        image_io.write_sketch("s.png", np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(UsageError, match="edges: expected"):
        image_io.write_edges("e.png", np.zeros((2, 2), np.uint8))


def test_samples_on_this_machine() -> None:
    folder = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "faces"
    files = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in (".jpg", ".png")][:5]
    if not files:
        pytest.skip("no shared photos on this machine")
    for path in files:
        photo = image_io.read_photo(path)
        assert photo.shape[1::-1] == image_io.probe_image(path)
        assert photo.std() > 5
