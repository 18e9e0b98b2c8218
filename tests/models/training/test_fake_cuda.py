"""Every step of every training on a pretended GPU: a tensor on the wrong device is an error there too.

Nothing is computed; shapes and devices are followed through networks, losses and optimisers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from dpsdata.hed import HED
from models.training.catalogue import make_algorithm, read_training
from models.training.engine.batches import BatchPixels
from models.training.engine.losses import StageParts

CUDA = torch.device("cuda", 0)


def _ones(shape: tuple[int, ...]) -> Any:
    return 1.0 if not shape else [_ones(shape[1:]) for _ in range(shape[0])]


def _move_buffers(net: torch.nn.Module, *_: Any, **__: Any) -> torch.nn.Module:
    for part in net.modules():
        part._buffers.update({name: one if one is None else one.to(CUDA) for name, one in part._buffers.items()})
    return net


def _list(inputs: Any) -> list[torch.Tensor]:
    return [inputs] if isinstance(inputs, torch.Tensor) else list(inputs)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeTensorMode]:
    """A mode in which a GPU is there; what is read from a tensor is 1."""
    monkeypatch.setattr(FakeTensor, "tolist", lambda self: _ones(tuple(self.shape)), raising=False)
    monkeypatch.setattr(FakeTensor, "numpy", lambda self: np.zeros(tuple(self.shape), np.float32), raising=False)
    monkeypatch.setattr(FakeTensor, "item", lambda self: 1.0, raising=False)
    monkeypatch.setattr(FakeTensor, "__float__", lambda self: 1.0, raising=False)
    monkeypatch.setattr(FakeTensor, "__int__", lambda self: 0, raising=False)
    monkeypatch.setattr(FakeTensor, "__bool__", lambda self: True, raising=False)
    monkeypatch.setattr("models.baselines.edit_inputs.check_mask", lambda _: None)
    # Networks are made where they belong, since a pretended parameter cannot be moved in its place; first weights are
    # drawn on the CPU; and there is no backward pass without a driver.
    monkeypatch.setattr(torch.nn.Module, "to", _move_buffers)
    monkeypatch.setattr(torch.autograd, "grad", lambda _, inputs, **__: [torch.zeros_like(x) for x in _list(inputs)])
    monkeypatch.setattr(Accelerator, "backward", lambda *_: None)
    monkeypatch.setattr("models.training.editing.algorithm.initialise_weights", lambda *_, **__: None)
    monkeypatch.setattr("models.training.engine.losses.load_hed", lambda _: HED(12, "compact"))
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        yield mode


@pytest.mark.parametrize("name", ["lite-edit-256", "tiny", "tiny-deepfillv2-guided", "tiny-scfegan"])
def test_a_step_stays_on_its_device(name: str, fake: FakeTensorMode) -> None:
    config = read_training(name)
    with CUDA:
        algorithm = make_algorithm(config, CUDA)
        algorithm.use_perceptual("hed-compact")
    accelerator = Accelerator(cpu=True)
    side, count = config.resolution, 2
    hole = np.zeros((count, side, side), np.uint8)
    hole[:, 8:24, 8:24] = 1
    pixels = BatchPixels(
        ("a", "b"), np.zeros((count, side, side, 3), np.uint8), np.zeros((count, side, side), np.uint8), hole
    )
    for stage in algorithm.stages:
        net = algorithm.network(stage).requires_grad_(True).train()
        with CUDA:
            discriminator = algorithm.make_discriminator(stage).train()
        optimisers = [torch.optim.Adam(part.parameters(), 1e-4) for part in (net, discriminator)]
        parts = StageParts(stage, net, discriminator, net, discriminator, *optimisers)
        values = algorithm.step(parts, pixels, 0, accelerator)
        assert values


def test_a_tensor_on_another_device_is_seen(fake: FakeTensorMode) -> None:
    with pytest.raises(RuntimeError, match="same device"):
        torch.ones(2, device=CUDA) + torch.ones(2)
