"""D: the published one, a spectral-normed patch network for each resolution, and one that sees what is fine."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from dpsdata.contracts import UsageError
from models.networks.inpainter import PHOTO_CHANNELS
from models.networks.layers import LEAKY_SLOPE, reflect_conv

_KERNEL_PX = 4
_WIDEST_FACTOR = 8


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Sizes of D; the defaults are the published ones for editing at 256 px.

    Attributes:
        input_channels: 6 for synthesis (sketch x3, photo), 7 for editing (with the mask).
        width: channels of the first convolution; later ones have at most 8 times as many.
        output_channels: values per patch, not one as elsewhere.
        stride_layers: convolutions of stride 2; two of stride 1 follow.
    """

    input_channels: int = 7
    width: int = 64
    output_channels: int = 64
    stride_layers: int = 5

    def __post_init__(self) -> None:
        if self.input_channels not in (6, 7):
            raise UsageError(f"input_channels: expected 6 (synthesis) or 7 (editing) for D, got {self.input_channels}")
        if min(self.width, self.output_channels, self.stride_layers) < 1:
            raise UsageError(
                "discriminator: expected width, output_channels and stride_layers of at least 1, got "
                f"{self.width}, {self.output_channels} and {self.stride_layers}"
            )

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels in front of, between and behind the convolutions."""
        widths = [self.width * min(2**step, _WIDEST_FACTOR) for step in range(self.stride_layers + 1)]
        return (self.input_channels, *widths, self.output_channels)

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the state dict of this discriminator, told without building it (its power steps take a while)."""
        shapes: dict[str, tuple[int, ...]] = {}
        for index, (before, after) in enumerate(pairwise(self.channels)):
            kernel = (after, before, _KERNEL_PX, _KERNEL_PX)
            shapes[f"convs.{index}.bias"] = (after,)
            shapes[f"convs.{index}.parametrizations.weight.original"] = kernel
            shapes[f"convs.{index}.parametrizations.weight.0._u"] = (after,)
            shapes[f"convs.{index}.parametrizations.weight.0._v"] = (math.prod(kernel[1:]),)
        return shapes


def stride_layers_for(size: int) -> int:
    """How many stride-2 convolutions a resolution gets, so that the map is 6x6: 3 at 64, 4 at 128, 5 at 256 px."""
    if size < 16 or size & (size - 1):
        raise UsageError(f"size: expected a power of two from 16 px up, got {size}")
    return size.bit_length() - 4


class PatchDiscriminator(nn.Module):
    """D for one resolution; it does not see the level.

    Padding is 1, as in the published training: the code that sets it gives 2 under Python 3, which is another
    network with the same weights.

    Source: VITA-Group/DeepPS@3079d46 src/models.py (DiscriminatorSN).
    """

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        strides = [2] * config.stride_layers + [1, 1]
        self.convs = nn.ModuleList(
            spectral_norm(reflect_conv(before, after, _KERNEL_PX, stride))
            for (before, after), stride in zip(pairwise(config.channels), strides, strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Judge every patch; losses take the mean over all values.

        Args:
            x: (N, 6 or 7, S, S), published channel order and signs: sketch x3 (paper = +1), R, G, B, and for
                editing the mask (hole = +1), the sketch 0 outside of the hole.

        Returns:
            (N, output_channels, h, w); 6x6 at the published sizes.
        """
        out = x
        for index, conv in enumerate(self.convs):
            out = conv(F.leaky_relu(out, LEAKY_SLOPE) if index else out)
        return out


@dataclass(frozen=True, kw_only=True)
class HighPassConfig:
    """Sizes of the high-pass D.

    Attributes:
        width: channels of the first convolution at each of the scales; later ones have up to twice as many.
        scales: how many sizes of the photo it looks at, each half of the one before.
        gain: how much the difference of the photo and its blurred self is amplified.
    """

    width: int = 64
    scales: int = 2
    gain: float = 8.0

    def __post_init__(self) -> None:
        if self.width < 1 or self.scales < 1 or not self.gain > 0:
            raise UsageError(f"discriminator: expected a width, scales and a gain above 0, got {self}")


class PatchScores(NamedTuple):
    """What the high-pass D says of a batch, a list of one tensor a scale.

    Attributes:
        scores: (N, 1, h, w), high where a patch looks like a photo.
        features: the maps in front of them, from the finest scale's first.
        shares: (N, 1, h, w) in [0, 1], how much of a patch lies in the hole; all 1 without a mask.
    """

    scores: list[Tensor]
    features: list[Tensor]
    shares: list[Tensor]

    def mean(self) -> Tensor:
        """(N,) mean score over the hole and the scales."""
        means = [(score.float() * share).sum((1, 2, 3)) / share.sum((1, 2, 3)).clamp_min(1e-6)
                 for score, share in zip(self.scores, self.shares, strict=True)]  # fmt: skip
        return torch.stack(means).mean(0)


class HighPassDiscriminator(nn.Module):
    """Patch networks that read a photo, what a blur takes from it, and the magnitude of that, at several scales.

    The published D is blind to the softness of a photo that was trained by pixel differences: spectral norms damp what
    is fine. Here it is amplified, no norm damps it, and only patches that touch the hole count. It does not see the
    level.
    """

    def __init__(self, config: HighPassConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        channels = 4 * (3 * PHOTO_CHANNELS + 2)
        self.nets = nn.ModuleList(
            nn.ModuleList(
                (
                    nn.Conv2d(channels, width, _KERNEL_PX, 2, padding=1),
                    nn.Conv2d(width, width, 3, padding=1),
                    nn.Conv2d(width, 2 * width, _KERNEL_PX, 2, padding=1),
                    nn.Conv2d(2 * width, 2 * width, 3, padding=1),
                    nn.Conv2d(2 * width, 1, 3, padding=1),
                )
            )
            for _ in range(config.scales)
        )

    def prepare(self, photo: Tensor, sketch: Tensor, mask: Tensor | None) -> list[Tensor]:
        """What the networks read, one tensor a scale: (N, 44, s, s), s half of the side at that scale.

        Args:
            photo: (N, 3, S, S) RGB in [-1, 1], composited.
            sketch: (N, 1, S, S) in [0, 1], line = 1.
            mask: (N, 1, S, S) in {0, 1}, hole = 1; None for synthesis.
        """
        hole = torch.ones_like(sketch) if mask is None else mask
        inputs = []
        for scale in range(self.config.scales):
            if scale:
                photo, sketch, hole = (F.avg_pool2d(each, 2) for each in (photo, sketch, hole))
            fine = self.config.gain * (photo - blur(photo))
            inputs.append(F.pixel_unshuffle(torch.cat([photo, fine, fine.abs(), sketch, hole], dim=1), 2))
        return inputs

    def forward(self, inputs: list[Tensor]) -> PatchScores:
        """Judge every patch of what `prepare` gave."""
        scores, features, shares = [], [], []
        for net, x in zip(self.nets, inputs, strict=True):
            assert isinstance(net, nn.ModuleList)  # noqa: S101 (for the type checker)
            hole = x[:, -4:].mean(1, keepdim=True)
            for index, conv in enumerate(net):
                x = conv(F.leaky_relu(x, LEAKY_SLOPE) if index else x)
                if index < len(net) - 1:
                    features.append(x)
            scores.append(x)
            shares.append(F.adaptive_avg_pool2d(hole, (x.shape[-2], x.shape[-1])))
        return PatchScores(scores, features, shares)


def blur(photo: Tensor) -> Tensor:
    """(N, C, H, W) behind a binomial filter of 5 px."""
    line = photo.new_tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    count = photo.shape[1]
    padded = F.pad(photo, (2, 2, 2, 2), mode="replicate")
    rows = F.conv2d(padded, line.view(1, 1, 1, 5).expand(count, -1, -1, -1), groups=count)
    return F.conv2d(rows, line.view(1, 1, 5, 1).expand(count, -1, -1, -1), groups=count)
