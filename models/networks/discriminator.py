"""D, the critic: a spectral-normed patch network for each resolution."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from dpsdata.contracts import UsageError
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
            raise UsageError(
                f"input_channels: expected 6 (synthesis) or 7 (editing) for the critic, got {self.input_channels}"
            )
        if min(self.width, self.output_channels, self.stride_layers) < 1:
            raise UsageError(
                "critic: expected width, output_channels and stride_layers of at least 1, got "
                f"{self.width}, {self.output_channels} and {self.stride_layers}"
            )

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels in front of, between and behind the convolutions."""
        widths = [self.width * min(2**step, _WIDEST_FACTOR) for step in range(self.stride_layers + 1)]
        return (self.input_channels, *widths, self.output_channels)

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the state dict of this critic, told without building it (its power steps take a while)."""
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

    Args:
        config: sizes.

    Source: deep_plastic_surgery.md section 2.5.
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
