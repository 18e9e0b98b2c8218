"""The backbones of LPIPS, registered so that `dps weights get` and `import` know them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dpsdata.weights import Imported, WeightFile, register, register_importer
from dpsdata.weights.reading import UnrecognisedError, find_form, read_state, take_tensors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


@dataclass(frozen=True)
class Backbone:
    """One network that LPIPS looks through.

    Attributes:
        weights: registered name of its weights.
        architecture: name of the network in torchvision.models.
        taps: indices in torchvision's `features` after which a map is taken.
        channels: channels of each map.

    Source: richzhang/PerceptualSimilarity, lpips/pretrained_networks.py.
    """

    weights: str
    architecture: str
    taps: tuple[int, ...]
    channels: tuple[int, ...]


BACKBONES: Final[dict[str, Backbone]] = {
    "alex": Backbone("lpips-alex", "alexnet", (1, 4, 7, 9, 11), (64, 192, 384, 256, 256)),
    "vgg": Backbone("lpips-vgg", "vgg16", (3, 8, 15, 22, 29), (64, 128, 256, 512, 512)),
    "squeeze": Backbone("lpips-squeeze", "squeezenet1_1", (1, 4, 7, 9, 10, 11, 12), (64, 128, 256, 384, 384, 512, 512)),
}
# net -> (key, shape) that no other network of torchvision with the same keys has
_MARKS = {
    "alex": ("features.0.weight", (64, 3, 11, 11)),
    "vgg": ("features.28.weight", (512, 512, 3, 3)),
    "squeeze": ("features.12.squeeze.weight", (64, 512, 1, 1)),
}


def trunk_shapes(net: str) -> dict[str, tuple[int, ...]]:
    """Keys of torchvision's state dict as far as the last map of `net`, with their shapes."""
    import torch
    import torchvision

    backbone = BACKBONES[net]
    with torch.device("meta"):
        network = getattr(torchvision.models, backbone.architecture)(weights=None)
    trunk = network.features[: backbone.taps[-1] + 1]
    return {f"features.{key}": tuple(value.shape) for key, value in trunk.state_dict().items()}


def take_trunk(net: str, state: Mapping[str, Any], source: str) -> dict[str, Tensor]:
    """The tensors that `net` needs out of torchvision's state dict, checked, as float32.

    Raises:
        MissingError: a tensor is missing, has another shape, or holds values that are not finite.
    """
    backbone = BACKBONES[net]
    return take_tensors(state, trunk_shapes(net), source, f"torchvision's {backbone.architecture}", backbone.weights)


def import_backbone(path: Path) -> Imported | None:
    """The importer of torchvision's AlexNet, VGG16 and SqueezeNet 1.1; None for another network.

    The layers that LPIPS does not look through are left out.
    """
    try:
        state = find_form(read_state(path)[0], lambda keys: "features.0.weight" in keys)
    except UnrecognisedError:
        return None
    for net, (key, shape) in _MARKS.items():
        found = state.get(key)
        # VGG19 goes on after VGG16's last layer.
        if found is not None and tuple(getattr(found, "shape", ())) == shape and "features.34.weight" not in state:
            backbone = BACKBONES[net]
            return Imported(
                backbone.weights,
                take_trunk(net, state, str(path)),
                {"network": f"torchvision {backbone.architecture} as far as features.{backbone.taps[-1]}"},
            )
    return None


def register_backbones() -> None:
    """Register the three files and their importer; doing so twice changes nothing."""
    licence = "BSD-3-Clause (torchvision); trained on ImageNet (non-commercial research)"
    for net, filename, size, sha256 in (
        (
            "alex",
            "alexnet-owt-7be5be79.pth",
            244_408_911,
            "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
        ),
        ("vgg", "vgg16-397923af.pth", 553_433_881, "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0"),
        (
            "squeeze",
            "squeezenet1_1-b8a52dc0.pth",
            None,
            "b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b",
        ),
    ):
        backbone = BACKBONES[net]
        page = {"alex": "alexnet", "vgg": "vgg", "squeeze": "squeezenet"}[net]
        register(
            WeightFile(
                backbone.weights,
                filename,
                f"https://download.pytorch.org/models/{filename}",
                f"https://docs.pytorch.org/vision/stable/models/{page}.html",
                size,
                sha256,
                licence,
                f"torchvision's {backbone.architecture}, for LPIPS with the net {net}",
                "dpseval",
            )
        )
    register_importer(import_backbone)


register_backbones()
