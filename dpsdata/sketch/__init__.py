"""Sketches: from edge maps to thin lines, to the 3 px pen, to dilated and rough sketches.

Names are imported when they are first used: readers of files need no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dpsdata.runtime.lazy_names import lazy_names

if TYPE_CHECKING:
    from dpsdata.sketch.dilate import (
        dilate_sketch,
        dilate_sketch_array,
        max_diameter_px,
        scaled_diameter_px,
        smooth_sketch,
        truth_sketches,
    )
    from dpsdata.sketch.perturb import Perturbation, perturb_sketch
    from dpsdata.sketch.rough import (
        RoughDraws,
        deform_sketch,
        discard_strokes,
        draw_rough,
        make_rough_sketch,
        published_move_px,
        simulate_sketch,
    )
    from dpsdata.sketch.simplify import SimplifyConfig, simplify_edge_map, simplify_edges

_NAMES = {
    "dilate": (
        "dilate_sketch",
        "dilate_sketch_array",
        "max_diameter_px",
        "scaled_diameter_px",
        "smooth_sketch",
        "truth_sketches",
    ),
    "perturb": ("Perturbation", "perturb_sketch"),
    "rough": (
        "RoughDraws",
        "deform_sketch",
        "discard_strokes",
        "draw_rough",
        "make_rough_sketch",
        "published_move_px",
        "simulate_sketch",
    ),
    "simplify": ("SimplifyConfig", "simplify_edge_map", "simplify_edges"),
}

__all__ = [
    "Perturbation",
    "RoughDraws",
    "SimplifyConfig",
    "deform_sketch",
    "dilate_sketch",
    "dilate_sketch_array",
    "discard_strokes",
    "draw_rough",
    "make_rough_sketch",
    "max_diameter_px",
    "perturb_sketch",
    "published_move_px",
    "scaled_diameter_px",
    "simplify_edge_map",
    "simplify_edges",
    "simulate_sketch",
    "smooth_sketch",
    "truth_sketches",
]

__getattr__, __dir__ = lazy_names(
    __name__, {name: f"dpsdata.sketch.{module}" for module, names in _NAMES.items() for name in names}
)
