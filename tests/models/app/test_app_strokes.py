from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpsdata.contracts import UsageError
from models.app.strokes import paint_layer, read_layers


def layers(mask: list[Any] | None = None, sketch: list[Any] | None = None, box: Any = None) -> str:
    return json.dumps({"mask": mask or [], "sketch": sketch or [], "box": box})


def stroke(*points: float, width: float = 1, erase: bool = False) -> dict[str, Any]:
    return {"kind": "stroke", "erase": erase, "width": width, "points": list(points)}


def test_a_stroke_lies_where_it_was_drawn() -> None:
    drawn = read_layers(layers(mask=[stroke(2.5, 3.5, 6.5, 3.5)]))
    marks = paint_layer(drawn.mask, 8, 10, {})
    expected = np.zeros((8, 10), np.uint8)
    expected[3, 2:7] = 1  # from the middle of pixel 2 to the middle of pixel 6
    assert np.array_equal(marks, expected)
    assert not paint_layer(drawn.sketch, 8, 10, {}).any()


def test_one_press_is_a_dot_and_width_counts() -> None:
    marks = paint_layer(read_layers(layers(mask=[stroke(20.5, 20.5, width=11)])).mask, 41, 41, {})
    assert marks[20, 15:26].all()
    assert marks[15:26, 20].all()
    assert 80 <= marks.sum() <= 120  # a disc of 11 px has 95
    assert marks.sum() == marks[14:27, 14:27].sum()


@pytest.mark.parametrize("width", [1.2, 2, 3, 4.4, 7, 16, 25, 60])
def test_a_line_is_as_wide_as_it_was_drawn(width: float) -> None:
    start, end = np.array([30.3, 80.6]), np.array([130.8, 40.1])
    steps = read_layers(layers(sketch=[stroke(*start, *end, width=width)])).sketch
    marks = paint_layer(steps, 120, 160, {}) == 1
    y, x = np.mgrid[:120, :160] + 0.5
    along = end - start
    share = np.clip(((x - start[0]) * along[0] + (y - start[1]) * along[1]) / (along @ along), 0, 1)
    distance = np.hypot(x - start[0] - share * along[0], y - start[1] - share * along[1])
    assert marks[distance <= width / 2 - 1].all()
    assert not marks[distance > width / 2 + 1.2].any()


def test_history_is_replayed_in_order() -> None:
    file = np.zeros((8, 8), np.uint8)
    file[0] = 1
    line = stroke(0.5, 4.5, 7.5, 4.5)
    steps = [line, {"kind": "file", "id": "f"}, stroke(0.5, 0.5, 3.5, 0.5, erase=True), {"kind": "invert"}]
    expected = np.ones((8, 8), np.uint8)
    expected[0, 4:] = 0
    assert np.array_equal(paint_layer(read_layers(layers(mask=steps)).mask, 8, 8, {"f": file}), expected)
    cleared = read_layers(layers(mask=[*steps, {"kind": "clear"}, line])).mask
    assert paint_layer(cleared, 8, 8, {"f": file}).sum() == 8
    with pytest.raises(UsageError, match="upload it again"):
        paint_layer(read_layers(layers(mask=steps)).mask, 8, 8, {})


points = st.lists(st.floats(-50, 150, allow_nan=False), min_size=2, max_size=12).filter(
    lambda items: len(items) % 2 == 0
)


@given(points, points, st.floats(0.5, 40))
def test_no_stroke_reaches_the_other_layer(first: list[float], second: list[float], width: float) -> None:
    alone = read_layers(layers(mask=[stroke(*first, width=width)]))
    both = read_layers(layers(mask=[stroke(*first, width=width)], sketch=[stroke(*second, width=1.5)]))
    turned = read_layers(layers(sketch=[stroke(*first, width=width)]))
    assert np.array_equal(paint_layer(alone.mask, 60, 80, {}), paint_layer(both.mask, 60, 80, {}))
    assert np.array_equal(paint_layer(alone.mask, 60, 80, {}), paint_layer(turned.sketch, 60, 80, {}))
    assert not paint_layer(turned.mask, 60, 80, {}).any()
    assert not paint_layer(alone.sketch, 60, 80, {}).any()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"mask": []}',
        layers(mask=[{"kind": "paint"}]),
        layers(mask=[{"kind": "stroke", "erase": 0, "width": 1, "points": [1, 1]}]),
        layers(mask=[stroke(1, 2, 3)]),
        layers(mask=[stroke()]),
        layers(mask=[stroke(1, float("nan"))]),
        layers(mask=[stroke(1, 1e300)]),
        layers(mask=[stroke(1, 1, width=0)]),
        layers(mask=[stroke(1, 1, width=1e9)]),
        layers(box=[1, 2]),
        layers(box=["a", 1, 1]),
        '{"mask": ' + "[" * 100_000,
    ],
)
def test_what_is_no_drawing_is_told(text: str) -> None:
    with pytest.raises(UsageError, match="reload the page"):
        read_layers(text)


def test_endless_drawings_and_flat_squares_are_refused() -> None:
    with pytest.raises(UsageError, match="5,000 strokes"):
        read_layers(layers(mask=[{"kind": "clear"}] * 5_001))
    with pytest.raises(UsageError, match="too many points"):
        read_layers(layers(sketch=[stroke(*[1.0] * 2_000_002)]))
    with pytest.raises(UsageError, match="at least 1 px wide"):
        read_layers(layers(box=[0, 0, 0]))
    assert read_layers(layers(box=[-3, 4, 50])).box == (-3, 4, 50, 50)
