from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dpsdata.contracts import UsageError
from dpsdata.sketch import (
    RoughDraws,
    deform_sketch,
    dilate_sketch,
    discard_strokes,
    draw_rough,
    make_rough_sketch,
    published_move_px,
    smooth_sketch,
)
from dpsdata.sketch.rough import _smooth_noise, deform_grid

SHARED = Path(__file__).resolve().parents[3].parent / "shared"
CPU = torch.device("cpu")


def sketches(count: int = 3, size: int = 64) -> torch.Tensor:
    lines = torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(5)) < 0.02
    return smooth_sketch(lines.float())


def names(count: int) -> list[str]:
    return [f"face-{index}" for index in range(count)]


def test_deformation_matches_the_reference():
    path = SHARED / "parity/dps/dps_parts_edt_1_l0.37.npz"
    drawing = SHARED / "data/samples/deepps/edit/1.png"
    if not path.exists() or not drawing.exists():
        pytest.skip("../shared with the reference arrays is not here")
    arrays = np.load(path)
    with Image.open(drawing) as panels:
        sketch = 1 - np.asarray(panels.convert("RGB"), np.float32)[:, 256:512, 0] / 255
    noise = torch.from_numpy(np.stack([arrays["deform_noise_x"], arrays["deform_noise_y"]])[None])
    max_move_px = float(arrays["deform_max_move"])
    grid = deform_grid(1, 256, 256, max_move_px, noise, CPU)
    np.testing.assert_allclose(grid[0, ::4, ::4], arrays["deform_grid"], atol=1e-5)
    result = deform_sketch(smooth_sketch(torch.from_numpy(sketch)[None, None]), max_move_px, noise)
    np.testing.assert_allclose(1 - 2 * result[0, 0], arrays["deformed_sketch"], atol=1e-5)


def test_no_move_is_the_identity():
    noise = draw_rough(names(3), 64, 64, seed=1).noise
    values = torch.rand(3, 1, 64, 64, generator=torch.Generator().manual_seed(1))
    np.testing.assert_allclose(deform_sketch(values, 0.0, noise), values, rtol=0, atol=1e-5)


def test_moves_have_the_published_size():
    noise = draw_rough(names(64), 64, 64, seed=2).noise
    # the weights square to a sum of 0.0284; cells near the border repeat noise and move more
    inner = _smooth_noise(noise.numpy())[..., 4:12, 4:12]
    assert inner.std().item() == pytest.approx(0.0284**0.5, abs=0.02)
    level_flat = _smooth_noise(np.ones((1, 2, 16, 16), np.float32))
    np.testing.assert_allclose(level_flat, torch.ones(1, 2, 16, 16), rtol=0, atol=1e-6)
    grid = deform_grid(64, 64, 64, 4.0, noise, CPU)
    rest = deform_grid(64, 64, 64, 0.0, noise, CPU)
    moved_px = (grid - rest) * 32
    assert moved_px.abs().max() <= 4.0 + 1e-4
    assert moved_px.std().item() == pytest.approx(0.2 * 4.0, rel=0.25)


def test_each_axis_moves_in_its_own_pixels_and_x_comes_first():
    noise = torch.zeros(1, 2, 16, 16)
    noise[:, 0] = 100.0  # clamped to the limit
    grid, rest = (deform_grid(1, 32, 64, move, noise, CPU) for move in (3.0, 0.0))
    moved = (grid - rest)[0, 16, 20]
    assert moved[0].item() == pytest.approx(2 * 3 / 64, abs=1e-6)
    assert moved[1].item() == 0
    sketch = torch.zeros(1, 1, 32, 64)
    sketch[..., 30] = 1
    assert deform_sketch(sketch, 3.0, noise)[0, 0, 9].argmax() == 27  # sampled 3 px to the right


def test_discard_erases_its_rectangles_only():
    rectangles = torch.tensor([[[2, 3, 4, 5], [0, 0, 0, 0]], [[0, 0, 1, 16], [15, 15, 1, 1]]])
    sketch = torch.ones(2, 1, 16, 16)
    result = discard_strokes(sketch, rectangles)
    expected = torch.ones(2, 1, 16, 16)
    expected[0, 0, 2:6, 3:8] = 0
    expected[1, 0, 0] = 0
    expected[1, 0, 15, 15] = 0
    assert torch.equal(result, expected)
    assert sketch.min() == 1


def test_rectangles_follow_the_published_distribution():
    rectangles = draw_rough([str(index) for index in range(600)], 256, 192, seed=3).rectangles
    top, left, tall, wide = rectangles.unbind(-1)
    used = tall > 0
    counts = torch.bincount(used.sum(1), minlength=3)
    assert (counts > 150).all()
    assert (tall[used].min(), tall[used].max()) == (32, 63)
    assert (wide[used].min(), wide[used].max()) == (24, 47)
    assert (top + tall).max() <= 256
    assert (left + wide).max() <= 192
    assert (wide[~used] == 0).all()


def test_draws_depend_on_seed_id_and_turn_alone():
    batch = draw_rough(["a", "b", "c"], 64, 64, seed=7)
    turned = draw_rough(["c", "a"], 64, 64, seed=7)
    assert torch.equal(batch.noise[[2, 0]], turned.noise)
    assert torch.equal(batch.rectangles[[2, 0]], turned.rectangles)
    for other in (draw_rough(["a"], 64, 64, seed=8), draw_rough(["a"], 64, 64, seed=7, turn=1)):
        assert not torch.equal(other.noise[0], batch.noise[0])


def test_order_is_deform_discard_dilate():
    smooth, draws = sketches(), draw_rough(names(3), 64, 64, seed=4)
    by_hand = deform_sketch(smooth, 20 * 0.6 * 64 / 256, draws.noise)
    by_hand = dilate_sketch(discard_strokes(by_hand, draws.rectangles), 0.6)
    assert torch.equal(make_rough_sketch(smooth, 0.6, draws), by_hand)


def test_a_level_for_each_sample_and_any_batch():
    smooth, draws = sketches(), draw_rough(names(3), 64, 64, seed=9)
    levels = torch.tensor([0.0, 0.37, 1.0])
    together = make_rough_sketch(smooth, levels, draws)
    for index, level in enumerate(levels.tolist()):
        alone = RoughDraws(draws.noise[[index]], draws.rectangles[[index]])
        np.testing.assert_allclose(
            make_rough_sketch(smooth[[index]], level, alone), together[[index]], rtol=0, atol=1e-6
        )


def test_discard_acts_at_level_zero_too():
    rectangles = torch.zeros(1, 2, 4, dtype=torch.int64)
    rectangles[0, 0] = torch.tensor([0, 0, 64, 64])
    draws = RoughDraws(torch.zeros(1, 2, 16, 16), rectangles)
    assert make_rough_sketch(sketches(1), 0.0, draws).max() == 0


def test_given_diameter_sets_the_move():
    smooth, draws = sketches(), draw_rough(names(3), 64, 64, seed=6)
    none = RoughDraws(draws.noise, torch.zeros_like(draws.rectangles))
    by_hand = dilate_sketch(deform_sketch(smooth, 8 * 0.5, draws.noise), 0.5, 9)
    assert torch.equal(make_rough_sketch(smooth, 0.5, none, max_diameter=9), by_hand)


def test_moves_do_not_follow_the_pen_where_they_are_given():
    smooth, draws = sketches(), draw_rough(names(3), 64, 64, seed=6)
    none = RoughDraws(draws.noise, torch.zeros_like(draws.rectangles))
    by_hand = dilate_sketch(deform_sketch(smooth, 2 * 5 * 0.5, draws.noise), 0.5, 3)
    assert torch.equal(make_rough_sketch(smooth, 0.5, none, 3, 2.0, published_move_px(64, 90)), by_hand)
    assert torch.equal(make_rough_sketch(smooth, 0.5, draws, max_move=5.0), make_rough_sketch(smooth, 0.5, draws))


def test_moves_can_be_made_larger_than_the_published_ones():
    smooth, draws = sketches(), draw_rough(names(3), 64, 64, seed=6)
    none = RoughDraws(draws.noise, torch.zeros_like(draws.rectangles))
    by_hand = dilate_sketch(deform_sketch(smooth, 1.5 * 5 * 0.5, draws.noise), 0.5)
    assert torch.equal(make_rough_sketch(smooth, 0.5, none, move_scale=1.5), by_hand)


def test_published_moves_are_as_large_as_said():
    noise = draw_rough([f"{index}" for index in range(200)], 256, 256, seed=1).noise
    still = deform_grid(200, 256, 256, 0.0, noise, torch.device("cpu"))
    moved = deform_grid(200, 256, 256, 20.0, noise, torch.device("cpu")) - still
    inside = moved[:, 32:-32, 32:-32] * 255 / 2
    assert float(inside.square().sum(-1).mean().sqrt()) == pytest.approx(4.7, abs=0.15)


def test_wrong_input_is_refused():
    smooth, draws = sketches(), draw_rough(names(3), 64, 64, seed=1)
    with pytest.raises(UsageError, match="noise"):
        deform_sketch(smooth, 1.0, draws.noise[:2])
    with pytest.raises(UsageError, match="max_move_px"):
        deform_sketch(smooth, -1.0, draws.noise)
    with pytest.raises(UsageError, match="max_move_px"):
        deform_sketch(smooth, torch.ones(2), draws.noise)
    with pytest.raises(UsageError, match="rectangles"):
        discard_strokes(smooth, draws.rectangles[:, 0])
    with pytest.raises(UsageError, match="8 px"):
        draw_rough(["a"], 4, 64, seed=1)
    with pytest.raises(UsageError, match="level"):
        make_rough_sketch(smooth, 1.5, draws)
