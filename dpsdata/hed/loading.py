"""`load_hed`: finds, recognises and checks HED weights, and refuses the net that is kept for scoring."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dpsdata import weights
from dpsdata.contracts import MissingError, UsageError
from dpsdata.hed.checkpoints import HEDCheckpoint, read_checkpoint, recognise
from dpsdata.hed.network import HED, VARIANTS, VGG_MEAN_RGB, DetectionSettings, HEDOrigin
from dpsdata.hed.winograd import use_winograd
from dpsdata.runtime.device import check_precision, choose_device

if TYPE_CHECKING:
    from torch import Tensor

# Official weights first, the exact Caffe file before its ports; the bundled net needs no download.
AUTO_ORDER = ("hed-caffe", "hed-xwjabc", "hed-sniklaus", "hed-sniklaus-v1", "hed-controlnet", "hed-compact")
SCORER = "hed-judge"


def load_hed(
    source: str | os.PathLike[str] | Mapping[str, Tensor] | Mapping[str, Any] = "auto",
    variant: str = "auto",
    *,
    precision: str = "fp32",
    border: str = "own",
    device: str = "cpu",
) -> HED:
    """Load HED weights in any of the public key layouts, each run in its own variant.

    Args:
        source: `auto` (official weights when they are installed, otherwise the bundled compact net), a registered
            name such as `hed-compact`, the path of a file (.caffemodel, .pth, .pytorch, .pt, .safetensors) or a
            state dict.
        variant: `auto`: the one that the keys tell; or `caffe`, `sniklaus`, `compact` to run other padding.
        precision: `fp32`, `fp32-winograd` (CPU, faster, maps within 1e-4) or `bf16`.
        border: `own` or `reflect`, see `DetectionSettings`.
        device: `auto`, `cpu`, `cuda`, `cuda:N`.

    Raises:
        MissingError: no such file or name, a wrong hash, unknown or incomplete keys.
        UsageError: unknown variant, precision, border or device; or the weights are those of `hed-judge`.
    """
    checkpoint, origin = _find(source)
    if checkpoint.role == "judge":
        raise UsageError(f"{origin.name}: {SCORER} is reserved for scoring; building and training refuse it")
    return _detector(checkpoint, origin, variant, precision, border, device)


def load_any_hed(source: str | os.PathLike[str], *, device: str = "cpu") -> HED:
    """Load HED weights for scoring, `hed-judge` included; building and training use `load_hed`."""
    checkpoint, origin = _find(source)
    return _detector(checkpoint, origin, "auto", "fp32", "own", device)


def load_hed_scorer(*, device: str = "cpu") -> HED:
    """The bundled second net, kept for scoring sketch faithfulness; for `dpseval` alone."""
    return load_any_hed(SCORER, device=device)


def _find(source: Any) -> tuple[HEDCheckpoint, HEDOrigin]:
    if isinstance(source, Mapping):
        checkpoint = recognise(source)
        return checkpoint, HEDOrigin("state dict", "", f"HED, {checkpoint.variant} form, from a state dict")
    if not isinstance(source, (str, os.PathLike)):
        raise UsageError(f"load_hed: expected a name, a path or a state dict, got {type(source).__name__}")
    name = os.fspath(source)
    if name == "auto":
        name = next((candidate for candidate in AUTO_ORDER if weights.installed(candidate)), AUTO_ORDER[-1])
    registered = any(file.name == name for file in weights.list_weights())
    path = weights.weights_path(name) if registered else Path(name)
    if not path.is_file():
        raise MissingError(f"{path}: no such HED weights; expected auto, a name of `dpsdata weights list`, or a file")
    checkpoint = read_checkpoint(path)
    label = name if registered else path.name
    form = f"{checkpoint.variant} form, width {checkpoint.width}"
    return checkpoint, HEDOrigin(label, hashlib.sha256(path.read_bytes()).hexdigest(), f"HED {label} ({form})")


def _detector(
    checkpoint: HEDCheckpoint, origin: HEDOrigin, variant: str, precision: str, border: str, device: str
) -> HED:
    name = checkpoint.variant if variant == "auto" else variant
    if name not in VARIANTS or VARIANTS[name].has_fuse != ("fuse.weight" in checkpoint.tensors):
        usable = [key for key, form in VARIANTS.items() if form.has_fuse == ("fuse.weight" in checkpoint.tensors)]
        raise UsageError(f"variant: these weights run as {' or '.join(usable)}, got {variant!r}")
    where = choose_device(device)
    net = HED(checkpoint.width, name, mean_rgb=checkpoint.mean or VGG_MEAN_RGB)
    net.load_state_dict(checkpoint.tensors)
    net.settings = DetectionSettings(check_precision(precision, where), border)
    net.origin = origin
    net = net.eval().requires_grad_(False).to(where)
    # Weights in the layout of the activations, so that no convolution reorders them.
    net = net.to(memory_format=torch.channels_last)
    return use_winograd(net) if precision == "fp32-winograd" else net
