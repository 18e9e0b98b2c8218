from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from dpsdata.contracts import BrokenImageError, UsageError
from dpsdata.images.codec import encode_png
from dpsdata.masks.reading import looks_inverted, read_mask_file
from dpsdata.sketch.reading import read_sketch_file
from models.editing.user_inputs import find_hole, find_lines, read_edit_inputs, split_panels

SIZE = 48


def png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def draw(mode: str, ground: object, ink: object, width: int = 3) -> Image.Image:
    image = Image.new(mode, (SIZE, SIZE), ground)  # type: ignore[arg-type]
    ImageDraw.Draw(image).line([(8, 8), (40, 30)], fill=ink, width=width)  # type: ignore[arg-type]
    return image


def box_mask() -> np.ndarray:
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[10:30, 12:40] = 255
    return mask


EXPECTED = (np.asarray(draw("L", 255, 0)) == 0).astype(np.uint8)


@pytest.mark.parametrize(
    "image",
    [
        draw("L", 255, 0),
        draw("L", 0, 255),
        draw("1", 1, 0),
        draw("RGB", (250, 248, 240), (30, 20, 90)),
        draw("RGBA", (0, 0, 0, 0), (0, 0, 0, 255)),
        draw("RGBA", (0, 0, 0, 0), (255, 255, 255, 255)),
        draw("RGBA", (255, 255, 255, 0), (200, 30, 30, 255)),
        draw("RGBA", (255, 255, 255, 255), (0, 0, 0, 255)),
        draw("LA", (0, 0), (0, 255)),
        draw("P", 7, 0).convert("P"),
        draw("I;16", 65535, 0),
    ],
    ids=lambda image: f"{image.mode}-{image.getpixel((0, 0))}-{image.getpixel((8, 8))}",
)
def test_sketches_of_every_kind_have_the_same_lines(image: Image.Image) -> None:
    if image.mode == "P":
        image.putpalette([0, 0, 0] * 7 + [255, 255, 255])
    assert np.array_equal((read_sketch_file(png(image)).pixels == 0).astype(np.uint8), EXPECTED)


def test_half_covered_pixels_are_ink_and_smudges_are_not() -> None:
    sketch = np.full((9, 9), 255, np.uint8)
    sketch[4], sketch[5] = 128, 128  # a line of one pixel between two rows
    sketch[0] = 230
    assert find_lines(sketch)[0].sum(axis=1).tolist() == [0, 0, 0, 0, 9, 9, 0, 0, 0]


def test_light_lines_on_dark_are_said() -> None:
    lines, notes = find_lines(np.asarray(draw("L", 20, 230)))
    assert np.array_equal(lines, EXPECTED)
    assert "light lines on dark" in notes[0]
    assert find_lines(np.asarray(draw("L", 255, 0)))[1] == ()


def test_an_empty_layer_has_no_lines() -> None:
    read = read_sketch_file(png(Image.new("RGBA", (5, 4))))
    assert read.pixels.shape == (4, 5)
    assert not find_lines(read.pixels)[0].any()
    assert "transparent all over" in read.notes[0]


def layered(color: object, painted: bool) -> Image.Image:
    """One colour or a photo, opaque in the box (painted) or around it (cut out)."""
    hole = Image.fromarray(box_mask())
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8))
    image = photo if color is None else Image.new("RGB", (SIZE, SIZE), color)  # type: ignore[arg-type]
    image.putalpha(hole if painted else Image.eval(hole, lambda value: 255 - value))
    return image


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (Image.fromarray(box_mask()), None),
        (Image.fromarray(box_mask()).convert("1"), None),
        (Image.fromarray(box_mask()).convert("RGBA"), None),
        (Image.fromarray(box_mask()).convert("P"), None),
        (layered((255, 255, 255), painted=True), "painted pixels"),
        (layered((255, 0, 0), painted=True), "painted pixels"),
        (layered((0, 0, 0), painted=False), "transparent pixels"),
        (layered(None, painted=False), "transparent pixels"),
    ],
)
def test_masks_of_every_kind_have_the_same_hole(image: Image.Image, said: str | None) -> None:
    read = read_mask_file(png(image))
    assert np.array_equal(read.pixels, box_mask())
    assert (said is None and not read.notes) or (said is not None and said in read.notes[0])
    turned = read_mask_file(png(image), invert=True)
    assert np.array_equal(turned.pixels, 255 - box_mask())
    assert "--invert-mask" in turned.notes[-1]


def test_what_looks_inverted() -> None:
    assert looks_inverted(255 - box_mask())
    assert not looks_inverted(box_mask())
    assert not looks_inverted(np.full((9, 9), 255, np.uint8)), "the whole photo may be edited"
    assert not looks_inverted(np.zeros((9, 9), np.uint8))
    reaching = 255 - box_mask()
    reaching[:20] = 0
    assert not looks_inverted(reaching)


def test_an_inverted_mask_is_said_and_white_stays_the_hole() -> None:
    photo, sketch = encode_png(np.zeros((SIZE, SIZE, 3), np.uint8)), png(draw("L", 255, 0))
    mask = encode_png(255 - box_mask())
    read = read_edit_inputs(photo, sketch, mask)
    assert np.array_equal(read.mask, 255 - box_mask())
    assert any("--invert-mask" in note for note in read.notes)
    assert np.array_equal(read_edit_inputs(photo, sketch, mask, invert_mask=True).mask, box_mask())


def test_three_panels() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    sketch = np.asarray(draw("L", 255, 0, 1))
    panels = np.concatenate([photo, *(np.stack([plane] * 3, axis=2) for plane in (sketch, box_mask()))], axis=1)
    read = read_edit_inputs(encode_png(panels), None, None)
    assert np.array_equal(read.photo, photo)
    assert np.array_equal(read.sketch, sketch)
    assert np.array_equal(read.mask, box_mask())
    with pytest.raises(UsageError, match=r"no --mask and --sketch beside it"):
        split_panels(panels[:, :-1], np.full((SIZE, 3 * SIZE - 1), 255, np.uint8))


def test_missing_and_unequal_inputs_are_said() -> None:
    photo, sketch = encode_png(np.zeros((SIZE, SIZE, 3), np.uint8)), png(draw("L", 255, 0))
    with pytest.raises(UsageError, match="--mask is missing"):
        read_edit_inputs(photo, sketch, None)
    with pytest.raises(UsageError, match="--sketch is missing"):
        read_edit_inputs(photo, None, sketch)
    with pytest.raises(UsageError, match="photo 48 x 48, sketch 48 x 48, mask 47 x 46"):
        read_edit_inputs(photo, sketch, encode_png(box_mask()[:46, :47]))
    with pytest.raises(BrokenImageError, match="the mask: "):
        read_edit_inputs(photo, sketch, b"GIF89a")


def test_arrays_that_break_their_contract_are_refused() -> None:
    for wrong in (box_mask() / 255, box_mask()[..., None], box_mask() > 0, np.zeros((0, 4), np.uint8), [[0]]):
        with pytest.raises(UsageError, match=r"mask: expected uint8 \(H, W\)"):
            find_hole(wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="multiply it by 255"):
        find_hole(box_mask() // 255)
    assert find_hole(np.array([[0, 127, 128, 255]], np.uint8)).tolist() == [[0, 0, 1, 1]]
