"""The pictures of recipes: photo, hole and line over it, results; one row a recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from dpsdata.contracts import level_folder
from dpsdata.images.codec import read_grey, read_mask, read_photo, resize_photo
from models.editing.request import InputFile
from models.recipes.catalogue import Recipe

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
