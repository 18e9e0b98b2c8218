"""Where a baseline's weights come from: a TensorFlow bundle, a file of ours, a mapping; shapes first, then tensors."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dpsdata.contracts import MissingError, UsageError
from dpsdata.weights.reading import find_form, read_state
from models.baselines.tensorflow.bundle import find_bundle_prefix, index_path, list_bundle, read_bundle

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
