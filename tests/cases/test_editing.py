"""Edits of photos as people have them: what the file carries stays, the hole chooses the face; right values stated."""

from __future__ import annotations

import io
import runpy
import struct
import zlib
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, ImageDraw, PngImagePlugin

from dpsdata.images.codec import read_photo
from dpsdata.images.color_profile import ColorSpace
from dpsdata.images.photo_file import read_photo_file
from dpsdata.runtime.command_line import run_app
from models.cli import app
from models.editing.editor import Editor
from models.editing.photo_frame import OutsideFacesError, find_frame

shared = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "models" / "tiny_weights.py")))
SIDE = 64
INSIDE = (slice(36, 56), slice(30, 54))
P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
ADOBE = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))


def number(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def make_profile(kind: bytes, tags: dict[bytes, bytes]) -> bytes:
    """An ICC profile, version 4, of `RGB ` or `GRAY`."""
    tags = {
        b"desc": b"mluc\0\0\0\0" + struct.pack(">II2s2sII", 1, 12, b"en", b"US", 2, 28) + "p".encode("utf-16-be"),
        b"wtpt": b"XYZ \0\0\0\0" + number(0.9642) + number(1) + number(0.8249),
        **tags,
    }
    table, body, start = b"", b"", 132 + 12 * len(tags)
    for name, data in tags.items():
        padded = data + b"\0" * (-len(data) % 4)
        table += struct.pack(">4sII", name, start + len(body), len(data))
        body += padded
    head = struct.pack(">I4sI4s4s4s", start + len(body), b"none", 0x04200000, b"mntr", kind, b"XYZ ") + b"\0" * 12
    head += b"acsp" + b"\0" * 28 + number(0.9642) + number(1) + number(0.8249)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def gamma(value: float) -> bytes:
    return b"para\0\0\0\0" + struct.pack(">HH", 0, 0) + number(value)


def rgb_profile(primaries: tuple[tuple[float, ...], ...], power: float) -> bytes:
    tags = {}
    for name, values in zip((b"r", b"g", b"b"), primaries, strict=True):
        tags[name + b"XYZ"] = b"XYZ \0\0\0\0" + b"".join(map(number, values))
        tags[name + b"TRC"] = gamma(power)
    return make_profile(b"RGB ", tags)


GREY_PROFILE = make_profile(b"GRAY", {b"kTRC": gamma(1.8)})
PROFILES = {"p3": rgb_profile(P3, 2.2), "adobe": rgb_profile(ADOBE, 2.19921875)}


def face_pixels() -> np.ndarray:
    rows, columns = np.mgrid[0:SIDE, 0:SIDE]
    base = np.stack([90 + rows * 2, 60 + columns * 2, 150 - rows], axis=2)
    return np.clip(base + np.random.default_rng(1).integers(-20, 20, base.shape), 0, 255).astype(np.uint8)


PHOTO = face_pixels()
DEEP = PHOTO.astype(np.uint16) * 257 ^ 0x55
ALPHA = np.full((SIDE, SIDE), 255, np.uint8)
ALPHA[:12], ALPHA[12:20] = 0, 128


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    shared.write_tiny_weights(folder)
    return folder


@pytest.fixture(scope="module")
def editor() -> Editor:
    return Editor(shared.make_tiny_net("edit"))


def run_edit(photo: Path, weights: Path, out: Path, *words: str) -> int:
    mask = Image.new("L", read_photo(photo).shape[1::-1])
    draw = ImageDraw.Draw(mask)
    draw.rectangle([INSIDE[1].start, INSIDE[0].start, INSIDE[1].stop - 1, INSIDE[0].stop - 1], fill=255)
    mask.save(out.parent / "mask.png")
    sketch = Image.new("L", mask.size, 255)
    ImageDraw.Draw(sketch).line([32, 40, 50, 50], fill=0, width=2)
    sketch.save(out.parent / "sketch.png")
    arguments = ["--mask", str(out.parent / "mask.png"), "--sketch", str(out.parent / "sketch.png")]
    arguments += ["--levels", "0.5", "--align", "none", "--weights", str(weights), "-o", str(out)]
    return run_app(app, ["edit", str(photo), *arguments, *words])


def outside() -> np.ndarray:
    known = np.ones((SIDE, SIDE), bool)
    known[INSIDE] = False
    return known


def save_photo(path: Path, form: str) -> None:
    exif = Image.Exif()
    exif[274], exif[271], exif[306] = 1, "Camera", "2020:01:01 00:00:00"
    kind, _, which = form.partition(" ")
    image = Image.fromarray(PHOTO)
    if which in PROFILES and kind == "jpeg":
        image.save(path, "JPEG", quality=97, subsampling=0, icc_profile=PROFILES[which], exif=exif, dpi=(300, 300))
    elif which in PROFILES:
        image.save(path, kind.upper(), icc_profile=PROFILES[which])
    elif form == "grey profile":
        image.convert("L").save(path, "PNG", icc_profile=GREY_PROFILE)
    elif form == "grey and alpha":
        Image.merge("LA", (image.convert("L"), Image.fromarray(ALPHA))).save(path, "PNG", icc_profile=GREY_PROFILE)
    elif form == "alpha":
        Image.fromarray(np.dstack([PHOTO, ALPHA])).save(path, "PNG")
    elif form == "webp alpha":
        layers = Image.fromarray(np.dstack([PHOTO, ALPHA]))
        layers.save(path, "WEBP", lossless=True, exact=True, icc_profile=PROFILES["p3"], exif=exif)
    elif form == "deep":
        cv2.imwrite(f"{path}.png", DEEP[..., ::-1])
        Path(f"{path}.png").rename(path)
    elif form == "deep alpha":
        cv2.imwrite(f"{path}.png", np.dstack([DEEP[..., ::-1], ALPHA.astype(np.uint16) * 257]))
        Path(f"{path}.png").rename(path)
    elif form == "deep tiff":
        tifffile.imwrite(path, DEEP, photometric="rgb", iccprofile=PROFILES["adobe"])
    else:
        raise AssertionError(form)


FORMS = (
    *("jpeg p3", "png p3", "png adobe", "tiff p3", "webp p3", "grey profile", "grey and alpha", "alpha"),
    *("webp alpha", "deep", "deep alpha", "deep tiff"),
)


@pytest.mark.parametrize("form", FORMS)
def test_an_edit_keeps_what_the_file_carries(form: str, weights: Path, tmp_path: Path) -> None:
    photo = tmp_path / "photo.img"
    save_photo(photo, form)
    assert run_edit(photo, weights, tmp_path / "out") == 0
    result = tmp_path / "out" / "l0.5.png"
    if "deep" in form:
        depth = cv2.IMREAD_UNCHANGED
        expected = cv2.imread(str(photo), depth) if "tiff" not in form else DEEP[..., ::-1]
        written = cv2.imread(str(result), depth)
        assert written.dtype == np.uint16
        assert np.array_equal(written[outside()], expected[outside()])
        assert (written[INSIDE] != expected[INSIDE]).any()
    before, after = Image.open(photo), Image.open(result)
    assert after.info.get("icc_profile") == before.info.get("icc_profile")
    if "deep" not in form:
        assert after.mode == before.mode
        kept = np.asarray(before), np.asarray(after)
        assert np.array_equal(kept[0][outside()], kept[1][outside()]), "also the colours under transparent pixels"
        assert (kept[0][INSIDE] != kept[1][INSIDE]).any()
    if form in ("jpeg p3", "webp alpha"):
        assert {tag: after.getexif()[tag] for tag in (271, 306)} == {271: "Camera", 306: "2020:01:01 00:00:00"}
    if form == "jpeg p3":
        assert after.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    # Out of a PNG and in again: nothing is lost the second time.
    assert run_edit(result, weights, tmp_path / "again") == 0
    again = Image.open(tmp_path / "again" / "l0.5.png")
    assert (again.mode, again.info.get("icc_profile")) == (after.mode, after.info.get("icc_profile"))
    assert again.getexif() == after.getexif()


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_the_networks_see_srgb_and_results_come_back(name: str, editor: Editor) -> None:
    """One look in two spaces is edited to one look: the hole differs by less than the rounding of both."""
    colors = ColorSpace(PROFILES[name])
    own = np.clip(PHOTO.astype(int) // 2 + 60, 0, 255).astype(np.uint8)
    seen = colors.to_srgb(own)
    assert np.abs(seen.astype(int) - own).max() > 8, "a profile that changes something"
    assert np.abs(colors.from_srgb(seen).astype(int) - own).max() <= 4
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[INSIDE] = 255
    sketch = np.full((SIDE, SIDE), 255, np.uint8)
    editor.set_photo(own, "none", colors=colors)
    wide = editor.predict_levels(sketch, mask, [0.5])[0].photo
    editor.set_photo(seen, "none")
    standard = editor.predict_levels(sketch, mask, [0.5])[0].photo
    found = np.abs(colors.to_srgb(wide).astype(int) - standard)[INSIDE]
    assert found.mean() < 2
    assert np.array_equal(wide[outside()], own[outside()])


def test_orientation_xmp_and_texts(weights: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274], exif[271] = 6, "Camera"
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r:RDF><d tiff:Orientation="6" dc:title="T"/></r:RDF></x:xmpmeta>'
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Author", "A", zip=True)
    texts.add_itxt("Title", "grüß")
    texts.add_itxt("XML:com.adobe.xmp", xmp.decode())
    turned = np.ascontiguousarray(np.rot90(PHOTO, 1))
    photo = tmp_path / "photo.png"
    Image.fromarray(turned).save(photo, exif=exif, pnginfo=texts, icc_profile=PROFILES["p3"], dpi=(72, 72))
    assert np.array_equal(read_photo(photo), PHOTO)
    assert run_edit(photo, weights, tmp_path / "out") == 0
    after = Image.open(tmp_path / "out" / "l0.5.png")
    assert after.getexif().get(274) == 1, "upright pixels must not be turned once more"
    assert after.getexif()[271] == "Camera"
    assert after.info["Author"] == "A"
    assert after.info["Title"] == "grüß"
    assert after.info["icc_profile"] == PROFILES["p3"]
    found = after.info.get("xmp") or after.info["XML:com.adobe.xmp"].encode()
    assert b'tiff:Orientation="1"' in found
    assert b'dc:title="T"' in found
    assert np.array_equal(np.asarray(after)[outside()], PHOTO[outside()])


def test_what_a_png_cannot_hold_is_said(tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = tmp_path / "ink.jpg"
    Image.fromarray(PHOTO).convert("CMYK").save(photo, quality=95)
    assert run_edit(photo, weights, tmp_path / "out") == 0
    assert "the photo is CMYK, which a PNG cannot hold" in capsys.readouterr().err
    after = Image.open(tmp_path / "out" / "l0.5.png")
    assert "icc_profile" not in after.info
    assert np.array_equal(np.asarray(after)[outside()], read_photo(photo)[outside()])


@pytest.mark.parametrize(
    ("profile", "kept", "reason"),
    [
        (b"no profile at all", False, "damaged"),
        (GREY_PROFILE, False, "of another kind (GRAY)"),
        (ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(), True, ""),
    ],
)
def test_profiles_that_do_not_fit(profile: bytes, kept: bool, reason: str) -> None:
    stream = io.BytesIO()
    Image.fromarray(PHOTO).save(stream, "PNG", icc_profile=profile)
    found = read_photo_file(stream.getvalue())
    assert (found.metadata.profile == profile) is kept
    assert reason in " ".join(found.notes)
    assert found.colors is None


def test_a_photo_without_an_edit_is_the_photo() -> None:
    for layers in (PHOTO, PHOTO[..., :1], DEEP[..., :1], DEEP, np.dstack([DEEP, DEEP[..., 0]])):
        png = bytes(
            cv2.imencode(".png", layers if layers.shape[2] < 3 else layers[..., [2, 1, 0, 3][: layers.shape[2]]])[1]
        )
        file = read_photo_file(png)
        assert np.array_equal(file.layers, layers)
        assert np.array_equal(read_photo_file(file.encode_edit()).layers, layers)


def test_grey_and_alpha_of_16_bits() -> None:
    layers = np.dstack([DEEP[..., 0], ALPHA.astype(np.uint16) * 257])
    raw = b"".join(b"\0" + row.astype(">u2").tobytes() for row in layers)
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, 16, 4, 0, 0, 0)),
        (b"IDAT", zlib.compress(raw)),
        (b"IEND", b""),
    )
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
    file = read_photo_file(png)
    assert np.array_equal(file.layers, layers)
    assert np.array_equal(read_photo_file(file.encode_edit()).layers, layers)


@pytest.fixture(scope="module")
def group(faces: Path) -> Image.Image:
    """Two faces: one of 420 px on the left, one of 300 px on the right."""
    face = Image.open(faces / "astronaut.png").convert("RGB")
    photo = Image.new("RGB", (900, 520), (200, 190, 185))
    photo.paste(face.resize((420, 420)), (30, 60))
    photo.paste(face.transpose(Image.Transpose.FLIP_LEFT_RIGHT).resize((300, 300)), (540, 120))
    return photo


def ellipse(size: tuple[int, int], box: tuple[int, int, int, int]) -> np.ndarray:
    mask = Image.new("L", size)
    ImageDraw.Draw(mask).ellipse(box, fill=1)
    return np.asarray(mask)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((630, 300, 750, 370), (540, 120, 300)),
        ((150, 320, 330, 420), (57, 98, 348)),
        ((650, 215, 665, 225), (540, 120, 300)),
        ((130, 100, 350, 140), (57, 98, 348)),
    ],
)
def test_the_hole_chooses_the_face(
    group: Image.Image, box: tuple[int, int, int, int], expected: tuple[int, int, int]
) -> None:
    left, top, side, _ = find_frame(np.asarray(group), 256, ellipse(group.size, box)).box
    assert (left, top, side) == pytest.approx(expected, abs=0.2 * expected[2])


def test_a_small_face_in_a_large_photo(group: Image.Image) -> None:
    """A face that is too small to be found in the whole photo is found around the hole."""
    large = Image.new("RGB", (2700, 1560), (90, 110, 120))
    large.paste(group.resize((600, 347)), (1900, 1000))
    hole = ellipse(large.size, (1900 + 430, 1000 + 210, 1900 + 490, 1000 + 240))
    left, top, side, _ = find_frame(np.asarray(large), 256, hole).box
    assert (left, top, side) == pytest.approx((1900 + 360, 1000 + 80, 200), abs=30)


def test_a_hole_outside_of_every_face(group: Image.Image, weights: Path, tmp_path: Path) -> None:
    with pytest.raises(OutsideFacesError, match="outside every face"):
        find_frame(np.asarray(group), 256, ellipse(group.size, (870, 2, 897, 20)))
    group.save(tmp_path / "group.png")
    mask, sketch = Image.new("L", group.size), Image.new("L", group.size, 255)
    ImageDraw.Draw(mask).rectangle([870, 2, 897, 20], fill=255)
    ImageDraw.Draw(sketch).line([872, 5, 890, 12], fill=0, width=2)
    mask.save(tmp_path / "mask.png")
    sketch.save(tmp_path / "sketch.png")
    words = ["edit", str(tmp_path / "group.png"), "--mask", str(tmp_path / "mask.png")]
    words += ["--sketch", str(tmp_path / "sketch.png"), "--weights", str(weights), "-o", str(tmp_path / "out")]
    assert run_app(app, words) == 3
    assert run_app(app, [*words, "--box", "30,60,420,420"]) == 3, "a frame that is given, too"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("size", [(64, 128), (120, 40)])
def test_a_sketch_that_is_not_square_keeps_its_shape(size: tuple[int, int]) -> None:
    painter = Editor(shared.make_tiny_net("synthesis"))
    width, height = size
    sketch = np.full((height, width), 255, np.uint8)
    cv2.circle(sketch, (width // 2, height // 2), 15, 0, 2)
    found = painter.predict(None, sketch, None, [0.0])[0]
    assert found.photo.shape == (height, width, 3)
    assert any("not square" in note for note in painter.notes)
    side = max(size)
    square = np.full((side, side), 255, np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = sketch
    whole = painter.predict(None, square, None, [0.0])[0].photo[top : top + height, left : left + width]
    assert np.array_equal(found.photo, whole)
    painter.predict(None, square, None, [0.0])
    assert painter.notes == ()


def test_a_blank_sketch_draws_no_face_and_a_folder_of_other_files_is_left_alone(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for shade in (0, 255):
        Image.new("L", (64, 64), shade).save(tmp_path / "blank.png")
        assert run_app(app, ["synthesize", str(tmp_path / "blank.png"), "-o", str(tmp_path / "face")]) == 3
        assert "no lines" in capsys.readouterr().err
    assert not (tmp_path / "face").exists()
    out = tmp_path / "mine"
    out.mkdir()
    (out / "strip.png").write_bytes(b"mine")
    Image.fromarray(PHOTO).save(tmp_path / "photo.png")
    assert run_edit(tmp_path / "photo.png", weights, out) == 2
    assert "strip.png was not written by `dps edit`" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["strip.png"]
    assert run_edit(tmp_path / "photo.png", weights, tmp_path / "ours") == 0
    (tmp_path / "ours" / "run.json").unlink()  # as after an interruption
    assert run_edit(tmp_path / "photo.png", weights, tmp_path / "ours") == 0


@pytest.mark.parametrize("text", ['{"dataset_root_hash": "x", "methods": {}}', "mine", "[1]"])
def test_the_run_json_of_another_command_is_not_replaced(weights: Path, tmp_path: Path, text: str) -> None:
    save_photo(tmp_path / "photo.png", "png p3")
    out = tmp_path / "predicted"
    out.mkdir()
    (out / "run.json").write_text(text)
    assert run_edit(tmp_path / "photo.png", weights, out) == 2
    assert [path.read_text() for path in out.iterdir()] == [text]


def test_words_of_refusals(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--mask", "m.png", "--sketch", "s.png", "--weights", str(weights), "-o", str(tmp_path / "out")]
    for name in ("m.png", "s.png"):
        Image.new("L", (8, 8)).save(tmp_path / name)
    words = [str(tmp_path / word) if word in ("m.png", "s.png") else word for word in words]
    large = tmp_path / "large.png"
    raw = struct.pack(">IIBBBBB", 19_000, 10_000, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 100)
    chunks = ((b"IHDR", raw), (b"IDAT", pixels), (b"IEND", b""))
    large.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    )
    assert run_app(app, ["edit", str(large), *words]) == 3
    said = capsys.readouterr().err
    assert "make it smaller" in said
    assert "save it again" not in said
    floats = tmp_path / "float.tif"
    tifffile.imwrite(floats, np.zeros((8, 8), np.float32))
    assert run_app(app, ["edit", str(floats), *words]) == 3
    said = capsys.readouterr().err
    assert "save it with 8 or 16 bits" in said
    assert "JPEG" not in said
