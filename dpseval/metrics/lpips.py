"""LPIPS v0.1: one forward a photo, then any number of distances between its maps and those of a truth."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dpsdata import weights
from dpsdata.contracts import MissingError, UsageError
from dpsdata.images.arrays import photos_to_planes
from dpsdata.runtime.device import choose_device
from dpsdata.weights.known.lpips_backbones import BACKBONES, Backbone, take_trunk
from dpsdata.weights.reading import read_state
from dpseval.metrics.map_distance import mean_distances

MIN_SIDE_PX = 32  # AlexNet's last pool has nothing to take the maximum of below 31
# What the authors subtract and divide by, for photos in [-1, 1].
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)
_NORM_FLOOR = 1e-10


def find_backbone(net: str) -> Backbone:
    """The backbone of this name; raise UsageError naming those that exist."""
    if net not in BACKBONES:
        raise UsageError(f"LPIPS net: expected {', '.join(BACKBONES)}, got {net!r}")
    return BACKBONES[net]


def load_heads(net: str) -> list[Tensor]:
    """The learned channel weights of LPIPS v0.1, out of the installed torchmetrics.

    Returns:
        One float32 (C,) a map.

    Raises:
        MissingError: torchmetrics or its file is missing or has other tensors.
    """
    spec = find_spec("torchmetrics")  # found, not imported: that alone takes seconds
    if spec is None or not spec.submodule_search_locations:
        raise MissingError("LPIPS takes its channel weights from torchmetrics; run `pip install torchmetrics`")
    path = Path(spec.submodule_search_locations[0]) / "functional" / "image" / "lpips_models" / f"{net}.pth"
    state, _ = read_state(path) if path.is_file() else ({}, None)
    heads = []
    for index, channels in enumerate(find_backbone(net).channels):
        value = state.get(f"lin{index}.model.1.weight")
        if not isinstance(value, Tensor) or tuple(value.shape) != (1, channels, 1, 1):
            raise MissingError(
                f"{path}: the channel weights of LPIPS v0.1 are missing or not those of {net}; "
                "run `pip install --force-reinstall torchmetrics`"
            )
        heads.append(value.detach().float().flatten())
    return heads


def hash_tensors(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, shapes and values, as 64 hex digits."""
    digest = hashlib.sha256()
    for key in sorted(tensors):
        value = tensors[key].detach().cpu().float().contiguous()
        digest.update(f"{key} {tuple(value.shape)}\n".encode())
        digest.update(value.numpy().data)
    return digest.hexdigest()


class Lpips:
    """Learned perceptual distance of photos, version 0.1, with a backbone of torchvision.

    Args:
        net: `alex`, `vgg` or `squeeze`.
        state: torchvision's state dict of that backbone; layers past the last map may be missing.
        device: `auto`, `cpu`, `cuda`, `cuda:N`.

    Attributes:
        name: `lpips_alex`, `lpips_vgg` or `lpips_squeeze`.
        weights_id: SHA-256 over the backbone and the heads.

    Raises:
        UsageError: unknown net or device.
        MissingError: the state dict is of another network, or the heads are missing.

    Source: Zhang et al., The Unreasonable Effectiveness of Deep Features as a Perceptual Metric, CVPR 2018, section 3;
    richzhang/PerceptualSimilarity, lpips/lpips.py.
    """

    def __init__(self, net: str, state: Mapping[str, Any], *, device: str = "cpu") -> None:
        import torchvision  # takes seconds, and most scores have no backbone to load

        backbone = find_backbone(net)
        self.net, self.name = net, f"lpips_{net}"
        self.device = choose_device(device)
        trunk, heads = take_trunk(net, state, f"state dict of {net}"), load_heads(net)
        self.weights_id = hash_tensors({**trunk, **{f"head.{i}": head for i, head in enumerate(heads)}})
        with torch.device("meta"):
            network = getattr(torchvision.models, backbone.architecture)(weights=None)
        self._trunk: nn.Sequential = network.features[: backbone.taps[-1] + 1]
        self._trunk.load_state_dict({key.removeprefix("features."): value for key, value in trunk.items()}, assign=True)
        self._trunk.eval().requires_grad_(False)
        self._trunk.to(self.device, memory_format=torch.channels_last)
        self._taps = frozenset(backbone.taps)
        self._heads = [head.to(self.device) for head in heads]
        self._shift = torch.tensor(SHIFT, device=self.device).view(1, 3, 1, 1)
        self._scale = torch.tensor(SCALE, device=self.device).view(1, 3, 1, 1)

    @torch.inference_mode()
    def extract(self, photos: NDArray[np.uint8]) -> list[Tensor]:
        """Feature maps, each pixel's channels scaled to a length of 1.

        Args:
            photos: uint8 RGB (N, H, W, 3) of at least 32 px a side.

        Returns:
            float32 (N, C, h, w) a map, on the device.

        Raises:
            UsageError: wrong type, shape or size.
        """
        planes = photos_to_planes(photos, self.device)
        if min(planes.shape[2:]) < MIN_SIDE_PX:
            raise UsageError(f"{self.name}: expected at least {MIN_SIDE_PX} px a side, got {photos.shape[1:3]}")
        x = planes / 127.5 - 1
        x = ((x - self._shift) / self._scale).contiguous(memory_format=torch.channels_last)
        maps = []
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # on a GPU, TF32 keeps 3 digits
            for index, layer in enumerate(self._trunk):
                x = layer(x)
                if index in self._taps:
                    length = torch.linalg.vector_norm(x, dim=1, keepdim=True)
                    maps.append(x / (length + _NORM_FLOOR))
        return maps

    def distances(
        self,
        truth_maps: Sequence[Tensor],
        output_maps: Sequence[Tensor],
        regions: Mapping[str, NDArray[np.bool_]],
    ) -> list[dict[str, float]]:
        """LPIPS of K outputs against one truth.

        `full` is LPIPS as published. A hole or ring is the mean of the spatial map over its pixels; the maps see
        further than one pixel, so what lies near a region shows in it.

        Args:
            truth_maps: `extract` of one photo.
            output_maps: `extract` of K photos of the same size.
            regions: name -> bool (H, W); `full` is taken as the whole photo.

        Returns:
            K times region -> distance; NaN in an empty region.
        """
        return mean_distances(truth_maps, output_maps, self._heads, regions)


def load_lpips(net: str, *, device: str = "cpu") -> Lpips:
    """LPIPS with the installed backbone.

    Args:
        net: `alex`, `vgg` or `squeeze`.
        device: `auto`, `cpu`, `cuda`, `cuda:N`.

    Raises:
        UsageError: unknown net or device.
        MissingError: the backbone is not installed; the message names the command that gets it.
    """
    state, _ = read_state(weights.weights_path(find_backbone(net).weights))
    return Lpips(net, state, device=device)
