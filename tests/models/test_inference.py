"""The faster forms of the networks equal the plain ones."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from models.editing.editor import Editor
from models.networks.inference import ReadyUpConv, merge_up_convolutions
from models.networks.layers import UpConv

shared = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("tiny_weights.py"))))


def plain_up(conv: UpConv, x: torch.Tensor) -> torch.Tensor:
    doubled = F.interpolate(x, scale_factor=2.0, mode="nearest")
    return F.conv2d(F.pad(doubled, (1, 1, 1, 1), mode="reflect"), conv.weight, conv.bias)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 5), (16, 16)])
def test_one_transposed_convolution_equals_upsampling_and_convolution(size: tuple[int, int]) -> None:
    conv = UpConv(5, 7)
    x = torch.randn(2, 5, *size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = plain_up(conv, x)
        np.testing.assert_allclose(conv(x), expected, atol=2e-6)
        np.testing.assert_allclose(ReadyUpConv(conv)(x), expected, atol=2e-6)


def test_gradients_equal_those_of_the_plain_form() -> None:
    conv = UpConv(3, 4)
    x = torch.randn(1, 3, 6, 6, generator=torch.Generator().manual_seed(1), requires_grad=True)
    weights = torch.randn(1, 4, 12, 12, generator=torch.Generator().manual_seed(2))
    grads = []
    for form in (conv, lambda value: plain_up(conv, value)):
        out = torch.autograd.grad((form(x) * weights).sum(), [x, conv.weight, conv.bias])
        grads.append([value.numpy() for value in out])
    for mine, plain in zip(*grads, strict=True):
        np.testing.assert_allclose(mine, plain, rtol=1e-4, atol=1e-4)


def test_ready_nets_keep_no_trainable_upsampling_and_give_the_same_photo() -> None:
    net = shared.make_tiny_net("edit").eval()
    size = net.resolution
    keyed = torch.Generator().manual_seed(3)
    photo = torch.rand(1, 3, size, size, generator=keyed) * 2 - 1
    sketch = (torch.rand(1, 1, size, size, generator=keyed) > 0.95).float()
    mask = torch.zeros(1, 1, size, size)
    mask[..., 10:40, 12:50] = 1
    with torch.no_grad():
        before = net(photo, sketch, mask, 0.3)
        merge_up_convolutions(net)
        after = net(photo, sketch, mask, 0.3)
    assert not any(isinstance(module, UpConv) for module in net.modules())
    for name, value in before._asdict().items():
        np.testing.assert_allclose(getattr(after, name), value, atol=1e-5, err_msg=name)


def test_levels_in_chunks_equal_levels_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    editor = Editor(shared.make_tiny_net("edit"))
    size = editor.resolution
    keyed = torch.Generator().manual_seed(4)
    photo = torch.rand(1, 3, size, size, generator=keyed) * 2 - 1
    sketch = (torch.rand(1, 1, size, size, generator=keyed) > 0.95).float()
    mask = torch.ones(1, 1, size, size)
    levels = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0])
    monkeypatch.setattr("models.editing.editor._CPU_CHUNK_PX", 2 * size * size)
    together = editor.forward(photo, sketch, mask, levels)
    for index, level in enumerate(levels.tolist()):
        alone = editor.forward(photo, sketch, mask, level)
        for name, value in alone._asdict().items():
            np.testing.assert_allclose(getattr(together, name)[index : index + 1], value, atol=1e-5, err_msg=name)


def test_a_batch_in_chunks_keeps_each_sample_with_its_own_photo_and_level(monkeypatch: pytest.MonkeyPatch) -> None:
    editor = Editor(shared.make_tiny_net("edit"))
    size = editor.resolution
    keyed = torch.Generator().manual_seed(5)
    photo = torch.rand(3, 3, size, size, generator=keyed) * 2 - 1
    sketch = (torch.rand(3, 1, size, size, generator=keyed) > 0.95).float()
    mask = (torch.rand(3, 1, size, size, generator=keyed) > 0.5).float()
    whole = {level: editor.forward(photo, sketch, mask, level) for level in (0.5, torch.tensor([0.0, 0.5, 1.0]))}
    monkeypatch.setattr("models.editing.editor._CPU_CHUNK_PX", size * size)
    for level, expected in whole.items():
        found = editor.forward(photo, sketch, mask, level)
        np.testing.assert_allclose(found.inpainter_photo, expected.inpainter_photo, atol=1e-5)
        np.testing.assert_allclose(found.dilated_sketch, expected.dilated_sketch, atol=1e-6)
