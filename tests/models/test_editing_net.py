from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from dpsdata.contracts import UsageError
from dpsdata.sketch import dilate_sketch, smooth_sketch
from dpsdata.sketch.dilate import PUBLISHED_DIAMETER_PX
from models.networks.config import Task, tiny_config
from models.networks.editing_net import EditingNet, Refiner
from models.networks.initialisation import initialise_weights
from models.networks.inpainter import Inpainter

SIZE = 64


def make_net(task: Task, dilation_diameter: int = PUBLISHED_DIAMETER_PX) -> EditingNet:
    config = tiny_config(task)
    net = EditingNet(Refiner(replace(config.refiner, dilation_diameter=dilation_diameter)), Inpainter(config.inpainter))
    initialise_weights(net, 5, "test")
    for value in net.parameters():  # at 0.02 the output is all but flat, and differences drown
        if value.ndim == 4:
            value.data *= 4
    return net.eval()


def make_inputs(count: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    photo = torch.rand(count, 3, SIZE, SIZE, generator=generator) * 2 - 1
    sketch = torch.zeros(count, 1, SIZE, SIZE)
    for index in range(count):
        sketch[index, :, 20 : 40 + index, 30 + index] = 1
    mask = torch.zeros(count, 1, SIZE, SIZE)
    mask[:, :, 16:48, 16:48] = 1
    return photo, sketch, mask


@pytest.fixture(scope="module")
def edit_net() -> EditingNet:
    return make_net("edit")


@pytest.fixture(scope="module")
def synthesis_net() -> EditingNet:
    return make_net("synthesis")


def assert_same(found: Tensor, expected: Tensor) -> None:
    """Equal but for the order of sums, which differs between the kernels of CPUs: 1e-4 of the range of values.

    Another level, photo or sample moves the results of these networks by a percent of the range and more.
    """
    scale = float(expected.max() - expected.min())
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * max(scale, 1e-3))


@torch.inference_mode()
def test_what_an_edit_returns(edit_net: EditingNet) -> None:
    photo, sketch, mask = make_inputs()
    out = edit_net(photo, sketch, mask, 0.5)
    assert torch.equal(out.dilated_sketch, dilate_sketch(smooth_sketch(sketch), 0.5))
    assert out.refined_sketch.shape == (1, 1, SIZE, SIZE)
    assert out.refiner_photo.shape == out.inpainter_photo.shape == (1, 3, SIZE, SIZE)
    assert bool((out.refined_sketch[mask == 0] == 0).all())
    assert 0 <= float(out.refined_sketch.min()) < float(out.refined_sketch.max()) <= 1
    assert not torch.equal(out.inpainter_photo[:, :, :16], photo[:, :, :16]), "nothing is composited"


@torch.inference_mode()
def test_the_photo_inside_of_the_hole_is_not_read(edit_net: EditingNet) -> None:
    photo, sketch, mask = make_inputs()
    changed = torch.where(mask == 1, -photo, photo)
    one, other = edit_net(photo, sketch, mask, 0.5), edit_net(changed, sketch, mask, 0.5)
    assert all(torch.equal(left, right) for left, right in zip(one, other, strict=True))


@torch.inference_mode()
def test_levels_change_the_result_by_style_and_by_pen(edit_net: EditingNet) -> None:
    photo, sketch, mask = make_inputs()
    one, other = edit_net(photo, sketch, mask, 0.0), edit_net(photo, sketch, mask, 1.0)
    assert float(other.dilated_sketch.sum()) > float(one.dilated_sketch.sum())
    empty = torch.zeros_like(sketch)
    assert not torch.equal(
        edit_net(photo, empty, mask, 0.0).refiner_photo, edit_net(photo, empty, mask, 1.0).refiner_photo
    )


@torch.inference_mode()
def test_networks_have_a_pen_of_their_own(edit_net: EditingNet) -> None:
    photo, sketch, mask = make_inputs()
    narrow = make_net("edit", 13)
    assert (edit_net.refiner.config.pen_px(64), narrow.refiner.config.pen_px(64)) == (5, 3)
    assert (edit_net.refiner.config.pen_px(128), narrow.refiner.config.pen_px(128)) == (11, 7)
    for level in (0.0, 0.5, 1.0):
        drawn = narrow(photo, sketch, mask, level).dilated_sketch
        assert torch.equal(drawn, dilate_sketch(smooth_sketch(sketch), level, 3))
    published, own = (net(photo, sketch, mask, 0.0) for net in (edit_net, narrow))
    assert all(torch.equal(left, right) for left, right in zip(published, own, strict=True)), "level 0 has no pen"
    assert not torch.equal(narrow(photo, sketch, mask, 1.0)[1], edit_net(photo, sketch, mask, 1.0)[1])


@torch.inference_mode()
def test_one_photo_at_many_levels_is_one_batch(edit_net: EditingNet) -> None:
    photo, sketch, mask = make_inputs()
    levels = [0.0, 0.3, 1.0]
    together = edit_net(photo, sketch, mask, torch.tensor(levels))
    for index, level in enumerate(levels):
        alone = edit_net(photo, sketch, mask, level)
        for left, right in zip(together, alone, strict=True):
            assert_same(left[index], right[0])


@torch.inference_mode()
def test_one_level_for_each_sample(synthesis_net: EditingNet) -> None:
    _, sketch, _ = make_inputs(3)
    levels = torch.tensor([0.1, 0.6, 0.9])
    together = synthesis_net(None, sketch, None, levels)
    for index in range(3):
        alone = synthesis_net(None, sketch[index : index + 1], None, float(levels[index]))
        assert_same(together.inpainter_photo[index], alone.inpainter_photo[0])
    assert synthesis_net.task == "synthesis"
    assert not torch.equal(together.refined_sketch[0], together.refined_sketch[1])


def test_wrong_inputs_are_refused(edit_net: EditingNet, synthesis_net: EditingNet) -> None:
    photo, sketch, mask = make_inputs(2)
    small = sketch[..., :32]
    for call, reason in (
        (lambda: edit_net(None, sketch, None, 0.5), "neither may be None"),
        (lambda: edit_net(photo, sketch, None, 0.5), "neither may be None"),
        (lambda: synthesis_net(photo, sketch, None, 0.5), "must be None"),
        (lambda: edit_net(photo, small, mask, 0.5), "sketch: expected 2 of 64 x 64"),
        (lambda: edit_net(photo[:1], sketch, mask, 0.5), "photo: expected 2 of 64 x 64"),
        (lambda: edit_net(photo * 2, sketch, mask, 0.5), "photo"),
        (lambda: edit_net(photo, sketch, mask * 0.5, 0.5), "mask: expected only 0"),
        (lambda: edit_net(photo, sketch, mask, 1.5), "level"),
        (lambda: edit_net(photo, sketch, mask, torch.tensor([0.1, 0.2, 0.3])), "level"),
        (lambda: edit_net(photo, sketch, mask, torch.tensor([0.1, float("nan")])), "level"),
    ):
        with pytest.raises(UsageError, match=reason):
            call()


def test_networks_that_do_not_fit_are_refused() -> None:
    config = tiny_config()
    with pytest.raises(UsageError, match="both must be of one task"):
        EditingNet(Refiner(config.refiner), Inpainter(tiny_config("synthesis").inpainter))
    with pytest.raises(UsageError, match="both must be of one resolution"):
        EditingNet(Refiner(config.refiner), Inpainter(tiny_config("edit", 128).inpainter))
