"""Sketches: from edge maps to thin lines, to the 3 px pen, to dilated and rough sketches."""

from dpsdata.sketch.dilate import dilate_sketch, dilate_sketch_array, max_diameter_px, scaled_diameter_px
from dpsdata.sketch.perturb import Disturbance, disturb_sketch
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
from dpsdata.sketch.smooth import smooth_sketch, truth_sketches

__all__ = [
    "Disturbance",
    "RoughDraws",
    "SimplifyConfig",
    "deform_sketch",
    "dilate_sketch",
    "dilate_sketch_array",
    "discard_strokes",
    "disturb_sketch",
    "draw_rough",
    "make_rough_sketch",
    "max_diameter_px",
    "published_move_px",
    "scaled_diameter_px",
    "simplify_edge_map",
    "simplify_edges",
    "simulate_sketch",
    "smooth_sketch",
    "truth_sketches",
]
