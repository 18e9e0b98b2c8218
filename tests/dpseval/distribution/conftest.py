"""Random weights of the FID network whose activations keep their size, and two small sets of photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dpsdata.weights.known.inception import FEATURE_COUNT, OUTPUT_COUNT
from dpseval.metrics.inception import FidInception, prepare

HEIGHT, WIDTH = 120, 152


def astronaut_crops(count: int, seed: int) -> np.ndarray:
    from skimage.data import astronaut

    rng = np.random.default_rng(seed)
    tops, lefts = rng.integers(0, 512 - HEIGHT, count), rng.integers(0, 512 - WIDTH, count)
    picture = astronaut()
    return np.stack([picture[top : top + HEIGHT, left : left + WIDTH] for top, left in zip(tops, lefts, strict=True)])


def calibrated_state(seed: int) -> dict[str, Tensor]:
    """A state dict in the published keys; each layer is normalised with its own statistics over a few photos."""
    torch.manual_seed(seed)
    network = FidInception()
    state: dict[str, Tensor] = {}

    def normalise(name: str):
        def hook(module: nn.Conv2d, _: object, output: Tensor) -> Tensor:
            mean, variance = output.mean((0, 2, 3)), output.var((0, 2, 3))
            gain, bias = torch.rand(module.out_channels) + 0.5, torch.randn(module.out_channels) * 0.3
            values = {"weight": gain, "bias": bias, "running_mean": mean, "running_var": variance}
            state.update({f"{name}.bn.{part}": value.clone() for part, value in values.items()})
            shift, scale = mean[:, None, None], (gain / torch.sqrt(variance + 0.001))[:, None, None]
            return (output - shift) * scale + bias[:, None, None]

        return hook

    for key, module in network.convs.items():
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        nn.init.zeros_(module.bias)
        state[f"{key.replace('/', '.')}.conv.weight"] = module.weight.clone()
        module.register_forward_hook(normalise(key.replace("/", ".")))
    with torch.inference_mode():
        network(prepare(astronaut_crops(3, seed), "pytorch-fid"))
    state["fc.weight"] = torch.randn(OUTPUT_COUNT, FEATURE_COUNT) * 0.02
    state["fc.bias"] = torch.zeros(OUTPUT_COUNT)
    return {key: value.clone() for key, value in state.items()}


@pytest.fixture(scope="session")
def inception_state() -> dict[str, Tensor]:
    return calibrated_state(7)


@pytest.fixture(scope="session")
def inception_file(inception_state: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("inception") / "weights-inception-2015-12-05-6726825d.pth"
    torch.save(inception_state, path)
    return path


@pytest.fixture(scope="session")
def photo_sets() -> tuple[np.ndarray, np.ndarray]:
    """Three photos, and two others with a grey box: far enough apart that FID is no rounding error."""
    first, second = astronaut_crops(3, 1), astronaut_crops(2, 2)
    second[:, 30:90, 40:110] = 128
    return first, second
