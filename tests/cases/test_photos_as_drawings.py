"""Photos that some step made black and white, pale or cut out, passed as masks and sketches: refused, or said."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw

from dpsdata.contracts import BrokenImageError, UsageError
from dpsdata.masks.reading import read_mask_file
from dpsdata.samples import read_sample_face
from dpsdata.sketch.reading import read_sketch_file
from models.editing.user_inputs import read_edit_inputs

SIZE = 256
BOX = np.zeros((SIZE, SIZE), np.bool_)
BOX[60:180, 60:160] = True
FACES = (1, 2, 5, 9, 14, 20)


def encode(image: Image.Image | np.ndarray) -> bytes:
    data = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(data, "PNG")
    return data.getvalue()


def read_face(number: int) -> np.ndarray:
    return cv2.resize(read_sample_face(number), (SIZE, SIZE), interpolation=cv2.INTER_AREA)


def print_in_dots(grey: np.ndarray) -> np.ndarray:
    large = cv2.resize(grey, None, fx=2, fy=2)
    rows, columns = np.mgrid[: 2 * SIZE, : 2 * SIZE]
    return np.asarray((np.sin(columns * np.pi / 4) * np.sin(rows * np.pi / 4) + 1) * 127.5 < large)


@pytest.mark.parametrize("number", FACES)
def test_photos_in_dots_are_neither_mask_nor_sketch(number: int) -> None:
    grey = cv2.cvtColor(read_face(number), cv2.COLOR_RGB2GRAY)
    pale = (grey * 0.5 + 125).astype(np.uint8)
    dithered: list[Image.Image | np.ndarray] = [
        Image.fromarray(pixels).convert("1") for pixels in (grey, pale)
    ]  # what Pillow does unless told not to
    for image in [*dithered, print_in_dots(grey)]:
        with pytest.raises(BrokenImageError, match=r"specks|line drawing|label map"):
            read_mask_file(encode(image))
        with pytest.raises(BrokenImageError, match=r"specks|photo"):
            read_sketch_file(encode(image))


@pytest.mark.parametrize("number", FACES)
def test_photos_in_two_tones_and_pale_ones_are_noted_at_least(number: int) -> None:
    face = read_face(number)
    grey = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)
    assert any("separate pieces" in note for note in read_mask_file(encode(grey > 127)).notes)
    for pixels in (face * 0.2 + 200, grey * 0.25 + 190, face * 0.2 + 100):
        try:
            notes = read_sketch_file(encode(pixels.astype(np.uint8))).notes
        except BrokenImageError:
            continue
        assert any("look at the result" in note for note in notes)


@pytest.mark.parametrize("number", FACES)
def test_a_face_cut_out_on_white_is_no_drawing_or_noted(number: int) -> None:
    outside = cv2.ellipse(np.zeros((SIZE, SIZE), np.uint8), (128, 128), (60, 75), 0, 0, 360, 255, -1) == 0
    for pixels in (read_face(number), cv2.cvtColor(read_face(number), cv2.COLOR_RGB2GRAY)):
        pixels[outside] = 255
        try:
            notes = read_sketch_file(encode(pixels)).notes
        except BrokenImageError:
            continue
        assert any("look at the result" in note for note in notes)


def test_drawings_that_are_dense_stay_drawings() -> None:
    image = Image.new("L", (SIZE, SIZE), 255)
    draw = ImageDraw.Draw(image)
    for start in range(-SIZE, SIZE, 7):
        draw.line([start, 0, start + SIZE, SIZE], fill=0, width=2)
    stippled = Image.new("L", (SIZE, SIZE), 255)
    for row, column in np.random.default_rng(0).integers(4, SIZE - 4, (250, 2)):
        ImageDraw.Draw(stippled).ellipse([column - 2, row - 2, column + 2, row + 2], fill=0)
    for drawn in (image, stippled):
        read = read_sketch_file(encode(drawn))
        assert np.array_equal(read.pixels, np.asarray(drawn))
        assert not any("filled" in note for note in read.notes)


@pytest.mark.parametrize("paint", [(255, 0, 0), (0, 200, 0), (255, 255, 255)])
@pytest.mark.parametrize("rim", ["corners", "column"])
def test_a_transparent_rim_is_no_hole(paint: tuple[int, int, int], rim: str) -> None:
    """A black sheet with one paint on it, as a window's picture with round corners has it."""
    away = np.abs(np.arange(SIZE) - 127.5)
    clear = np.add.outer(away, away) > 246 if rim == "corners" else np.ones((SIZE, 1), bool) & (np.arange(SIZE) > 252)
    alpha = np.where(clear, 0, 255).astype(np.uint8)
    pixels = np.dstack([np.where(BOX[..., None], np.array(paint, np.uint8), np.uint8(0)), alpha])
    assert np.array_equal(read_mask_file(encode(pixels)).pixels > 0, BOX)
    photo = np.dstack([read_face(1), alpha])
    assert np.array_equal(read_mask_file(encode(photo)).pixels > 0, clear), "a photo with something cut out of it"


def test_white_lines_are_no_mask_and_sketch_at_once() -> None:
    lines = Image.new("L", (SIZE, SIZE))
    ImageDraw.Draw(lines).ellipse([80, 60, 180, 200], outline=255, width=3)
    sketch = Image.new("L", (SIZE, SIZE), 255)
    ImageDraw.Draw(sketch).line([90, 100, 170, 100], fill=0, width=2)
    photo = encode(read_face(1))
    with pytest.raises(UsageError, match="--mask and --sketch are the same file"):
        read_edit_inputs(photo, encode(lines), encode(lines))
    notes = read_edit_inputs(photo, encode(sketch), encode(lines)).notes
    assert "the mask is thin lines, and only they are edited; paint the whole area to edit" in notes
