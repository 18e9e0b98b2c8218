"""`load_editing_net`, `load_discriminator`: networks from weights wherever they are."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

from dpsdata import weights as weight_files
from dpsdata.contracts import MissingError, UsageError
from models.networks.config import Task, check_task
from models.networks.discriminator import DiscriminatorConfig, PatchDiscriminator
from models.networks.editing_net import EditingNet, Refiner, RefinerConfig
from models.networks.inpainter import Inpainter, InpainterConfig
from models.weights import official as official_weights
from models.weights.bundled import bundled_networks, bundled_sources
from models.weights.checkpoints import NetworkCheckpoint, load_network, read_checkpoint, recognise
from models.weights.recognition import NETWORK_NAME

if TYPE_CHECKING:
    from torch import Tensor

    Source = str | os.PathLike[str] | Mapping[str, Tensor] | Mapping[str, Any]

_PARTS = "GF"
_PRESETS: Final[dict[Task, str]] = {"edit": "tiny", "synthesis": "lite-synthesis-256"}


def load_editing_net(
    weights: str | os.PathLike[str] | Mapping[str, Source] = "bundled", task: str = "edit"
) -> EditingNet:
    """Load G and F as one module; every network is checked against its file, and nothing in a file is run.

    Args:
        weights: `bundled`; `official` for those that `dps weights import` took in; a folder of converted or official
            files; or {"G64" | "G128" | "G256" | "F256": a path or a state dict}, our keys or the official ones. A
            state dict has no card, and is taken for a network of the published sizes and with the published pen.
        task: `edit` or `synthesis`.

    Returns:
        The network in eval mode on the CPU, in float32.

    Raises:
        UsageError: no such task, or the named networks do not make a whole model.
        MissingError: weights are missing, damaged, or of another network or task.
    """
    checked = check_task(task)
    found = {name: _read(source, name) for name, source in find_sources(weights, checked).items()}
    for checkpoint in found.values():
        _check_task(checkpoint, checked)
    return _assemble(found)


def load_discriminator(source: Source, size: int, task: str = "edit") -> PatchDiscriminator:
    """Load the discriminator of one resolution; it reads the published channel order and signs.

    Args:
        source: a path or a state dict, our keys or the official ones.
        size: 64, 128 or 256 px for the official ones.
        task: `edit` or `synthesis`.

    Returns:
        The discriminator in eval mode on the CPU, where its spectral norm takes no power step.

    Raises:
        UsageError: no such task or size.
        MissingError: the weights are missing, damaged, or of another network or task.
    """
    if type(size) is not int or size < 16:
        raise UsageError(f"size: expected a resolution such as 64, 128 or 256 px, got {size!r}")
    checked = check_task(task)
    checkpoint = _read(source, f"D{size}")
    _check_task(checkpoint, checked)
    net = load_network(checkpoint)
    assert isinstance(net, PatchDiscriminator)  # noqa: S101 (for the type checker)
    return net


def collect_checkpoints(net: EditingNet, source: str = "this model") -> list[NetworkCheckpoint]:
    """The checkpoints of an editing net, one for each resolution of G and one for F, to be written to a folder."""
    parts: list[tuple[str, torch.nn.Module, RefinerConfig | InpainterConfig | DiscriminatorConfig]] = [
        (f"G{size}", net.refiner.scale(size), net.refiner.config) for size in net.refiner.config.resolutions
    ]
    parts.append((f"F{net.resolution}", net.inpainter, net.inpainter.config))
    return [
        NetworkCheckpoint(
            name,
            net.task,
            config,
            {key: value.detach().cpu() for key, value in part.state_dict().items()},
            source=source,
        )
        for name, part, config in parts
    ]


def _read(source: Any, network: str) -> NetworkCheckpoint:
    if isinstance(source, Mapping):
        return recognise(source, f"the state dict of {network}", network)
    return read_checkpoint(Path(source), network)


def _check_task(checkpoint: NetworkCheckpoint, task: Task) -> None:
    if checkpoint.task != task:
        raise MissingError(
            f"{checkpoint.source}: it holds the {checkpoint.network} of {checkpoint.task}, but {task} was asked for; "
            f"pass the file of {task}, or the other task"
        )


def find_sources(weights: Any, task: Task) -> dict[str, Any]:
    """{network: its path or state dict} of what `load_editing_net` would read.

    Raises:
        UsageError: the names are of no networks, or two files hold the same one.
        MissingError: nothing is there; the commands that help are named.
    """
    if isinstance(weights, Mapping):
        unknown = [name for name in weights if not isinstance(name, str) or name[:1] not in _PARTS]
        if unknown or not weights:
            raise UsageError(f"weights: expected the keys G64, G128, G256 and F256, got {list(weights)}")
        return dict(weights)
    if weights == "bundled":
        if not bundled_networks(task):
            raise MissingError(f"no weights of {task} are bundled; {_help(task)}")
        return dict(bundled_sources(task))
    if weights == "official":
        names = ("G64", "G128", "G256", "F256")
        return {name: weight_files.weights_path(official_weights.weight_name(task, name)) for name in names}
    folder = Path(weights)
    if not folder.is_dir():
        raise MissingError(f"{folder}: there is no such folder of weights; {_help(task)}")
    return _folder_sources(folder, task)


def _help(task: Task) -> str:
    return (
        "get the official files (`dps weights list` says where) and run `dps weights import FILE`, "
        f"or train a model with `dps train {_PRESETS[task]} --data BUILT --out RUN`"
    )


def _folder_sources(folder: Path, task: Task) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for name, path in _folder_files(folder, task):
        if name in found:
            raise UsageError(
                f"{folder}: both {found[name].name} and {path.name} hold {name} of {task}; "
                'keep one, or name the files as {"G64": PATH, ...}'
            )
        found[name] = path
    if not found:
        raise MissingError(f"{folder}: no weights of {task} in this folder; {_help(task)}")
    return found


def _folder_files(folder: Path, task: Task) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.iterdir()):
        if path.suffix == ".safetensors":
            card = official_weights.peek_card(path)
            name, its_task = str(card.get("network", "")), card.get("task")
        else:
            named = NETWORK_NAME.findall(path.stem) if path.suffix == ".ckpt" else []
            name = named[0] if len(named) == 1 else ""
            its_task = official_weights.task_in_name(path.stem)
        if name[:1] and name[0] in _PARTS and its_task == task:
            yield name, path


def _assemble(found: Mapping[str, NetworkCheckpoint]) -> EditingNet:
    """Put the networks together.

    Raises:
        UsageError: one is missing, or they are of different models.
    """
    inpainters = [item for item in found.values() if isinstance(item.config, InpainterConfig)]
    scales = {item.size: item for item in found.values() if isinstance(item.config, RefinerConfig)}
    if len(inpainters) != 1 or not scales:
        raise UsageError(f"weights: expected one F and the G of every resolution, got {', '.join(sorted(found))}")
    finest = inpainters[0].size
    configs = {item.config for item in scales.values()}
    config = next(iter(configs))
    if len(configs) > 1 or not isinstance(config, RefinerConfig):
        raise UsageError(f"weights: the networks of G have different sizes or pens: {configs}; pass those of one model")
    sizes = tuple(size for size in config.resolutions if size <= finest)
    if set(scales) != set(sizes) or finest not in sizes:
        wanted = ", ".join(f"G{size}" for size in sizes)
        raise UsageError(f"weights: F{finest} goes with {wanted or 'another G'}, got {', '.join(sorted(found))}")
    with torch.device("meta"):
        refiner = Refiner(config.up_to(finest))
    for size, checkpoint in scales.items():
        refiner.scale(size).load_state_dict(checkpoint.tensors, strict=True, assign=True)
    inpainter = load_network(inpainters[0])
    assert isinstance(inpainter, Inpainter)  # noqa: S101 (for the type checker)
    return EditingNet(refiner, inpainter).eval()
