"""Arrays of TensorFlow's outputs: the small ones lie in tests/parity, larger ones beside the checkout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.baselines.tensorflow.names import tf_tensors

TESTS = Path(__file__).resolve().parents[2]
PORTABLE = TESTS / "parity" / "baselines"
SHARED = TESTS.parents[1] / "shared" / "parity" / "baselines"


def load_arrays(name: str) -> dict[str, NDArray[np.float32]]:
    path = next((folder / name for folder in (PORTABLE, SHARED) if (folder / name).is_file()), None)
    if path is None:
        pytest.skip(f"the shared array {name} is not on this machine")
    with np.load(path) as archive:
        return dict(archive)


def weights_of(arrays: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    return {name[2:]: value for name, value in arrays.items() if name.startswith("w:")}


def to_tensorflow(net: nn.Module) -> dict[str, NDArray[np.float32]]:
    """The weights of a network by TensorFlow's names, in TensorFlow's layout, the dead biases among them."""
    found = {}
    for key, entry in tf_tensors(net).items():
        value = net.state_dict()[key]
        value = value.permute(2, 3, 1, 0) if value.ndim == 4 else value.reshape(entry.shape)
        found[entry.name] = value.contiguous().numpy()
    return found


def planes(nhwc: NDArray[np.float32]) -> Tensor:
    """NHWC, BGR as stored, to NCHW."""
    return torch.from_numpy(np.ascontiguousarray(nhwc.transpose(0, 3, 1, 2)))


def photo(nhwc: NDArray[np.float32]) -> Tensor:
    """NHWC BGR to NCHW RGB, the channels turned by hand so that the product's own turn is tested."""
    return planes(nhwc)[:, [2, 1, 0]]


def largest_error(ours: Tensor, theirs: Tensor) -> float:
    assert ours.shape == theirs.shape
    return float((ours.detach() - theirs).abs().max())
