from __future__ import annotations

import numpy as np
import pytest

from dpsdata.contracts import UsageError
from dpsdata.images.arrays import resize_photo
from dpsdata.images.codec import read_grey, read_mask, read_photo, read_sketch
from dpsdata.samples import crop_astronaut, read_sample_face
from models.editing.request import InputFile
from models.recipes.catalogue import RECIPES, Recipe, find_recipes
from models.recipes.making import draw_inputs
from models.recipes.shapes import AXIS_PX, area, both, draw_lines, ellipse, fill_areas, line

EDITS = [recipe for recipe in RECIPES if recipe.command == "edit"]
# Box (left, top, right, bottom) that the middle of each hole lies in, by the eyes at (94.8, 120.1) and (157.3, 120.3).
PLACES = {
    "rejuvenation": (110, 110, 142, 160),
    "hair-implant": (110, 30, 142, 75),
    "chin-surgery": (110, 170, 142, 225),
    "nose-surgery": (116, 135, 136, 160),
}


@pytest.fixture(scope="module")
def drawn() -> dict[str, dict[str, InputFile]]:
    return {recipe.name: draw_inputs(recipe) for recipe in RECIPES}


def test_the_five_recipes() -> None:
    assert [recipe.name for recipe in RECIPES] == [*PLACES, "face-from-a-sketch"]
    assert [recipe.command for recipe in RECIPES] == ["edit"] * 4 + ["synthesize"]


@pytest.mark.parametrize("recipe", EDITS, ids=lambda recipe: recipe.name)
def test_the_hole_lies_where_its_name_says(recipe: Recipe, drawn: dict[str, dict[str, InputFile]]) -> None:
    inputs = drawn[recipe.name]
    assert set(inputs) == {"photo", "mask", "sketch"}
    hole, lines = read_mask(inputs["mask"].data), read_sketch(inputs["sketch"].data)
    assert read_photo(inputs["photo"].data).shape == (256, 256, 3)
    assert 0.02 <= hole.mean() <= 0.4
    rows, columns = np.nonzero(hole)
    left, top, right, bottom = PLACES[recipe.name]
    assert left <= columns.mean() <= right
    assert top <= rows.mean() <= bottom
    assert (lines & hole).sum() >= 10
    assert not (lines & ~hole.astype(bool)).any(), "no line is outside the hole"


@pytest.mark.parametrize("name", ["mask", "sketch"])
def test_masks_and_sketches_are_black_and_white(name: str, drawn: dict[str, dict[str, InputFile]]) -> None:
    for inputs in drawn.values():
        if name in inputs:
            assert set(np.unique(read_grey(inputs[name].data))) == {0, 255}


def test_photos_are_sample_faces_or_the_astronaut(drawn: dict[str, dict[str, InputFile]]) -> None:
    for recipe in EDITS:
        assert recipe.face is not None
        expected = resize_photo(read_sample_face(recipe.face), 256) if recipe.face else crop_astronaut()
        assert np.array_equal(read_photo(drawn[recipe.name]["photo"].data), expected)


def test_the_same_bytes_every_time(drawn: dict[str, dict[str, InputFile]]) -> None:
    for recipe in RECIPES:
        again = draw_inputs(recipe)
        assert {role: item.sha256 for role, item in again.items()} == {
            role: item.sha256 for role, item in drawn[recipe.name].items()
        }


def test_rejuvenation_keeps_no_line_of_age(drawn: dict[str, dict[str, InputFile]]) -> None:
    (recipe,) = find_recipes(("rejuvenation",))
    assert recipe.erased
    wrinkles = draw_lines(recipe.erased, 1)
    assert not (read_sketch(drawn["rejuvenation"]["sketch"].data) & wrinkles).any()
    hole = fill_areas(recipe.hole)
    for wrinkle in recipe.erased:
        drawn_line = draw_lines((wrinkle,), 1)
        assert (drawn_line & hole).sum() >= 0.7 * drawn_line.sum(), "the hole lies over every line of age"


def test_the_face_from_a_sketch_fills_the_frame(drawn: dict[str, dict[str, InputFile]]) -> None:
    inputs = drawn["face-from-a-sketch"]
    assert set(inputs) == {"sketch"}
    rows, columns = np.nonzero(read_sketch(inputs["sketch"].data))
    assert rows.min() < 40
    assert rows.max() > 230
    assert columns.min() < 60
    assert columns.max() > 195


def test_names_are_found_in_the_order_of_the_catalogue() -> None:
    assert find_recipes(()) == RECIPES
    assert [item.name for item in find_recipes(("nose-surgery", "rejuvenation"))] == ["rejuvenation", "nose-surgery"]
    with pytest.raises(
        UsageError, match=r"did you mean nose-surgery.*rejuvenation, hair-implant, .*face-from-a-sketch, got 'nose'"
    ):
        find_recipes(("nose",))


def test_shapes() -> None:
    filled = fill_areas((ellipse(100, 60, 20, 10),))
    assert 0 <= float(filled.sum()) - np.pi * 20 * 10 <= 97  # OpenCV counts the border in, 97 px long
    assert filled[60, [79, 81, 119, 121]].tolist() == [0, 1, 1, 0]
    assert filled[[49, 51, 69, 71], 100].tolist() == [0, 1, 1, 0]
    across = draw_lines((line((10, 50), (30, 50)),))
    assert across[:, 20].sum() == 3
    assert across[49:52, 20].all()
    (left, right) = both(line((100, 10), (90, 20)))
    assert [x for x, _ in right.points] == pytest.approx([2 * AXIS_PX - x for x, _ in left.points])
    through = draw_lines((line((10, 10), (40, 30), (80, 12)),))
    assert all(through[y, x] for x, y in ((10, 10), (40, 30), (80, 12))), "the curve goes through its points"
    for make, points in ((line, [(1, 1)]), (area, [(1, 1), (2, 2)])):
        with pytest.raises(UsageError, match="two points"):
            make(*points)
