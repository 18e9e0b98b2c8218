from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dpsdata.contracts import UsageError
from dpsdata.sketch import dilate_sketch, dilate_sketch_array, max_diameter_px, scaled_diameter_px, smooth_sketch

ROOT = Path(__file__).resolve().parents[3]
SHARED = ROOT.parent / "shared"
LEVELS_21 = [step / 20 for step in range(21)]


def random_sketch(height: int, width: int, seed: int = 0) -> torch.Tensor:
    lines = torch.rand(1, 1, height, width, generator=torch.Generator().manual_seed(seed)) < 0.03
    return smooth_sketch(lines.float())


def by_definition(sketch: torch.Tensor, level: float, largest: int) -> torch.Tensor:
    """The definition: all-ones kernels on the replicated border, blended, then clamped; in float64."""

    def sums(diameter: int) -> torch.Tensor:
        padded = np.pad(sketch[0, 0].double().numpy(), diameter // 2, mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, (diameter, diameter))
        return torch.from_numpy(windows.sum((-2, -1)))[None, None]

    diameter = (largest - 1) * level + 1
    below = min(int((diameter - 1) / 2) * 2 + 1, largest)
    blend = sums(below)
    if diameter > below:
        blend = (blend * (below + 2 - diameter) + sums(below + 2) * (diameter - below)) / 2
    return blend.clamp(0, 1)


@pytest.mark.parametrize("shape", [(40, 56), (9, 70)])
@pytest.mark.parametrize("largest", [1, 3, 9, 21, 31])
def test_equals_the_definition(shape, largest):
    sketch = random_sketch(*shape)
    for level in [*LEVELS_21, 0.025, 0.37, 0.999]:
        result = dilate_sketch(sketch, level, largest)
        np.testing.assert_allclose(result.double(), by_definition(sketch, level, largest), rtol=0, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.lists(st.floats(0, 1), min_size=1, max_size=4),
    st.integers(1, 30),
    st.integers(0, 1000),
)
def test_array_form_is_the_tensor_form(height, width, levels, largest, seed):
    sketch = random_sketch(height, width, seed)
    stack = sketch.expand(len(levels), -1, -1, -1)
    tensor_form = dilate_sketch(stack, torch.tensor(levels, dtype=torch.float64), largest)[:, 0].numpy()
    array_form = dilate_sketch_array(sketch[0, 0].numpy(), levels, largest)
    assert array_form.dtype == np.float32
    np.testing.assert_allclose(array_form, tensor_form, atol=1e-6)


def test_solid_black_drifts_nowhere():
    assert torch.equal(dilate_sketch(torch.ones(1, 1, 256, 256), 1.0), torch.ones(1, 1, 256, 256))
    faint = torch.full((1, 1, 300, 300), 1e-3)
    np.testing.assert_allclose(dilate_sketch(faint, 1.0, 21), torch.full_like(faint, 0.441), rtol=0, atol=1e-6)


def test_a_level_for_each_sample():
    sketches = torch.cat([random_sketch(33, 47, seed) for seed in range(4)])
    levels = torch.tensor([0.0, 0.37, 1.0, 0.37])
    together = dilate_sketch(sketches, levels)
    for index in range(4):
        assert torch.equal(together[index : index + 1], dilate_sketch(sketches[index : index + 1], levels[index]))


def test_fractional_levels_are_blended_before_the_clamp():
    sketch = torch.zeros(1, 1, 9, 9)
    sketch[0, 0, 4, 3:6] = 0.5
    # diameters 1 and 3, half and half: centre (0.5 + 1.5) / 2 = 1; one row up (0 + 1.5) / 2, not (0 + 1) / 2
    result = dilate_sketch(sketch, 0.5, 3)[0, 0]
    assert result[4, 4].item() == 1
    assert result[3, 4].item() == 0.75
    assert result[3, 3].item() == 0.5


@pytest.mark.parametrize(("level", "width"), [(0, 3), (0.05, 5), (0.1, 5), (0.25, 9), (0.5, 15), (1, 25)])
def test_width_of_a_dilated_line(level, width):
    sketch = torch.zeros(1, 1, 256, 256)
    sketch[..., 128] = 1
    assert (dilate_sketch(smooth_sketch(sketch), level)[0, 0, 50] > 0.5).sum() == width


def test_level_zero_is_the_sketch_itself():
    sketch = random_sketch(64, 64)
    np.testing.assert_allclose(dilate_sketch(sketch, 0.0), sketch, rtol=0, atol=1e-7)


def test_lines_only_grow_with_the_level():
    levels = dilate_sketch_array(random_sketch(64, 64)[0, 0].numpy(), LEVELS_21, 21)
    assert (np.diff(levels, axis=0) >= -1e-6).all()


def test_max_diameter_scales_with_the_size_and_is_odd():
    sizes = {64: 5, 128: 11, 256: 21, 512: 43, 1024: 85}
    assert {size: max_diameter_px(size, size + 30) for size in sizes} == sizes
    assert max_diameter_px(256, 256, 20) == 21
    assert max_diameter_px(256, 256, 8.5) == 9
    assert max_diameter_px(256, 256, 1) == 1
    assert {size: scaled_diameter_px(size, size, 21) for size in sizes} == sizes
    assert {size: scaled_diameter_px(size + 9, size, 13) for size in sizes} == {
        64: 3,
        128: 7,
        256: 13,
        512: 27,
        1024: 53,
    }
    with pytest.raises(UsageError, match=r"pen: expected a diameter of 1 to 255 px of 256, got 0\.5"):
        scaled_diameter_px(64, 64, 0.5)
    sketch = random_sketch(32, 32)
    assert torch.equal(dilate_sketch(sketch, 0.6, 8), dilate_sketch(sketch, 0.6, 9))


@pytest.mark.parametrize("task", ["edt", "syn"])
def test_portable_arrays(task):
    arrays = np.load(ROOT / f"tests/parity/dps_{task}.npz")
    sketch = torch.from_numpy(1 - arrays["sketch"].astype(np.float32) / 255)[None, None]
    smooth = smooth_sketch(sketch)
    for level in ("0.00", "0.37", "1.00"):
        expected = arrays[f"l{level}_dilated_sketch"]
        np.testing.assert_allclose(1 - 2 * dilate_sketch(smooth, float(level))[0, 0, ::2, ::2], expected, atol=1e-5)
        by_array = dilate_sketch_array(smooth[0, 0].numpy(), [float(level)])
        np.testing.assert_allclose(1 - 2 * by_array[0, ::2, ::2], expected, atol=1e-5)


@pytest.mark.parametrize("task", ["edt", "syn"])
def test_reference_arrays(task):
    found = sorted((SHARED / "parity/dps").glob(f"dps_{task}_*.npz"))
    if not found:
        pytest.skip("../shared with the reference arrays is not here")
    folder = SHARED / "data/samples/deepps" / {"edt": "edit", "syn": "synthesis"}[task]
    for path in found:
        with Image.open(folder / f"{path.stem.split('_')[2]}.png") as image:
            panels = np.asarray(image.convert("RGB"), np.float32)[..., 0]
        paper = panels[:, 256:512] if task == "edt" else panels
        smooth = smooth_sketch(torch.from_numpy(1 - paper / 255)[None, None])
        level = float(path.stem.rsplit("_l", 1)[1])
        result = 1 - 2 * dilate_sketch(smooth, level)[0, 0, ::2, ::2]
        np.testing.assert_allclose(result, np.load(path)["dilated_sketch"], atol=1e-5, err_msg=path.name)


@pytest.mark.parametrize("level", [-0.1, 1.1, float("nan"), "much", torch.tensor([0.1, 0.2, 0.3]), torch.ones(2, 1)])
def test_wrong_levels_are_refused(level):
    with pytest.raises(UsageError, match="level"):
        dilate_sketch(torch.zeros(2, 1, 8, 8), level)


def test_wrong_sketches_and_diameters_are_refused():
    with pytest.raises(UsageError, match="max_diameter"):
        dilate_sketch(torch.zeros(1, 1, 8, 8), 0.5, 0)
    with pytest.raises(UsageError, match="max_diameter"):
        dilate_sketch(torch.zeros(1, 1, 8, 8), 0.5, float("nan"))
    with pytest.raises(UsageError, match="sketch"):
        dilate_sketch(torch.zeros(1, 3, 8, 8), 0.5)
    for wrong in (np.zeros((8, 8)), np.zeros((1, 8, 8), np.float32), np.full((8, 8), 2, np.float32)):
        with pytest.raises(UsageError, match="sketch"):
            dilate_sketch_array(wrong, [0.5])
    with pytest.raises(UsageError, match="level"):
        dilate_sketch_array(np.zeros((8, 8), np.float32), [0.5, 2])
