"""Photo, mask and sketch of a recipe, as the files that `dps edit` and `dps synthesize` read."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dpsdata.hed import load_hed
from dpsdata.images.arrays import resize_photo
from dpsdata.images.codec import encode_png
from dpsdata.samples import crop_astronaut, read_sample_face
from dpsdata.sketch import simplify_edge_map
from models.editing.request import INPUTS_FOLDER, InputFile
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
