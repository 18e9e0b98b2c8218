"""`load_deepfillv2`, `load_scfegan`: from weights wherever they are to a module, every tensor checked."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from dpsdata.contracts import SCHEMA_VERSION, UsageError
from dpsdata.runtime.files import write_text_atomic
from dpsdata.weights.store import write_safetensors
from models.baselines.deepfillv2 import DeepFillv2, DeepFillv2Config
from models.baselines.scfegan import ScFegan, ScFeganConfig
from models.baselines.tensorflow.names import count_weights, from_tensorflow, tf_tensors
from models.baselines.weight_sources import OpenWeights, WeightSource, open_weights

_WIDTH_LIMIT = 1024
# {network: (a name that only it has, in TensorFlow's names and in ours)}; its shape tells the sizes.
_FIRST_KERNELS = {
    "deepfillv2": ("inpaint_net/conv1/kernel", "coarse.conv1.weight"),
    "scfegan": ("generator/gconv1_ds/kernel", "enc1.feat.weight"),
}
_N = TypeVar("_N", DeepFillv2, ScFegan)


def load_deepfillv2(source: WeightSource) -> DeepFillv2:
    """Load DeepFillv2's generator; its width, and whether it is guided, are told from shapes.

    Optimiser slots, the discriminator and whatever else a checkpoint holds are not read.

    Args:
        source: the prefix of a TensorFlow bundle, a safetensors file of ours, or {TensorFlow name: array}.

    Returns:
        The network in eval mode on the CPU, in float32.

    Raises:
        UsageError: the source is none of these.
        MissingError: weights are missing, damaged, not finite, or of another network.
    """

    def build(in_channels: int, filters: int) -> DeepFillv2:
        if in_channels not in (5, 6):
            raise UsageError(
                f"its first kernel reads {in_channels} channels where 5, or 6 with a sketch, were expected"
            )
        return DeepFillv2(DeepFillv2Config(filters, guided=in_channels == 6))

    return _load(source, "deepfillv2", build)


def load_scfegan(source: WeightSource) -> ScFegan:
    """Load SC-FEGAN's generator; its width is told from shapes.

    Args:
        source: as in `load_deepfillv2`.

    Returns:
        The network in eval mode on the CPU, in float32.

    Raises:
        UsageError: the source is none of these.
        MissingError: weights are missing, damaged, not finite, or of another network.
    """
    return _load(source, "scfegan", lambda _, filters: ScFegan(ScFeganConfig(filters)))


def write_network(path: Path, net: DeepFillv2 | ScFegan, metadata: Mapping[str, Any] | None = None) -> None:
    """Write a network as safetensors, and its card as JSON beside it, both atomically.

    Args:
        path: ends in `.safetensors`; the loaders give the same network back, exactly.
        net: what to write.
        metadata: more entries of the card: origin, licence, images seen.
    """
    card = {**(metadata or {}), **network_card(net)}
    write_safetensors(path, net.state_dict(), card)
    write_text_atomic(path.with_suffix(".json"), json.dumps(card, indent=2, sort_keys=True) + "\n")


def network_card(net: DeepFillv2 | ScFegan) -> dict[str, Any]:
    """What a file of ours says of its network: name, sizes, count of its weights."""
    return {
        "schema_version": SCHEMA_VERSION,
        "network": "scfegan" if isinstance(net, ScFegan) else "deepfillv2",
        "config": asdict(net.config),
        "parameter_count": count_weights(net),
    }


def _load(source: WeightSource, network: str, build: Callable[[int, int], _N]) -> _N:
    weights = open_weights(source)
    theirs, ours = _FIRST_KERNELS[network]
    scope = theirs.split("/", 1)[0] + "/"
    if ours in weights.shapes:
        first, (filters_axis, channels_axis) = ours, (0, 1)
    elif any(name.startswith(scope) for name in weights.shapes):
        first, (filters_axis, channels_axis) = theirs, (3, 2)
    else:
        held = " and ".join(_held(weights)) or "neither DeepFillv2 nor SC-FEGAN"
        raise weights.fail(f"{network} was asked for, and it holds {held}")
    shape = weights.shapes.get(first)
    if shape is None:
        raise weights.fail(f"it holds a part of {network}, without {first}")
    if len(shape) != 4 or not 1 <= shape[filters_axis] <= _WIDTH_LIMIT:
        raise weights.fail(f"{first} has the shape {shape}, which is no {network}")
    try:
        # On `meta` no time goes into first weights that are thrown away.
        with torch.device("meta"):
            net = build(shape[channels_axis], shape[filters_axis])
    except UsageError as error:
        raise weights.fail(str(error)) from None
    _fill(net, weights, official=first == theirs)
    return net.eval()


def _fill(net: nn.Module, weights: OpenWeights, official: bool) -> None:
    if official:
        entries = tf_tensors(net).values()
        state = from_tensorflow(net, weights.tensors({entry.name: entry.shape for entry in entries}))
    else:
        wanted = {key: tuple(value.shape) for key, value in net.state_dict().items()}
        extra = [name for name in weights.shapes if name not in wanted]
        if extra:
            raise weights.fail(f"it holds {len(extra)} unknown tensors such as {extra[0][:80]}")
        state = weights.tensors(wanted)
    net.load_state_dict(state, strict=True, assign=True)


def _held(weights: OpenWeights) -> list[str]:
    return [name for name, first in _FIRST_KERNELS.items() if any(key in weights.shapes for key in first)]
