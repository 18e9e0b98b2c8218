"""`load_deepfillv2`, `load_scfegan`: from weights wherever they are to a module, every tensor checked.

A TensorFlow bundle, a file of ours, or a mapping: shapes first, then tensors.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from dpsdata.contracts import SCHEMA_VERSION, MissingError, UsageError
from dpsdata.runtime.files import write_text_atomic
from dpsdata.weights.reading import find_form, read_state
from dpsdata.weights.store import write_safetensors
from models.baselines.deepfillv2 import DeepFillv2, DeepFillv2Config
from models.baselines.scfegan import ScFegan, ScFeganConfig
from models.baselines.tensorflow.bundle import find_bundle_prefix, index_path, list_bundle, read_bundle
from models.baselines.tensorflow.names import count_weights, from_tensorflow, tf_tensors

WeightSource = str | os.PathLike[str] | Mapping[str, Any]
NEXT = "get the official files again (`dps weights list` says where), or pass another source"


@dataclass(frozen=True, eq=False)
class OpenWeights:
    """Weights whose names and shapes are known; the tensors are read on demand.

    Attributes:
        label: what to call them in errors.
        shapes: by name.
        read: the named entries, as arrays or tensors.
    """

    label: str
    shapes: Mapping[str, tuple[int, ...]]
    read: Callable[[Iterable[str]], dict[str, Any]]

    def fail(self, reason: str) -> MissingError:
        """The error that these weights are not what was asked for."""
        return MissingError(f"{self.label}: {reason}; {NEXT}")

    def tensors(self, wanted: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
        """Read tensors as float32.

        Args:
            wanted: {name: shape}.

        Raises:
            MissingError: one is missing, has another shape, is not of floats, or holds NaN or infinity.
        """
        missing = [name for name in wanted if name not in self.shapes]
        if missing:
            raise self.fail(f"{len(missing)} of {len(wanted)} tensors are missing, such as {missing[0]}")
        for name, shape in wanted.items():
            if self.shapes[name] != shape:
                raise self.fail(f"{name} has the shape {self.shapes[name]} where {shape} was expected")
        found = self.read(wanted)
        # One at a time: both forms of the whole of SC-FEGAN would be 750 MB.
        return {name: self._float(name, found.pop(name)) for name in wanted}

    def _float(self, name: str, value: Any) -> Tensor:
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            with np.errstate(over="ignore"):  # what becomes infinite is refused below
                value = torch.tensor(np.ascontiguousarray(value, dtype=np.float32).reshape(value.shape))
        plain = isinstance(value, Tensor) and value.layout == torch.strided and value.device.type != "meta"
        if not plain or not value.is_floating_point():
            raise self.fail(f"{name} holds {getattr(value, 'dtype', type(value).__name__)} where floats were expected")
        tensor: Tensor = value.detach().to("cpu", torch.float32, copy=True)
        if not bool(torch.isfinite(tensor).all()):
            raise self.fail(f"{name} holds NaN or infinity")
        return tensor


def open_weights(source: WeightSource) -> OpenWeights:
    """Open weights, and tell which names and shapes they hold.

    Args:
        source: the prefix of a TensorFlow bundle (its `.index`, or a folder with one bundle, will do), a safetensors
            or torch file, or {name: array or tensor}.

    Raises:
        UsageError: it is none of these.
        MissingError: nothing is there, or it is damaged.
    """
    if isinstance(source, Mapping):
        return _mapping("the given weights", source)
    if not isinstance(source, str | os.PathLike):
        raise UsageError(
            "source: expected the prefix of a TensorFlow checkpoint, a safetensors file or a mapping of arrays, "
            f"got {type(source).__name__}"
        )
    path = Path(source)
    if find_bundle_prefix(path) == path and path.is_file() and not index_path(path).is_file():
        return _mapping(str(path), find_form(read_state(path)[0]))
    prefix = find_bundle_prefix(path)
    if not index_path(prefix).is_file():
        raise MissingError(
            f"{path}: no weights here, neither a file of that name nor {index_path(prefix).name}; "
            "`dps weights list` says what exists and where to get it"
        )
    shapes = {name: info.shape for name, info in list_bundle(prefix).items()}
    return OpenWeights(str(prefix), shapes, lambda names: dict(read_bundle(prefix, list(names))))


def _mapping(label: str, entries: Mapping[Any, Any]) -> OpenWeights:
    # TensorFlow's variables call themselves `a/b:0`; its files leave that out.
    flat = {str(name).removesuffix(":0"): value for name, value in entries.items()}
    shapes = {name: tuple(getattr(value, "shape", ())) for name, value in flat.items()}
    return OpenWeights(label, shapes, lambda names: {name: flat[name] for name in names})


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
