"""Recognises the public HED weight files by their keys, and brings them to the one naming of our network.

Our names: `stages.{0..4}.{i}` for the 3x3 convolutions, `sides.{0..4}` for the side scores (1, C, 1, 1),
`fuse` (1, 5, 1, 1), each with `.weight` and `.bias`; a file of ours may hold a `mean` (3,) too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NoReturn, cast

import numpy as np
import torch
from torch import Tensor

from dpsdata.contracts import MissingError
from dpsdata.hed.caffemodel import parse_caffemodel
from dpsdata.hed.network import CONV_COUNTS, VARIANTS, WIDTH_FACTORS
from dpsdata.weights.reading import UnrecognisedError, find_form, read_state, sniff
from dpsdata.weights.store import write_safetensors

Variant = Literal["caffe", "sniklaus", "controlnet", "compact"]
Layout = Literal["caffe", "xwjabc", "sniklaus", "controlnet", "ours"]
Role = Literal["detector", "judge"]

_CAFFEMODEL_BYTES_LIMIT = 256 * 1024**2
_WIDTH_LIMIT = 256
_PORT_STAGES = ("One", "Two", "Thr", "Fou", "Fiv")
# Bilinear kernels that the Caffe forms carry along; they are a formula, so they are regenerated and not loaded.
_FIXED_KEYS = re.compile(r"upsample[_-]?(2|4|8|16)\.(weight|bias)|(.*\.)?num_batches_tracked")
_NEXT = "get a public HED file (`dps weights list` says where), then run `dps weights import FILE`"


@dataclass(frozen=True, eq=False)
class HEDCheckpoint:
    """The weights of one HED network under our key names.

    Attributes:
        variant: how the network has to be run (padding, pooling, fuse or mean, channel order).
        width: output channels of the first convolution; 64 for the published network.
        tensors: float32 CPU tensors, by our key names.
        mean: what to subtract from 0-255 pixels, RGB; None for the means of the published Caffe form.
        layout: the key layout that was found.
        source: the file, or what the caller called it.
        role: `detector`, or `scorer` for the net that is kept for scoring alone.
    """

    variant: Variant
    width: int
    tensors: dict[str, Tensor] = field(repr=False)
    mean: tuple[float, float, float] | None
    layout: Layout
    source: str
    role: Role = "detector"


def _conv_names() -> Iterator[tuple[int, int]]:
    for stage, count in enumerate(CONV_COUNTS):
        for index in range(count):
            yield stage, index


def _port_names(prefix: str) -> dict[str, str]:
    names = {f"stages.{s}.{i}": f"{prefix}Vgg{_PORT_STAGES[s]}.{2 * i + (s > 0)}" for s, i in _conv_names()}
    names |= {f"sides.{s}": f"{prefix}Score{_PORT_STAGES[s]}" for s in range(5)}
    return names | {"fuse": f"{prefix}Combine.0"}


def _caffe_names(score: str, fuse: str) -> dict[str, str]:
    names = {f"stages.{s}.{i}": f"conv{s + 1}_{i + 1}" for s, i in _conv_names()}
    return names | {f"sides.{s}": f"{score}{s + 1}" for s in range(5)} | {"fuse": fuse}


def _controlnet_names() -> dict[str, str]:
    names = {f"stages.{s}.{i}": f"block{s + 1}.convs.{i}" for s, i in _conv_names()}
    return names | {f"sides.{s}": f"block{s + 1}.projection" for s in range(5)}


def layer_names(layout: Layout, keys: Mapping[str, Any]) -> dict[str, str]:
    """Return {our layer: layer in the file} for one layout; `keys` decides between its spellings."""
    if layout == "sniklaus":
        return _port_names("net" if "netCombine.0.weight" in keys else "module")
    if layout == "controlnet":
        return _controlnet_names()
    if layout == "ours":
        ours = {name: name for name in _caffe_names("", "")}
        if "fuse.weight" not in keys and "fuse.bias" not in keys and "mean" in keys:
            del ours["fuse"]
        return ours
    score = "score_dsn" if "score_dsn1.weight" in keys else "score-dsn"
    if layout == "xwjabc":
        return _caffe_names(score, "score_final")
    return _caffe_names(score, "new_score_weighting" if "new_score_weighting.weight" in keys else "new-score-weighting")


def find_layout(keys: Mapping[str, Any]) -> Layout | None:
    """Name the layout that these keys belong to, complete or not; None for another network."""
    if "norm" in keys and any(key.startswith("block1.convs.") for key in keys):
        return "controlnet"
    if "stages.0.0.weight" in keys:
        return "ours"
    if any(key.startswith(("moduleVgg", "netVgg", "moduleCombine.", "netCombine.")) for key in keys):
        return "sniklaus"
    if "score_final.weight" in keys:
        return "xwjabc"
    if any(key.startswith(("new-score-weighting.", "new_score_weighting.", "score-dsn", "score_dsn")) for key in keys):
        return "caffe"
    return None


def _fail(source: str, reason: str) -> NoReturn:
    raise MissingError(f"{source}: {reason}; {_NEXT}")


def _tensor(source: str, key: str, value: Any, shape: tuple[int, ...]) -> Tensor:
    if not isinstance(value, (Tensor, np.ndarray)):
        _fail(source, f"{key} is a {type(value).__name__} where a tensor was expected")
    if key.endswith("bias") and value.ndim == 4 and tuple(value.shape[:3]) == (1, 1, 1):
        value = value.reshape(-1)  # Caffe before 2014 wrote vectors with four axes
    if tuple(value.shape) != shape:
        _fail(source, f"{key} has the shape {tuple(value.shape)} where {shape} was expected")
    if isinstance(value, np.ndarray):
        if value.dtype.kind != "f":
            _fail(source, f"{key} holds {value.dtype} where floats were expected")
        value = torch.from_numpy(value.astype(np.float32))
    plain = value.layout == torch.strided and value.device.type != "meta" and not value.is_quantized
    if not plain or not value.is_floating_point():
        _fail(source, f"{key} holds {value.dtype} where plain floats were expected")
    tensor: Tensor = value.detach().to(device="cpu", dtype=torch.float32, copy=True).contiguous()
    if not bool(torch.isfinite(tensor).all()):
        _fail(source, f"{key} holds NaN or infinity")
    return tensor


def _width(source: str, key: str, flat: Mapping[str, Any]) -> int:
    if key not in flat:
        _fail(source, f"a HED network without {key}")
    shape = tuple(getattr(flat[key], "shape", ()))
    if len(shape) != 4 or shape[1:] != (3, 3, 3) or not 1 <= shape[0] <= _WIDTH_LIMIT:
        _fail(
            source,
            f"{key} has the shape {shape} where (width, 3, 3, 3) with a width of 1 to {_WIDTH_LIMIT} was expected",
        )
    return int(shape[0])


def expected_shapes(width: int, fuse: bool = True) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor of a HED network of this width, by our key names."""
    shapes: dict[str, tuple[int, ...]] = {}
    before = 3
    for stage, index in _conv_names():
        channels = width * WIDTH_FACTORS[stage]
        shapes[f"stages.{stage}.{index}.weight"] = (channels, before, 3, 3)
        shapes[f"stages.{stage}.{index}.bias"] = (channels,)
        before = channels
    for stage, factor in enumerate(WIDTH_FACTORS):
        shapes[f"sides.{stage}.weight"], shapes[f"sides.{stage}.bias"] = (1, width * factor, 1, 1), (1,)
    if fuse:
        shapes["fuse.weight"], shapes["fuse.bias"] = (1, 5, 1, 1), (1,)
    return shapes


def recognise(
    state: Mapping[str, Any], source: str = "state dict", card: Mapping[str, Any] | None = None
) -> HEDCheckpoint:
    """Recognise a HED state dict by its keys and return it under our names.

    Args:
        state: tensors or arrays by key, in any public layout, of any width; what training programs wrap it in
            (`state_dict`, `module.`, `_orig_mod.`, ...) is taken off.
        source: what to call it in errors.
        card: for our own layout, the `variant` (`compact` by default) and `role` that its file tells. Other layouts
            bring their own variant.

    Raises:
        UnrecognisedError: the keys belong to another network.
        MissingError: a tensor is missing, extra, of a wrong shape, or not finite.
    """
    flat = find_form(state, lambda keys: find_layout(keys) is not None)
    layout = find_layout(flat)
    if layout is None:
        seen = ", ".join(list(flat)[:3]) or "no key at all"
        raise UnrecognisedError(f"{source}: not a HED network: it has {len(flat)} entries such as {seen}; {_NEXT}")
    names = layer_names(layout, flat)
    width = _width(source, f"{names['stages.0.0']}.weight", flat)
    tensors: dict[str, Tensor] = {}
    for ours, shape in expected_shapes(width, "fuse" in names).items():
        layer, leaf = ours.rsplit(".", 1)
        key = f"{names[layer]}.{leaf}"
        if key not in flat:
            _fail(source, f"a HED network in the {layout} layout without {key}")
        tensors[ours] = _tensor(source, key, flat.pop(key), shape)
    mean = _mean(source, flat)
    extra = [key for key in flat if not _FIXED_KEYS.fullmatch(key)]
    if extra:
        _fail(source, f"a HED network in the {layout} layout with {len(extra)} unknown entries such as {extra[0][:80]}")
    card = card or {}
    if layout != "ours":
        found: Any = "caffe" if layout == "xwjabc" else layout
    else:
        found = card.get("variant", "compact" if "fuse" in names else "controlnet")
    role: Role = "judge" if card.get("role") == "judge" else "detector"
    if not isinstance(found, str) or found not in VARIANTS or VARIANTS[found].has_fuse != ("fuse" in names):
        _fail(source, f"variant {found!r} does not fit its tensors")
    return HEDCheckpoint(cast(Variant, found), width, tensors, mean, layout, source, role)


def _mean(source: str, flat: dict[str, Any]) -> tuple[float, float, float] | None:
    for key, shape in (("norm", (1, 3, 1, 1)), ("mean", (3,))):
        if key in flat:
            red, green, blue = _tensor(source, key, flat.pop(key), shape).reshape(-1).tolist()
            return red, green, blue
    return None


def read_checkpoint(path: str | Path) -> HEDCheckpoint:
    """Read a HED weight file of any public kind: .caffemodel, torch (both formats), safetensors.

    The kind is told from the content. Nothing in the file is run.

    Raises:
        UnrecognisedError: the file holds something else.
        MissingError: the file is missing, damaged, incomplete, or not finite.
    """
    path = Path(path)
    kind = sniff(path)
    if kind == "pickle":
        raise UnrecognisedError(
            f"{path}: a plain Python pickle could run code when opened, so it is not read; use hed_checkpoint.pt or "
            "hed_pretrained_bsds.caffemodel instead and run `dps weights import FILE`"
        )
    if kind != "other":
        state, card = read_state(path, kind)
        return recognise(state, str(path), card)
    if path.stat().st_size > _CAFFEMODEL_BYTES_LIMIT:
        raise UnrecognisedError(f"{path}: too large for a HED file; {_NEXT}")
    return recognise(parse_caffemodel(path.read_bytes(), str(path)), str(path))


def write_checkpoint(path: Path, checkpoint: HEDCheckpoint) -> None:
    """Write a checkpoint as safetensors in our layout, atomically; `read_checkpoint` gives it back exactly."""
    write_safetensors(path, stored_tensors(checkpoint), stored_card(checkpoint))


def stored_tensors(checkpoint: HEDCheckpoint) -> dict[str, Tensor]:
    """Return what a file of ours holds: the tensors, and the mean where there is one."""
    mean = {} if checkpoint.mean is None else {"mean": torch.tensor(checkpoint.mean)}
    return checkpoint.tensors | mean


def stored_card(checkpoint: HEDCheckpoint) -> dict[str, Any]:
    """Return the metadata that the tensors alone do not tell."""
    return {
        "variant": checkpoint.variant,
        "width": checkpoint.width,
        "layout": checkpoint.layout,
        "role": checkpoint.role,
    }
