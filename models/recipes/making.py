"""Recipes as folders, each made by the code of `dps edit`.

OUT/NAME/photo.png, mask.png, sketch.png   what a person paints and draws
OUT/NAME/command.txt                       the command that repeats it there by hand
OUT/NAME/l0.5.png, strip.png, run.json     what that command writes, see models/editing/run.py
OUT/NAME/figure.jpg                        one row of the sheet
OUT/recipes.jpg                            all rows
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dpsdata.contracts import RUN_FILE, MissingError
from dpsdata.images.codec import encode_jpeg, read_mask
from dpsdata.runtime.files import write_bytes_atomic, write_failure, write_text_atomic
from models.editing.request import EditRequest, InputFile
from models.editing.run import hash_weights, make_run, write_run
from models.recipes.catalogue import Recipe
from models.recipes.drawing import draw_inputs
from models.recipes.sheet import JPEG_QUALITY, Photo, draw_row, draw_sheet

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
) -> MadeRecipes:
    """Write the folder of each recipe and their sheet.

    A recipe without weights gets its drawing and its command, no result, and the others go on.

    Args:
        recipes: which.
        out: folder; made where it is missing.
        levels: refinement levels in [0, 1].
        choose_weights: from `edit` or `synthesis` to the weights to load.

    Raises:
        EnvironmentFailure: the disk is full, or the folder cannot be written to.
    """
    done: list[str] = []
    left_out: dict[str, str] = {}
    notes: dict[str, None] = {}
    rows: list[Photo] = []
    for recipe in recipes:
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
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_failure(folder, error) from error
    for role, item in inputs.items():
        write_bytes_atomic(folder / f"{role}.png", item.data)
    write_text_atomic(folder / COMMAND_FILE, make_command(request) + "\n")


def _remove_old_run(folder: Path) -> None:
    """Results of older weights must not pass for those of a recipe that was left out."""
    if (folder / RUN_FILE).is_file():
        write_run(folder, {})
        (folder / "strip.png").unlink(missing_ok=True)
