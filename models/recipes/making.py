"""Recipes as folders, each made by the code of `dps edit`.

OUT/NAME/photo.png, mask.png, sketch.png   what a person paints and draws
OUT/NAME/command.txt                       the command that repeats it there by hand
OUT/NAME/l0.5.png, strip.png, run.json     what that command writes, see models/editing/run.py
OUT/NAME/figure.jpg                        one row of the sheet
OUT/recipes.jpg                            all rows
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dpsdata.contracts import RUN_FILE, MissingError, level_folder
from dpsdata.hed import load_hed
from dpsdata.images.codec import encode_jpeg, encode_png, read_grey, read_mask, read_photo, resize_photo
from dpsdata.runtime.files import make_folder, write_bytes_atomic, write_text_atomic
from dpsdata.runtime.progress import track
from dpsdata.samples import crop_astronaut, read_sample_face
from dpsdata.sketch import simplify_edge_map
from models.editing.request import INPUTS_FOLDER, EditRequest, InputFile
from models.editing.run import hash_weights, make_run, write_run
from models.recipes.catalogue import Recipe
from models.recipes.shapes import SIZE_PX, draw_lines, fill_areas

# The lines of a thin sketch lie a few pixels beside those that are named.
_ERASER_PX = 9


def draw_inputs(recipe: Recipe) -> dict[str, InputFile]:
    """The input files of a recipe by role, always the same bytes; a face from a sketch has only its sketch."""
    pictures = {}
    if recipe.face is None:
        lines = draw_lines(recipe.lines)
    else:
        photo = resize_photo(read_sample_face(recipe.face), SIZE_PX) if recipe.face else crop_astronaut()
        hole = fill_areas(recipe.hole)
        lines = draw_lines(recipe.lines)
        if recipe.erased is not None:
            lines |= _thin_sketch(photo) & (1 - draw_lines(recipe.erased, _ERASER_PX))
        lines &= hole
        pictures = {"photo": photo, "mask": 255 * hole}
    pictures["sketch"] = 255 - 255 * lines
    return {role: InputFile(f"{INPUTS_FOLDER}/{role}.png", encode_png(pixels)) for role, pixels in pictures.items()}


def _thin_sketch(photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The photo's own lines, uint8 (H, W), 1 = line; by the bundled net, so that they are the same anywhere."""
    edges = load_hed("hed-compact").detect(photo[None])[0]
    return np.asarray(simplify_edge_map(edges), np.uint8)


Photo = NDArray[np.uint8]
CELL_PX = 192
JPEG_QUALITY = 86
_GAP_PX, _LABEL_PX = 4, 20
_MAX_LEVELS = 3
_HOLE_TINT, _HOLE_COVER = (80, 150, 255), 0.5
_INK = (10, 10, 50)
_EMPTY_GREY = 235


def draw_row(
    recipe: Recipe, inputs: Mapping[str, InputFile], levels: Sequence[float], results: Mapping[str, bytes] | None
) -> Photo:
    """One recipe as photo, hole with lines, and up to three levels, each under its label.

    Args:
        recipe: what it is.
        inputs: its files by role.
        levels: refinement levels that were asked for.
        results: the PNG of each level by its name in the run's folder; None where there are no weights.

    Returns:
        uint8 (H, W, 3); of one size for all recipes with the same number of levels.
    """
    cells = [
        (recipe.title, read_photo(inputs["photo"].data) if "photo" in inputs else _note("no photo")),
        ("hole and lines" if "mask" in inputs else "lines", mark_photo(inputs)),
    ]
    for level in shown_levels(levels):
        picture = _note("no weights") if results is None else read_photo(results[f"{level_folder(level)}.png"])
        cells.append((f"level {level:g}", picture))
    return np.concatenate([_cell(label, picture) for label, picture in cells], axis=1)


def draw_sheet(rows: Sequence[Photo]) -> Photo:
    """Rows under each other."""
    return np.concatenate(list(rows))


def shown_levels(levels: Sequence[float]) -> list[float]:
    """The levels themselves in order, or the lowest, the middle and the highest of more than three."""
    ordered = sorted(levels)
    if len(ordered) <= _MAX_LEVELS:
        return ordered
    return [ordered[0], ordered[len(ordered) // 2], ordered[-1]]


def mark_photo(inputs: Mapping[str, InputFile]) -> Photo:
    """The photo with its hole tinted and the lines over it; the sketch where there is no photo."""
    lines = read_grey(inputs["sketch"].data) <= 127
    if "photo" not in inputs:
        return np.where(lines[..., None], np.array(_INK, np.uint8), np.uint8(255))
    marked = read_photo(inputs["photo"].data).astype(np.float64)
    hole = read_mask(inputs["mask"].data) == 1
    marked[hole] += _HOLE_COVER * (np.array(_HOLE_TINT) - marked[hole])
    marked[lines] = _INK
    return np.asarray(np.rint(marked), np.uint8)


def _cell(label: str, picture: Photo) -> Photo:
    cell = np.full((_LABEL_PX + CELL_PX + _GAP_PX, CELL_PX + _GAP_PX, 3), 255, np.uint8)
    cell[_LABEL_PX : _LABEL_PX + CELL_PX, :CELL_PX] = resize_photo(picture, CELL_PX)
    _write(cell, label, (3, _LABEL_PX - 6))
    return cell


def _note(text: str) -> Photo:
    blank = np.full((CELL_PX, CELL_PX, 3), _EMPTY_GREY, np.uint8)
    _write(blank, text, (CELL_PX // 2 - 40, CELL_PX // 2))
    return blank


def _write(picture: Photo, text: str, place: tuple[int, int]) -> None:
    cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (40, 40, 40), 1, cv2.LINE_AA)


SHEET_FILE, FIGURE_FILE, COMMAND_FILE = "recipes.jpg", "figure.jpg", "command.txt"
AGAIN_FOLDER = "again"


@dataclass(frozen=True)
class MadeRecipes:
    """What came of it.

    Attributes:
        done: names of the recipes that have results.
        left_out: why the others have none, by name.
        notes: what a person should know, each once.
    """

    done: tuple[str, ...]
    left_out: dict[str, str]
    notes: tuple[str, ...]


def make_request(recipe: Recipe, levels: tuple[float, ...], weights: str) -> EditRequest:
    """What `dps edit` or `dps synthesize` is asked for; a recipe's photo is an aligned crop already."""
    is_pasted = recipe.command == "edit"
    return EditRequest(
        recipe.command, levels, weights, "none", blend="poisson" if is_pasted else "none", grain=is_pasted
    )


def make_command(request: EditRequest) -> str:
    """The command line that does the same by hand, to be run in the recipe's folder."""
    words = ["dps", request.command]
    if request.command == "edit":
        words += ["photo.png", "--mask", "mask.png", "--sketch", "sketch.png", "--align", request.align]
        words += ["--blend", request.blend, "--grain"]
    else:
        words.append("sketch.png")
    levels = ",".join(repr(level).removesuffix(".0") for level in request.levels)
    return shlex.join([*words, "--levels", levels, "--weights", request.weights, "-o", AGAIN_FOLDER])


def plan_recipe(recipe: Recipe, levels: tuple[float, ...], weights: str) -> str:
    """One line that says what a recipe would do; writes nothing."""
    inputs = draw_inputs(recipe)
    size = f"a hole of {100 * read_mask(inputs['mask'].data).mean():.1f} %" if "mask" in inputs else "a sketch alone"
    line = f"{recipe.name}: {size}, {make_command(make_request(recipe, levels, weights))}"
    try:
        hash_weights(weights, recipe.task)
    except MissingError as error:
        return f"{line}; would be left out: {error}"
    return line


def make_recipes(
    recipes: tuple[Recipe, ...],
    out: Path,
    levels: tuple[float, ...],
    choose_weights: Callable[[str], str],
    announce: Callable[[str], None] | None = None,
) -> MadeRecipes:
    """Write the folder of each recipe and their sheet.

    A recipe without weights gets its drawing and its command, no result, and the others go on.

    Args:
        recipes: which.
        out: folder; made where it is missing.
        levels: refinement levels in [0, 1].
        choose_weights: from `edit` or `synthesis` to the weights to load.
        announce: called with a line a minute.

    Raises:
        EnvironmentFailure: the disk is full, or the folder cannot be written to.
    """
    done: list[str] = []
    left_out: dict[str, str] = {}
    notes: dict[str, None] = {}
    rows: list[Photo] = []
    for recipe in track(recipes, len(recipes), "recipe", announce):
        inputs = draw_inputs(recipe)
        request = make_request(recipe, levels, choose_weights(recipe.task))
        folder = out / recipe.name
        _write_drawing(folder, inputs, request)
        results: Mapping[str, bytes] | None = None
        try:
            results, said = make_run(request, inputs)
        except MissingError as error:
            left_out[recipe.name] = str(error)
            _remove_old_run(folder)
        else:
            write_run(folder, results)
            done.append(recipe.name)
            notes |= dict.fromkeys(said)
        rows.append(draw_row(recipe, inputs, levels, results))
        write_bytes_atomic(folder / FIGURE_FILE, encode_jpeg(rows[-1], JPEG_QUALITY))
    write_bytes_atomic(out / SHEET_FILE, encode_jpeg(draw_sheet(rows), JPEG_QUALITY))
    return MadeRecipes(tuple(done), left_out, tuple(notes))


def _write_drawing(folder: Path, inputs: Mapping[str, InputFile], request: EditRequest) -> None:
    make_folder(folder)
    for role, item in inputs.items():
        write_bytes_atomic(folder / f"{role}.png", item.data)
    write_text_atomic(folder / COMMAND_FILE, make_command(request) + "\n")


def _remove_old_run(folder: Path) -> None:
    """Results of older weights must not pass for those of a recipe that was left out."""
    if (folder / RUN_FILE).is_file():
        write_run(folder, {})
        (folder / "strip.png").unlink(missing_ok=True)
