"""The one protocol that every method meets: batches of contract tensors in, photos out; and how to get one by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from dpsdata.contracts import UsageError
from models.methods.registry import TIME_LIMIT_S, Method, default_weights, find_method
from models.methods.weights import Origin


class Painting(NamedTuple):
    """What a method makes of a batch; nothing is composited yet.

    Attributes:
        photo: (N, 3, H, W) float32 RGB in [-1, 1].
        refined_sketch: (N, 1, H, W) in [0, 1], line = 1, of a method that refines.
        refiner_photo: (N, 3, H, W), the refiner's own photo, of a method that refines.
        failed: id and reason of each photo that a foreign method did not fill; its pixels mean nothing.
    """

    photo: Tensor
    refined_sketch: Tensor | None = None
    refiner_photo: Tensor | None = None
    failed: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class LoadOptions:
    """How to load a method.

    Attributes:
        weights: `bundled`, `official`, or a path; no meaning for a method without weights.
        device: `cpu`, `cuda`, `cuda:N` or `auto`.
        precision: `fp32` or `bf16`; baselines run in fp32.
        seed: of noise, keyed by it and the id of the photo.
        time_limit_s: seconds that a method which is run as a command may take a photo.
    """

    weights: str = "bundled"
    device: str = "cpu"
    precision: str = "fp32"
    seed: int = 0
    time_limit_s: float = TIME_LIMIT_S


@dataclass(frozen=True)
class MethodProvenance:
    """What a comparison states of a method.

    Attributes:
        origin: of its weights.
        weights: SHA-256 of its weight files by name.
        licence: of these weights; "" where unknown.
        parameter_count: numbers that were learned; 0 without weights.
        images_seen: in training; None where unknown.
        width: of the network, and of the published one.
        reads: how its inputs are made from photo, sketch and mask, in a sentence.
        depends_on: more that the pixels depend on, such as a seed.
    """

    origin: Origin
    weights: Mapping[str, str]
    licence: str
    reads: str
    parameter_count: int = 0
    images_seen: int | None = None
    width: tuple[int, int] | None = None
    depends_on: Mapping[str, Any] | None = None


class MethodPredictor(Protocol):
    """A method that is ready to run."""

    @property
    def method(self) -> Method:
        """Its entry of the registry."""

    @property
    def device(self) -> torch.device:
        """Where it runs."""

    @property
    def resolution(self) -> int | None:
        """Side in px that it works at, photos of another size being resampled to it and back; None for any."""

    @property
    def provenance(self) -> MethodProvenance:
        """What a comparison states of it."""

    def predict(self, photo: Tensor, sketch: Tensor, mask: Tensor, ids: Sequence[str], level: float | None) -> Painting:
        """Fill the hole of each photo; what lies in the hole is not read.

        Args:
            photo: (N, 3, H, W) float32 RGB in [-1, 1].
            sketch: (N, 1, H, W) float32 in [0, 1], one-pixel line = 1.
            mask: (N, 1, H, W) float32 in {0, 1}, hole = 1.
            ids: of the photos; noise is keyed by them.
            level: refinement level in [0, 1]; None for a method without one.
        """


def load_method(name: str, options: LoadOptions | None = None) -> MethodPredictor:
    """Load a method by its name.

    Args:
        name: what `models.methods.registry.find_method` takes.
        options: where its weights are and where it runs; None for `default_weights` on the CPU.

    Raises:
        UsageError: no such method, device or precision; or it is written by another method.
        MissingError: its weights are missing, damaged or of another network.
    """
    method = find_method(name)
    if method.made_by is not None:
        raise UsageError(f"{name} is written together with {method.made_by}; run --method {method.made_by}")
    module, _, function = method.builder.partition(":")
    build = getattr(import_module(module), function)
    predictor: MethodPredictor = build(method, options or LoadOptions(default_weights(method)))
    return predictor


def check_baseline_precision(method: Method, precision: str) -> None:
    """Raise UsageError unless the precision is the one that baselines are compared in."""
    if precision != "fp32":
        raise UsageError(f"precision: {method.name} runs in fp32 alone, got {precision!r}")


def settings_of(predictor: MethodPredictor) -> dict[str, Any]:
    """What the pixels of a method depend on besides its levels, for `run.json`."""
    provenance = predictor.provenance
    return {"weights": dict(provenance.weights), **dict(provenance.depends_on or {})}


def describe_method(predictor: MethodPredictor) -> dict[str, Any]:
    """Everything that a comparison states of a method, for `run.json`."""
    method, provenance = predictor.method, predictor.provenance
    return {
        "title": method.title,
        "paper": method.paper,
        "origin": provenance.origin,
        "guided": method.takes_sketch,
        "takes": list(method.takes),
        "reads": provenance.reads,
        "images_seen": provenance.images_seen,
        "parameter_count": provenance.parameter_count,
        "width": None if provenance.width is None else provenance.width[0],
        "published_width": None if provenance.width is None else provenance.width[1],
        "licence": provenance.licence or "unknown",
        "sentence": say_method(predictor),
    }


def name_method(predictor: MethodPredictor) -> str:
    """A method and its weights in a few words, for the console; the rest stands in `run.json` and the report."""
    method, provenance = predictor.method, predictor.provenance
    parts = [f"{provenance.origin} weights" if method.needs_weights else provenance.origin]
    if provenance.parameter_count:
        parts.append(f"{provenance.parameter_count / 1e6:.1f} M parameters")
    if predictor.resolution:
        parts.append(f"{predictor.resolution} px")
    terms = f"; licence: {(provenance.licence or 'unknown').partition(':')[0]}" if method.needs_weights else ""
    return f"{method.title}: {', '.join(parts)}{terms}"


def say_method(predictor: MethodPredictor) -> str:
    """Everything that `describe_method` tells, in one sentence for people."""
    method, provenance = predictor.method, predictor.provenance
    parts = [f"{provenance.origin} weights" if method.needs_weights else provenance.origin]
    if provenance.parameter_count:
        parts.append(f"{provenance.parameter_count:,} parameters")
    if provenance.width is not None and provenance.width[0] != provenance.width[1]:
        parts.append(f"a reduced network of width {provenance.width[0]}, where {provenance.width[1]} is published")
    if method.needs_weights:
        parts.append(
            "images seen: unknown" if provenance.images_seen is None else f"images seen: {provenance.images_seen:,}"
        )
    parts.append("guided by a sketch" if method.takes_sketch else "not guided")
    parts.append(provenance.reads)
    parts.append(f"licence: {provenance.licence or 'unknown'}")
    return f"{method.title}: {'; '.join(parts)}"
