"""SketchRefiner's published files, registered so that `dps weights import PATH` takes them.

The files of the painter have the same names and shapes for each training set, so which one it is, is told by the name
of the file; where that says nothing, it is imported as `sketchrefiner-custom`, unless `--name` says better.
Source: AlonzoLeeeooo/SketchRefiner@bddc77e.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from dpsdata.contracts import MissingError
from dpsdata.weights import Imported, WeightFile, register, register_importer
from dpsdata.weights.reading import read_state, sniff

REGISTRATION: Final = "sketchrefiner-registration"
ENHANCEMENT: Final = "sketchrefiner-enhancement"
_SETS = {"celeb": "celebahq", "places": "places", "imagenet": "imagenet"}
# Faces first, as of all methods.
PAINTER_NAMES: Final = (*(f"sketchrefiner-{name}" for name in _SETS.values()), "sketchrefiner-custom")
LICENCE: Final = (
    "MIT, says its page, without a licence file; trained on CelebA-HQ (non-commercial), Places2 or ImageNet"
)
# {part of our module: a key that no other network here has}
_MARKS = {
    "registration": "conv_1.mask_conv2d.depth_conv.weight",
    "enhancement": "conv_7.1.0.weight",
    "encoder": "convt1.gate_conv.weight",
    "painter": "middle.0.ffc1.ffc.convg2g.fu.conv_layer.weight",
}


def import_sketchrefiner(path: Path) -> Imported | None:
    """The importer of all three kinds of files; None for a file of another kind."""
    if sniff(path) != "torch":
        return None
    content = read_state(path, "torch")[0]
    # The registration and the enhancement lie under `parameters`, or bare; encoder and painter beside optimisers.
    parts = [content.get("parameters", content), content.get("str_encoder"), content.get("generator")]
    found = {
        part: {str(key).removeprefix("module."): value for key, value in state.items()}
        for state in parts
        if isinstance(state, Mapping)
        for part in [_part_of(state)]
        if part is not None
    }
    if not found:
        return None
    if len(found) == 1 and not found.keys() & {"registration", "enhancement"}:
        raise MissingError(
            f"{path}: the {next(iter(found))} of SketchRefiner alone; the published file has two networks"
        )
    tensors = {f"{part}.{key}": value for part, state in found.items() for key, value in state.items()}
    _check(path, list(found), tensors)
    card = {"network": "sketchrefiner", "layout": "official", "parts": sorted(found)}
    if "registration" in found:
        return Imported(REGISTRATION, tensors, card)
    if "enhancement" in found:
        return Imported(ENHANCEMENT, tensors, card)
    name = _painter_name(path)
    return Imported(name, tensors, card, tuple(other for other in PAINTER_NAMES if other != name))


def _part_of(state: Mapping[Any, Any]) -> str | None:
    keys = {str(key).removeprefix("module.") for key in state}
    return next((part for part, mark in _MARKS.items() if mark in keys), None)


def _check(path: Path, parts: list[str], tensors: Mapping[str, Any]) -> None:
    """Raise MissingError unless every tensor of these networks is there in its shape, and no other."""
    import torch

    from models.baselines.sketchrefiner.pipeline import SketchRefiner

    with torch.device("meta"):
        wanted = {
            key: tuple(value.shape)
            for key, value in SketchRefiner().state_dict().items()
            if key.partition(".")[0] in parts
        }
    odd = sorted(wanted.keys() ^ tensors.keys())
    if odd:
        kind = "lacks" if odd[0] in wanted else "has, besides what is known,"
        raise MissingError(f"{path}: a SketchRefiner file that {kind} {odd[0]} ({len(odd)} in all); get it again")
    for key, shape in wanted.items():
        value = tensors[key]
        if not isinstance(value, torch.Tensor) or tuple(value.shape) != shape:
            raise MissingError(f"{path}: {key} has another shape than the published one, {shape}; get it again")
        if not bool(torch.isfinite(value).all()):
            raise MissingError(f"{path}: {key} holds NaN or infinity; get it again")


def _painter_name(path: Path) -> str:
    absolute = path.absolute()
    for text in (absolute.name.lower(), absolute.parent.name.lower()):
        named = [name for word, name in _SETS.items() if word in text]
        if len(named) == 1:
            return f"sketchrefiner-{named[0]}"
    return PAINTER_NAMES[-1]


def register_sketchrefiner() -> None:
    """Register the files and their importer; doing so twice changes nothing."""
    page = "https://huggingface.co/AlonzoLeeeooo/SketchRefiner"
    painters = {
        "celebahq": ("celebahq.pth", "CelebA-HQ"),
        "places": ("places.pth", "Places2"),
        "imagenet": ("imagenet.pth", "ImageNet"),
        "custom": ("sketchrefiner.pth", "another or an unknown training set"),
    }
    register(
        WeightFile(
            REGISTRATION, "registrator.pth", None, page, None, None, LICENCE,
            "SketchRefiner, the network that pulls strokes into place", "models",
        )
    )  # fmt: skip
    register(
        WeightFile(
            ENHANCEMENT, "connector.pth", None, page, None, None, LICENCE,
            "SketchRefiner, the network that cleans and completes strokes", "models",
        )
    )  # fmt: skip
    for name, (filename, trained_on) in painters.items():
        purpose = f"SketchRefiner, the networks that paint after a sketch (256 px, {trained_on})"
        register(WeightFile(f"sketchrefiner-{name}", filename, None, page, None, None, LICENCE, purpose, "models"))
    register_importer(import_sketchrefiner)


register_sketchrefiner()
