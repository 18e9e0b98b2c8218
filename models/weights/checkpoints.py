"""Files of one network each: the official ones (recognised by keys and shapes, strictly) and ours.

Ours: a safetensors file by our key names, its card inside and beside it as JSON. A network is called by its part and
its resolution: G64, G128, G256, F256, D64, ...
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor, nn

from dpsdata.contracts import SCHEMA_VERSION, MissingError, UsageError
from dpsdata.runtime.files import write_text_atomic
from dpsdata.sketch.dilate import PUBLISHED_DIAMETER_PX
from dpsdata.weights.reading import UnrecognisedError, find_form, read_state
from dpsdata.weights.store import write_safetensors
from models.networks.config import Task
from models.networks.discriminator import DiscriminatorConfig, PatchDiscriminator
from models.networks.editing_net import RefinerConfig, RefinerScale
from models.networks.inpainter import Inpainter, InpainterConfig
from models.weights.recognition import NETWORK_NAME, Layout, find_network, is_known, network_config

_DEAD_HEAD_CHANNELS = 3
_LINEAR_INPUTS = 2304
_BOTTOM_NUMBER = 7
_SPECTRAL = {
    "parametrizations.weight.original": "weight_orig",
    "parametrizations.weight.0._u": "weight_u",
    "parametrizations.weight.0._v": "weight_v",
    "bias": "bias",
}
_PLAIN = {"first": "conv1", "head": "conv2"}
_Rule = tuple[re.Pattern[str], Callable[[re.Match[str], int], str]]

_REFINER_RULES: tuple[_Rule, ...] = (
    (re.compile(r"level_embedding\.layers\.(\d+)"), lambda m, depth: f"embedding.style.{2 * int(m[1])}"),
    (re.compile(r"(first|head)"), lambda m, depth: _PLAIN[m[1]]),
    (re.compile(r"downs\.(\d+)\.conv"), lambda m, depth: f"rcb{int(m[1]) + 1}.conv"),
    (re.compile(r"downs\.(\d+)\.norm\.affine"), lambda m, depth: f"rcb{int(m[1]) + 1}.bn.style"),
    (re.compile(r"ups\.(\d+)\.conv"), lambda m, depth: f"rdcb{depth - int(m[1])}.dconv.conv2d"),
    (re.compile(r"ups\.(\d+)\.norm\.affine"), lambda m, depth: f"rdcb{depth - int(m[1])}.bn.style"),
    (re.compile(r"residuals\.(\d+)\.conv([12])"), lambda m, depth: f"resblocks.{m[1]}.conv_{int(m[2]) - 1}"),
    (re.compile(r"residuals\.(\d+)\.norm([12])\.affine"), lambda m, depth: f"resblocks.{m[1]}.bn{m[2]}.style"),
)
# The bottom convolution is number 7 whatever the resolution, so smaller networks begin with a higher number.
_INPAINTER_RULES: tuple[_Rule, ...] = (
    (re.compile(r"first"), lambda m, depth: "conv1"),
    (re.compile(r"bottom"), lambda m, depth: "conv7"),
    (re.compile(r"head"), lambda m, depth: "dconv1"),
    (re.compile(r"downs\.(\d+)\.conv"), lambda m, depth: f"rcb{_BOTTOM_NUMBER - depth + int(m[1])}.conv"),
    (re.compile(r"downs\.(\d+)\.norm\.batch"), lambda m, depth: f"rcb{_BOTTOM_NUMBER - depth + int(m[1])}.bn"),
    (re.compile(r"ups\.(\d+)\.conv"), lambda m, depth: f"rdcb{_BOTTOM_NUMBER - int(m[1])}.dconv.conv2d"),
    (re.compile(r"ups\.(\d+)\.norm\.batch"), lambda m, depth: f"rdcb{_BOTTOM_NUMBER - int(m[1])}.bn"),
)


# The official files hold weights that no forward pass reads (a second head in every G, a linear layer in every D): dead
# keys, which are checked and dropped. Source: VITA-Group/DeepPS@3079d46 networks.py.
def refiner_keys(ours: Iterable[str], depth: int) -> dict[str, str]:
    """{our key: official key} of one network of G, which halves its input `depth` times."""
    return _apply(ours, depth, _REFINER_RULES)


def inpainter_keys(ours: Iterable[str], depth: int) -> dict[str, str]:
    """{our key: official key} of F, which has `depth` blocks above its bottom."""
    return _apply(ours, depth, _INPAINTER_RULES)


def discriminator_keys(ours: Iterable[str]) -> dict[str, str]:
    """{our key: official key} of one D."""
    names = {}
    for key in ours:
        _, index, leaf = key.split(".", 2)
        names[key] = f"model.{3 * int(index) + 1}.{_SPECTRAL[leaf]}"
    return names


def dead_shapes(kind: str, width: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the dead keys in an official file of G, F or D, whose first convolution has `width` channels."""
    if kind == "G":
        return {"conv3.weight": (_DEAD_HEAD_CHANNELS, 2 * width, 3, 3), "conv3.bias": (_DEAD_HEAD_CHANNELS,)}
    if kind == "D":
        return {
            "fc.bias": (1,),
            "fc.weight_orig": (1, _LINEAR_INPUTS),
            "fc.weight_u": (1,),
            "fc.weight_v": (_LINEAR_INPUTS,),
        }
    return {}


def _apply(ours: Iterable[str], depth: int, rules: tuple[_Rule, ...]) -> dict[str, str]:
    names = {}
    for key in ours:
        layer, leaf = key.rsplit(".", 1)
        found = [name(match, depth) for pattern, name in rules if (match := pattern.fullmatch(layer))]
        names[key] = f"{found[0]}.{leaf}"
    return names


NetworkConfig = RefinerConfig | InpainterConfig | DiscriminatorConfig
_NEXT = "get the official file again, or pass another one; `dps weights list` says where they are"
_CARD_LIMIT = 4096


@dataclass(frozen=True, eq=False)
class NetworkCheckpoint:
    """The weights of one network, by our key names.

    Attributes:
        network: part and resolution, such as `G64`.
        task: `edit` or `synthesis`.
        config: its sizes; for a G those of the whole refiner.
        tensors: float32 CPU tensors (the counter of a BatchNorm int64), nothing dead among them.
        dead_keys: what the official file held beside them and no forward pass reads.
        layout: `official` or `ours`.
        source: the file, or what the caller called it.
    """

    network: str
    task: Task
    config: NetworkConfig
    tensors: dict[str, Tensor] = field(repr=False)
    dead_keys: tuple[str, ...] = ()
    layout: Layout = "ours"
    source: str = "state dict"

    @property
    def size(self) -> int:
        """Resolution in px."""
        return int(self.network[1:])

    def card(self) -> dict[str, Any]:
        """The metadata that are written beside the tensors.

        The published pen and stem are left out, as earlier versions knew no other ones: their cards, and so the hashes
        of files, stay what they are.
        """
        config = asdict(self.config)
        if config.get("dilation_diameter") == PUBLISHED_DIAMETER_PX:
            del config["dilation_diameter"]
        if config.get("stem") == 1:
            del config["stem"]
        return {
            "schema_version": SCHEMA_VERSION,
            "network": self.network,
            "task": self.task,
            "config": config,
            "layout": self.layout,
            "dead_keys_dropped": list(self.dead_keys),
        }


def make_network(network: str, config: NetworkConfig) -> nn.Module:
    """One network (one resolution of G, or F, or D), with the first weights of PyTorch."""
    if isinstance(config, RefinerConfig):
        return RefinerScale(config, int(network[1:]))
    return Inpainter(config) if isinstance(config, InpainterConfig) else PatchDiscriminator(config)


def load_network(checkpoint: NetworkCheckpoint) -> nn.Module:
    """The network of a checkpoint with its weights, in eval mode."""
    # On `meta` no time goes into first weights that are thrown away; but there a spectral norm loads all of torch's
    # decompositions, for many seconds, so D is built for real and its draws are taken back.
    is_discriminator = isinstance(checkpoint.config, DiscriminatorConfig)
    with torch.random.fork_rng(devices=[]), torch.device("cpu" if is_discriminator else "meta"):
        net = make_network(checkpoint.network, checkpoint.config)
    net.load_state_dict(checkpoint.tensors, strict=True, assign=True)
    return net.eval()


def as_synthesis(checkpoint: NetworkCheckpoint) -> NetworkCheckpoint:
    """A network for synthesis that paints what this one for editing paints in a hole over the whole photo.

    There the photo is 0 and the mask 1 everywhere, so that their filters come down to a bias. A synthesis that begins
    with it knows faces already.

    Args:
        checkpoint: of F or of one resolution of G, for editing.
    """
    config, tensors = checkpoint.config, dict(checkpoint.tensors)
    assert isinstance(config, InpainterConfig | RefinerConfig)  # noqa: S101 (for the type checker)
    stem = config.stem if isinstance(config, InpainterConfig) else config.stem_at(checkpoint.size)
    lines = stem**2 if stem > 1 else 3  # a stem folds the sketch once, where the published networks repeat it
    filters = tensors["first.weight"]
    tensors["first.weight"] = filters[:, :lines].contiguous()
    tensors["first.bias"] = tensors["first.bias"] + filters[:, lines + 3 * stem**2 :].sum((1, 2, 3))
    if stem > 1:  # the head reads photo and mask once more, before its noise and, in G, the sketch
        filters = tensors["head.join.weight"]
        photo = filters.shape[1] - (5 if isinstance(config, InpainterConfig) else 6)
        tensors["head.join.weight"] = torch.cat([filters[:, :photo], filters[:, photo + 4 :]], dim=1)
        tensors["head.join.bias"] = tensors["head.join.bias"] + filters[:, photo + 3].sum((1, 2))
    return replace(checkpoint, task="synthesis", config=replace(config, input_channels=3), tensors=tensors)


def official_names(network: str, config: NetworkConfig) -> dict[str, str]:
    """{our key: official key} of one network."""
    ours = _shapes(network, config)
    if isinstance(config, RefinerConfig):
        return refiner_keys(ours, config.depth(int(network[1:])))
    if isinstance(config, InpainterConfig):
        return inpainter_keys(ours, config.depth)
    return discriminator_keys(ours)


def recognise(
    state: Mapping[str, Any],
    source: str = "state dict",
    network: str | None = None,
    card: Mapping[str, Any] | None = None,
) -> NetworkCheckpoint:
    """Recognise the state dict of one network, check every tensor, and return it by our names.

    Args:
        state: tensors or arrays by key, official or ours; what training programs wrap it in
            (`state_dict`, `module.`, `_orig_mod.`, ...) is taken off.
        source: what to call it in errors.
        network: which network it must be, such as `G128`; None to tell from the keys (G128 and G256 look the same).
        card: what a file of ours says of itself.

    Raises:
        UnrecognisedError: the keys belong to something else.
        MissingError: another network than asked for; a tensor missing, extra, of a wrong shape or kind, or not finite.
    """
    flat = find_form(state, is_known)
    card = card or {}
    if network is not None and card.get("network", network) != network:
        _fail(source, f"it holds a {str(card['network'])[:80]}, not a {network}")
    try:
        found = find_network(flat, network or card.get("network"))
        config = _card_config(found.network, card["config"]) if "config" in card else network_config(found)
        shapes = _shapes(found.network, config)
    except UnrecognisedError as error:
        raise UnrecognisedError(f"{source}: {error}; {_NEXT}") from None
    except MissingError as error:
        _fail(source, str(error))
    except (UsageError, TypeError, ValueError) as error:
        _fail(source, f"its card does not describe a network ({error})")
    names = official_names(found.network, config) if found.layout == "official" else {key: key for key in shapes}
    wanted = {names[key]: shape for key, shape in shapes.items()}
    dead = {}
    if found.layout == "official" and not isinstance(config, InpainterConfig):
        dead = dead_shapes(found.network[0], config.width)
    _check_keys(source, found.network, flat, {**wanted, **dead})
    checked = {key: _tensor(source, key, flat[key], shape) for key, shape in {**wanted, **dead}.items()}
    tensors = {ours: checked[key] for ours, key in names.items()}
    return NetworkCheckpoint(found.network, found.task, config, tensors, tuple(dead), found.layout, source)


def read_checkpoint(path: str | Path, network: str | None = None) -> NetworkCheckpoint:
    """Read a file of one network, official (.ckpt) or ours (.safetensors); nothing in it is run.

    Args:
        path: the file; the kind is told from the content.
        network: which network it must be; None to tell from keys, card and, for G128 and G256, the file name.

    Raises:
        UnrecognisedError: the file holds something else.
        MissingError: the file is missing, damaged, unsafe, or not what was asked for.
    """
    path = Path(path)
    state, card = read_state(path)
    if network is None and "network" not in card:
        named = set(NETWORK_NAME.findall(path.stem))
        network = named.pop() if len(named) == 1 else None
    return recognise(state, str(path), network, card)


def write_checkpoint(
    path: Path,
    checkpoint: NetworkCheckpoint,
    dtype: torch.dtype | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write a checkpoint as safetensors, and its card as JSON beside it, both atomically.

    Args:
        path: ends in `.safetensors`.
        checkpoint: what to write; `read_checkpoint` gives it back, exactly where `dtype` is None.
        dtype: store the floats in this type, such as torch.float16; a tensor beyond its range stays float32.
        metadata: what else the card says, such as the licence.
    """
    stored = {key: tensor if dtype is None else narrow(tensor, dtype) for key, tensor in checkpoint.tensors.items()}
    card = {**(metadata or {}), **checkpoint.card()}
    write_safetensors(path, stored, card)
    write_text_atomic(path.with_suffix(".json"), json.dumps(card, indent=2, sort_keys=True) + "\n")


def narrow(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Floats as another type of float; unchanged where that would make a large one infinite, as a variance may be."""
    if not tensor.is_floating_point() or (tensor.numel() and float(tensor.abs().max()) > torch.finfo(dtype).max):
        return tensor
    return tensor.to(dtype)


def _shapes(network: str, config: NetworkConfig) -> dict[str, tuple[int, ...]]:
    if isinstance(config, DiscriminatorConfig):
        return config.tensor_shapes()
    with torch.device("meta"):
        return {key: tuple(value.shape) for key, value in make_network(network, config).state_dict().items()}


def _card_config(network: str, fields: Any) -> NetworkConfig:
    kinds: dict[str, Callable[..., NetworkConfig]] = {
        "G": RefinerConfig,
        "F": InpainterConfig,
        "D": DiscriminatorConfig,
    }
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in dict(fields).items()}
    if "pen_diameter" in values:  # as 0.1 to 0.3 wrote it
        values["dilation_diameter"] = values.pop("pen_diameter")
    for key, value in values.items():
        for number in value if isinstance(value, tuple) else (value,):
            if key != "norm" and (type(number) is not int or not 0 <= number <= _CARD_LIMIT):
                raise UsageError(f"{key} is {value!r}")
    config = kinds[network[0]](**values)
    if isinstance(config, InpainterConfig) and config.resolution != int(network[1:]):
        raise UsageError(f"{network} of {config.resolution} px")
    return config


def _check_keys(source: str, network: str, flat: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    missing = [key for key in wanted if key not in flat]
    extra = [key for key in flat if key not in wanted]
    if missing:
        _fail(source, f"a {network} without {missing[0]} ({len(missing)} of {len(wanted)} tensors are missing)")
    if extra:
        _fail(source, f"a {network} with {len(extra)} unknown entries such as {extra[0][:80]}")


def _tensor(source: str, key: str, value: Any, shape: tuple[int, ...]) -> Tensor:
    if isinstance(value, np.ndarray) and value.dtype.kind in "fi":
        value = torch.from_numpy(np.array(value))
    if not isinstance(value, Tensor):
        _fail(source, f"{key} is a {type(value).__name__} where a tensor of numbers was expected")
    if tuple(value.shape) != shape:
        _fail(source, f"{key} has the shape {tuple(value.shape)} where {shape} was expected")
    plain = value.layout == torch.strided and value.device.type != "meta" and not value.is_quantized
    counts = key.endswith("num_batches_tracked")
    if not plain or value.is_complex() or value.is_floating_point() == counts or value.dtype == torch.bool:
        _fail(source, f"{key} holds {value.dtype} where {'whole numbers' if counts else 'plain floats'} were expected")
    dtype = torch.int64 if counts else torch.float32
    tensor: Tensor = value.detach().to(device="cpu", dtype=dtype, copy=True).contiguous()
    if not bool(torch.isfinite(tensor).all()):
        _fail(source, f"{key} holds NaN or infinity")
    return tensor


def _fail(source: str, reason: str) -> NoReturn:
    raise MissingError(f"{source}: {reason}; {_NEXT}")
