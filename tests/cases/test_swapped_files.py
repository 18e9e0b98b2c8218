"""A drawing given as the mask and a filled shape as the sketch: refused together, and what is near to it is not."""

from __future__ import annotations

import io
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageDraw

from dpsdata.contracts import BrokenImageError, UsageError
from dpsdata.dataset import BuildConfig, build_dataset
from dpsdata.masks.reading import read_mask_file
from dpsdata.runtime.command_line import run_app
from models.app.engine import Engine
from models.app.session import EditSession
from models.cli import app
from models.editing.user_inputs import read_edit_inputs

shared = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "models" / "tiny_weights.py")))


def encode(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def layer(shown: np.ndarray) -> np.ndarray:
    return np.dstack([np.full((*shown.shape, 3), 40, np.uint8), shown])


def face(side: int, width: int = 2) -> np.ndarray:
    """White lines on black: outline, eyes and mouth."""
    image = Image.new("L", (side, side))
    pen, unit = ImageDraw.Draw(image), side / 256
    for box in ((60, 40, 196, 226), (85, 105, 115, 120), (141, 105, 171, 120)):
        pen.ellipse([value * unit for value in box], outline=255, width=width)
    pen.arc([value * unit for value in (100, 165, 156, 195)], 10, 170, fill=255, width=width)
    return np.asarray(image)


def strokes(side: int, width: int) -> np.ndarray:
    """White strokes of a brush on black."""
    image, unit = Image.new("L", (side, side)), side / 256
    for ends in ((40, 60, 200, 90), (60, 200, 220, 140), (90, 30, 110, 230)):
        ImageDraw.Draw(image).line([value * unit for value in ends], fill=255, width=width)
    return np.asarray(image)


def shape(side: int, kind: str) -> np.ndarray:
    """A white filled shape on black."""
    image, unit = Image.new("L", (side, side)), side / 256
    pen = ImageDraw.Draw(image)
    if kind == "box":
        pen.rectangle([value * unit for value in (60, 80, 160, 200)], fill=255)
    elif kind == "big":
        pen.rectangle([value * unit for value in (10, 10, 245, 240)], fill=255)
    else:
        pen.ellipse([value * unit for value in (20, 90, 90, 130)], fill=255)
        pen.ellipse([value * unit for value in (140, 90, 240, 150)], fill=255)
    return np.asarray(image)


def hatching(side: int) -> np.ndarray:
    """Black hair on white, a third of it ink."""
    image = Image.new("L", (side, side), 255)
    for x in range(0, side, 6):
        ImageDraw.Draw(image).line([x, 0, x + side // 5, side], fill=0, width=2)
    return np.asarray(image)


def photo(side: int) -> bytes:
    return encode(np.random.default_rng(0).integers(0, 255, (side, side, 3), dtype=np.uint8))


DRAWINGS = {
    "black on white": lambda side: 255 - face(side),
    "white on black": face,
    "on a layer": lambda side: layer(face(side)),
    "blue on white": lambda side: np.dstack([255 - face(side), 255 - face(side), np.full((side, side), 255, np.uint8)]),
}


@pytest.mark.parametrize("side", [128, 256, 600])
@pytest.mark.parametrize("drawing", DRAWINGS)
@pytest.mark.parametrize("kind", ["box", "big", "two"])
@pytest.mark.parametrize("as_layer", [False, True])
def test_a_swap_is_refused_and_the_right_order_read(side: int, drawing: str, kind: str, as_layer: bool) -> None:
    lines, filled = DRAWINGS[drawing](side), shape(side, kind)
    sketch, mask = encode(lines), encode(layer(filled) if as_layer else filled)
    read = read_edit_inputs(photo(side), sketch, mask)
    assert np.array_equal(read.mask, filled)
    with pytest.raises(UsageError, match="swapped; pass the filled shape as --mask and the drawing as --sketch"):
        read_edit_inputs(photo(side), mask, sketch)


@pytest.mark.parametrize("side", [128, 256, 600])
@pytest.mark.parametrize("width", [1, 3, 6, 12])
@pytest.mark.parametrize("drawing", [*DRAWINGS, "hatching"])
def test_thin_masks_and_dense_sketches_are_what_they_are(side: int, width: int, drawing: str) -> None:
    mask = strokes(side, width)
    lines = hatching(side) if drawing == "hatching" else DRAWINGS[drawing](side)
    assert np.array_equal(read_edit_inputs(photo(side), encode(lines), encode(mask)).mask, mask)


def test_a_filled_sketch_beside_a_hole_and_an_inverted_hole_are_read() -> None:
    hair = 255 - shape(256, "two")
    assert np.array_equal(read_edit_inputs(photo(256), encode(hair), encode(shape(256, "box"))).mask, shape(256, "box"))
    for kind in ("box", "two"):
        read = read_edit_inputs(photo(256), encode(255 - face(256)), encode(255 - shape(256, kind)))
        assert any("looks inverted" in note for note in read.notes)
    rim = np.pad(np.full((250, 250), 255, np.uint8), 3)
    assert np.array_equal(read_mask_file(encode(rim)).pixels, rim), "a thin rim that is kept is no drawing"
    drawn = encode(255 - face(256))
    with pytest.raises(BrokenImageError, match="the mask: not a mask but a line drawing"):
        read_edit_inputs(photo(256), drawn, drawn)
    assert np.array_equal(read_edit_inputs(photo(256), drawn, drawn, invert_mask=True).mask > 0, face(256) > 0)


@pytest.mark.parametrize("kind", ["box", "big", "two"])
def test_one_file_twice_is_refused(kind: str) -> None:
    mask = encode(shape(256, kind))
    with pytest.raises(UsageError, match="the sketch is the filled shape of the mask"):
        read_edit_inputs(photo(256), mask, mask)
    with pytest.raises(UsageError, match="the photo and --mask are the same file"):
        read_edit_inputs(mask, encode(face(256)), mask)


def test_panels_in_another_order_are_refused() -> None:
    rgb = np.asarray(Image.open(io.BytesIO(photo(256))))
    parts = [rgb, *(np.stack([grey] * 3, axis=2) for grey in (shape(256, "box"), 255 - face(256)))]
    with pytest.raises((UsageError, BrokenImageError), match=r"the order is|not a mask but a line drawing"):
        read_edit_inputs(encode(np.concatenate(parts, axis=1)), None, None)


def test_the_page_refuses_a_swap_at_the_upload(tmp_path: Path) -> None:
    shared.write_tiny_weights(tmp_path / "weights")
    session = EditSession(Engine(str(tmp_path / "weights")))
    session.open_photo(photo(64), "p.png")
    with pytest.raises(UsageError, match="not a mask but a line drawing"):
        session.add_layer("mask", encode(255 - face(64)), "m.png")
    session.add_layer("mask", encode(face(64)), "m.png")
    with pytest.raises(UsageError, match="look swapped"):
        session.add_layer("sketch", encode(shape(64, "box")), "s.png")
    session.add_layer("sketch", encode(255 - face(64)), "s.png")
    session.add_layer("mask", encode(shape(64, "box")), "m.png")


def test_folders_that_are_swapped(
    tiny_hed: Path, faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("source", "lines", "shapes"):
        (tmp_path / folder).mkdir()
    Image.open(faces / "astronaut.png").resize((64, 64)).save(tmp_path / "source" / "a.png")
    (tmp_path / "lines" / "a.png").write_bytes(encode(face(64)))
    (tmp_path / "shapes" / "a.png").write_bytes(encode(shape(64, "box")))
    build_dataset(
        BuildConfig(
            source=tmp_path / "source", out=tmp_path / "b", size=64, masks=("center",), edges=str(tiny_hed), workers=1
        )
    )
    words = ["predict", str(tmp_path / "b"), str(tmp_path / "o"), "--method", "telea", "--split", "all"]
    swapped = [*words, "--masks", f"files:{tmp_path / 'lines'}", "--sketches", str(tmp_path / "shapes")]
    assert run_app(app, swapped) == 3
    assert "look swapped; give filled shapes to --masks and drawings to --sketches" in capsys.readouterr().err
    (tmp_path / "lines" / "a.png").write_bytes(encode(255 - face(64)))
    assert run_app(app, [*swapped[:2], str(tmp_path / "o2"), *swapped[3:]]) == 3
    said = capsys.readouterr().err
    assert "not a mask but a line drawing" in said
    assert "correct these masks" in said
    right = ["--masks", f"files:{tmp_path / 'shapes'}", "--sketches", str(tmp_path / "lines")]
    assert run_app(app, [*words[:2], str(tmp_path / "o3"), *words[3:], *right]) == 0
