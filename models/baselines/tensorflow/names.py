"""TensorFlow names, shapes and layouts of both official models, and ours: one map each, read both ways."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from models.baselines.deepfillv2 import DeepFillv2
from models.baselines.patch_discriminator import SNPatchDiscriminator
from models.baselines.scfegan import ScFegan

if TYPE_CHECKING:
    pass

_LEAVES = {"weight": "kernel", "bias": "bias", "power_vector": "kernel_sn/u"}
_UP_LEAVES = {"weight": "w", "bias": "biases1", "dead_bias": "biases2"}
_SCFEGAN_BLOCKS = {"enc": "gconv{}_ds", "dil": "co_conv{}_dlt", "dec": "gconv{}", "up": "deconv{}"}


class TfTensor(NamedTuple):
    """A variable of an official checkpoint.

    Attributes:
        name: as in the file, without `:0`.
        shape: in TensorFlow's layout (HWIO kernels).
    """

    name: str
    shape: tuple[int, ...]


def deepfillv2_name(key: str) -> str:
    """TensorFlow's name of a tensor of DeepFillv2's generator: `coarse.conv1.weight` is `inpaint_net/conv1/kernel`."""
    _, layer, leaf = key.split(".")
    nested = f"{layer}/{layer}_conv" if layer.endswith("_upsample") else layer
    return f"inpaint_net/{nested}/{_LEAVES[leaf]}"


def scfegan_name(key: str) -> str:
    """TensorFlow's name of a tensor of SC-FEGAN: `enc1.gate.weight` is `generator/gconv1_ds_g/kernel`."""
    block, *parts = key.split(".")
    kind, number = re.sub(r"\d+", "", block), re.sub(r"\D+", "", block)
    layer = _SCFEGAN_BLOCKS[kind].format(number)
    if kind == "up":
        return f"generator/{layer}/{_UP_LEAVES[parts[0]]}"
    return f"generator/{layer}{'_g' if parts[0] == 'gate' else ''}/{_LEAVES[parts[1]]}"


def discriminator_name(key: str) -> str:
    """TensorFlow's name of a tensor of DeepFillv2's discriminator; SC-FEGAN's was never released and borrows these."""
    layer, leaf = key.split(".")
    return f"discriminator/sn_patch_gan/{layer}/{_LEAVES[leaf]}"


def tf_tensors(net: nn.Module) -> dict[str, TfTensor]:
    """{our key: its variable} of a network of this package, in the order of its layers; it may lie on `meta`."""
    namers: dict[type[nn.Module], Callable[[str], str]] = {
        DeepFillv2: deepfillv2_name,
        ScFegan: scfegan_name,
        SNPatchDiscriminator: discriminator_name,
    }
    namer = namers[type(net)]
    return {key: TfTensor(namer(key), _tf_shape(key, value)) for key, value in net.state_dict().items()}


def from_tensorflow(net: nn.Module, variables: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our state dict from TensorFlow's variables.

    Args:
        net: the network; only its names are read.
        variables: all of its variables by TensorFlow's names, in TensorFlow's layout; others are not read.
    """
    return {key: _to_ours(key, variables[entry.name]) for key, entry in tf_tensors(net).items()}


def count_weights(net: nn.Module) -> int:
    """Count the numbers of a network as its checkpoint holds them: dead biases count, power vectors do not."""
    return sum(value.numel() for key, value in net.state_dict().items() if not key.endswith("power_vector"))


def _to_ours(key: str, value: Tensor) -> Tensor:
    # The same order serves both kinds: HWIO to OIHW, and a transposed kernel (h, w, out, in) to (in, out, h, w).
    if value.ndim == 4:
        return value.permute(3, 2, 0, 1).contiguous()
    return value.reshape(-1) if key.endswith("power_vector") else value


def _to_theirs(key: str, value: Tensor) -> Tensor:
    if value.ndim == 4:
        return value.permute(2, 3, 1, 0)
    return value[None] if key.endswith("power_vector") else value


def _tf_shape(key: str, value: Tensor) -> tuple[int, ...]:
    return tuple(_to_theirs(key, torch.empty(value.shape, device="meta")).shape)
