from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from models.networks.published_signs import (
    discriminator_input,
    network_input,
    refiner_inputs,
    resize,
    shrink_mask,
    split_output,
)


def test_signs_and_fillers_of_the_seven_channels() -> None:
    # Pixels: line in the hole, paper in the hole, line outside, paper outside.
    sketch = torch.tensor([[[[1.0, 0.0], [1.0, 0.0]]]])
    mask = torch.tensor([[[[1.0, 1.0], [0.0, 0.0]]]])
    photo = torch.tensor([0.5, -0.5, 1.0]).reshape(1, 3, 1, 1).expand(1, 3, 2, 2)
    stack = network_input(sketch, photo, mask)
    assert stack.shape == (1, 7, 2, 2)
    for channel in range(3):
        assert stack[0, channel].tolist() == [[-1.0, 1.0], [0.0, 0.0]]
    assert stack[0, 3].tolist() == [[0.0, 0.0], [0.5, 0.5]]
    assert stack[0, 4].tolist() == [[0.0, 0.0], [-0.5, -0.5]]
    assert stack[0, 6].tolist() == [[1.0, 1.0], [-1.0, -1.0]]


def test_synthesis_reads_the_sketch_alone() -> None:
    assert network_input(torch.tensor([[[[1.0, 0.25]]]])).tolist() == [[[[-1.0, 0.5]]] * 3]


def test_the_discriminator_sees_the_full_frame() -> None:
    sketch, photo, mask = torch.ones(2, 1, 4, 4), torch.full((2, 3, 4, 4), 0.3), torch.zeros(2, 1, 4, 4)
    stack = discriminator_input(sketch, photo, mask)
    assert stack.shape == (2, 7, 4, 4)
    assert stack[0, :, 0, 0].tolist() == pytest.approx([0, 0, 0, 0.3, 0.3, 0.3, -1])
    assert discriminator_input(sketch, photo)[0, :, 0, 0].tolist() == pytest.approx([-1, -1, -1, 0.3, 0.3, 0.3])


def test_the_refined_sketch_is_empty_outside_of_the_hole() -> None:
    output = torch.tensor([-1.0, 0.1, 0.2, 0.3]).reshape(1, 4, 1, 1).expand(1, 4, 1, 2)
    sketch, photo = split_output(output, torch.tensor([[[[1.0, 0.0]]]]))
    assert sketch.tolist() == [[[[1.0, 0.0]]]]
    assert photo[0, :, 0, 0].tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert split_output(output)[0].tolist() == [[[[1.0, 1.0]]]]


def test_corners_are_aligned() -> None:
    ramp = torch.linspace(0, 1, 9).expand(1, 1, 9, 9)
    assert torch.allclose(resize(ramp, 5)[0, 0, 0], torch.linspace(0, 1, 5))


def test_any_touch_of_the_hole_is_hole() -> None:
    mask = torch.zeros(1, 1, 9, 9)
    mask[0, 0, 0, 1] = 1
    # Row 0 of the 6x6 map lies on row 0; its columns 0, 1, 2 lie on 0, 1.6, 3.2 of the full map.
    expected = torch.zeros(6, 6)
    expected[0, 1] = 1
    small = shrink_mask(mask, 6)[0, 0]
    specks = shrink_mask(torch.zeros(1, 1, 9, 9), 6)[0, 0]
    assert torch.equal(torch.maximum(expected, specks), small)


def test_rounding_specks_are_those_of_the_reference() -> None:
    empty = torch.zeros(1, 1, 256, 256)
    assert int(shrink_mask(empty, 64).sum()) == 42
    assert int(shrink_mask(empty, 128).sum()) == 0
    assert torch.equal(shrink_mask(empty, 256), empty)


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 2**32 - 1),
    full=st.sampled_from([64, 128, 256]),
    size=st.sampled_from([16, 32, 64, 128]),
    density=st.sampled_from([0.0, 0.001, 0.1, 1.0]),
)
def test_masks_are_the_published_ones(seed: int, full: int, size: int, density: float) -> None:
    if size >= full:
        return
    drawn = np.random.default_rng(seed).random((2, 1, full, full)) < density
    mask = torch.from_numpy(drawn.astype(np.float32))
    published = F.interpolate(2 * mask - 1, size=(size, size), mode="bilinear", align_corners=True) > -1
    assert torch.equal(shrink_mask(mask, size), published.float())


def test_small_inputs_are_made_from_the_whole_image_and_masked_then() -> None:
    photo = torch.ones(1, 3, 64, 64)
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., :32] = 1
    inputs = refiner_inputs(torch.zeros(1, 1, 64, 64), photo, mask, (16, 32, 64))
    assert {size: tuple(value.shape) for size, value in inputs.items()} == {
        16: (1, 7, 16, 16),
        32: (1, 7, 32, 32),
        64: (1, 7, 64, 64),
    }
    for value in inputs.values():
        hole = (value[:, 6:] + 1) / 2
        assert torch.allclose(value[:, 3:6], (1 - hole).expand(-1, 3, -1, -1)), "no photo bleeds over the rim"
        assert torch.allclose(value[:, :3], hole.expand(-1, 3, -1, -1))
