from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from dpsdata.contracts import UsageError
from dpsdata.sketch import dilate_sketch, smooth_sketch, truth_sketches

SHARED = Path(__file__).resolve().parents[3].parent / "shared"


def vertical_line(size: int = 64) -> torch.Tensor:
    sketch = torch.zeros(1, 1, size, size)
    sketch[..., size // 2] = 1
    return sketch


def published(sketch: torch.Tensor) -> torch.Tensor:
    return 1 - 2 * sketch


@pytest.mark.parametrize(
    ("kernel", "profile"), [("A", [-1, -0.8265, 0.8247, 0.9965, 1]), ("B", [-1, -0.1056, 0.9922, 1])]
)
def test_profile_of_a_line(kernel, profile):
    row = published(smooth_sketch(vertical_line(), kernel))[0, 0, 30]
    np.testing.assert_allclose(row[32 : 32 + len(profile)], profile, atol=6e-5)
    np.testing.assert_allclose(row[32 - len(profile) + 1 : 33].flip(0), profile, atol=6e-5)


def test_single_dot():
    sketch = torch.zeros(1, 1, 15, 15)
    sketch[0, 0, 7, 7] = 1
    smooth = published(smooth_sketch(sketch))[0, 0]
    assert smooth[7, 7].item() == pytest.approx(-0.9894, abs=6e-5)
    assert smooth[7, 8].item() == pytest.approx(0.0892, abs=6e-5)
    assert smooth[8, 7].item() == pytest.approx(0.0892, abs=6e-5)
    # 4 px away is outside the 7x7 kernel
    assert smooth[7, 11].item() == 1


def test_lines_reach_the_border_by_replication():
    smooth = smooth_sketch(vertical_line())
    assert torch.equal(smooth[0, 0, 0], smooth[0, 0, 30])


def test_equals_the_plain_convolution():
    sketch = (torch.rand(2, 1, 33, 21, generator=torch.Generator().manual_seed(1)) < 0.1).double()
    bell = torch.exp(-0.5 * (torch.arange(-3, 4).double() / 0.8) ** 2)
    kernel = torch.outer(bell, bell)
    padded = torch.nn.functional.pad(sketch, (3, 3, 3, 3), mode="replicate")
    expected = torch.nn.functional.conv2d(padded, (4 * kernel / kernel.sum())[None, None]).clamp(0, 1)
    np.testing.assert_allclose(smooth_sketch(sketch.float()).double(), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("size", [384, 512, 1024])
def test_the_same_drawing_looks_the_same_at_scale(size):
    scale = size / 256

    def drawing(side: int) -> torch.Tensor:
        points = np.array([[40, 50], [90, 200], [160, 60], [220, 210], [60, 120]], np.float64)
        placed = np.rint((points + 0.5) * side / 256 - 0.5).astype(np.int32)
        canvas = np.zeros((side, side), np.uint8)
        cv2.polylines(canvas, [placed], False, 1)
        return torch.from_numpy(canvas).float()[None, None]

    small, large = smooth_sketch(drawing(256)), smooth_sketch(drawing(size))
    for level in (0.0, 0.5):
        reference = dilate_sketch(small, level) if level else small
        shrunk = torch.nn.functional.interpolate(
            dilate_sketch(large, level) if level else large, (256, 256), mode="area"
        )
        overlap = torch.minimum(reference, shrunk).sum() / torch.maximum(reference, shrunk).sum()
        assert overlap > 0.8
        assert shrunk.sum().item() == pytest.approx(reference.sum().item(), rel=0.1)
    at_scale = torch.zeros(1, 1, size, size)
    at_scale[..., size // 2] = 1
    width = (smooth_sketch(at_scale)[0, 0, 9] > 0.5).sum().item()
    assert width == pytest.approx(2.66 * scale, abs=1)  # 2.66 px at half height, 3 pixels at 256 px


def test_small_sketches_use_the_published_kernels():
    sketch = vertical_line(16)
    assert torch.equal(smooth_sketch(sketch)[0, 0, 5], smooth_sketch(vertical_line(64))[0, 0, 5, 24:40])


def test_truth_sketches_have_three_pixel_lines_at_every_size():
    sketches = truth_sketches(vertical_line(256))
    assert list(sketches) == [256, 128, 64]
    for size, sketch in sketches.items():
        assert sketch.shape == (1, 1, size, size)
        assert 2 <= (sketch[0, 0, 9] > 0.5).sum() <= 4


def test_truth_sketches_match_the_reference():
    arrays = SHARED / "parity/dps/dps_parts_edt_1_l0.37.npz"
    drawing = SHARED / "data/samples/deepps/edit/1.png"
    if not arrays.exists() or not drawing.exists():
        pytest.skip("../shared with the reference arrays is not here")
    with Image.open(drawing) as panels:
        sketch = 1 - np.asarray(panels.convert("RGB"), np.float32)[:, 256:512, 0] / 255
    expected = np.load(arrays)
    for size, result in truth_sketches(torch.from_numpy(sketch)[None, None]).items():
        np.testing.assert_allclose(published(result)[0, 0], expected[f"truth_sketch_{size}"], atol=1e-5)


def test_wrong_input_is_refused():
    with pytest.raises(UsageError, match="kernel"):
        smooth_sketch(vertical_line(), "C")
    with pytest.raises(UsageError, match="sketch"):
        smooth_sketch(-vertical_line())
    for shape in [(512, 512), (30, 32)]:
        with pytest.raises(UsageError, match="256 px"):
            truth_sketches(torch.zeros(1, 1, *shape))
