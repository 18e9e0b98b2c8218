"""The blocks of G and F: reflect-padded convolutions, level conditioning, down, up and residual blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEAKY_SLOPE = 0.2
_INSTANCE_EPS = 1e-5
_EMBEDDING_DEPTH = 4

NormFactory = Callable[[int], nn.Module]
_M = TypeVar("_M", bound=nn.Module)


def children(modules: nn.ModuleList, kind: type[_M]) -> list[_M]:
    """The modules of a list, typed."""
    return [module for module in modules if isinstance(module, kind)]


def reflect_conv(in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1) -> nn.Conv2d:
    """A convolution behind one pixel of reflection padding, with bias."""
    return nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=1, padding_mode="reflect")


class LevelEmbedding(nn.Module):
    """The refinement level as a style code.

    Args:
        width: length of the code.

    Source: deep_plastic_surgery.md section 2.1.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width if index else 1, width) for index in range(_EMBEDDING_DEPTH))

    def forward(self, levels: Tensor) -> Tensor:
        """(N, 1) levels in [0, 1] to (N, width) style codes."""
        code = levels
        for layer in self.layers:
            code = F.leaky_relu(layer(code), LEAKY_SLOPE)
        return code


class AdaptiveInstanceNorm(nn.Module):
    """Instance normalisation whose scale and shift come from the style code.

    Args:
        channels: of the feature maps.
        style_width: length of the style code.

    Source: deep_plastic_surgery.md section 2.1.
    """

    def __init__(self, channels: int, style_width: int) -> None:
        super().__init__()
        self.affine = nn.Linear(style_width, 2 * channels)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Normalise (N, C, H, W) features by (N, S) or (1, S) style codes."""
        scale, shift = self.affine(style)[:, :, None, None].chunk(2, dim=1)
        return torch.addcmul(shift, scale, F.instance_norm(x, eps=_INSTANCE_EPS))


class Norm(nn.Module):
    """Batch normalisation, or nothing, in the place where G has its adaptive normalisation; the style is not read."""

    def __init__(self, channels: int, kind: str) -> None:
        super().__init__()
        self.batch = nn.BatchNorm2d(channels) if kind == "batch" else None

    def forward(self, x: Tensor, style: Tensor | None) -> Tensor:
        """Normalise (N, C, H, W) features."""
        return x if self.batch is None else self.batch(x)


class DownBlock(nn.Module):
    """Halves the size: leaky ReLU, 3x3 convolution of stride 2, norm."""

    def __init__(self, in_channels: int, out_channels: int, norm: NormFactory) -> None:
        super().__init__()
        self.conv = reflect_conv(in_channels, out_channels, stride=2)
        self.norm = norm(out_channels)

    def forward(self, x: Tensor, style: Tensor | None) -> Tensor:
        """(N, C, H, W) to (N, C', H/2, W/2)."""
        return self.norm(self.conv(F.leaky_relu(x, LEAKY_SLOPE)), style)  # type: ignore[no-any-return]


class UpBlock(nn.Module):
    """Doubles the size: ReLU, nearest neighbour, 3x3 convolution, norm."""

    def __init__(self, in_channels: int, out_channels: int, norm: NormFactory) -> None:
        super().__init__()
        self.conv = reflect_conv(in_channels, out_channels)
        self.norm = norm(out_channels)

    def forward(self, x: Tensor, style: Tensor | None) -> Tensor:
        """(N, C, H, W) to (N, C', 2H, 2W)."""
        doubled = F.interpolate(F.relu(x), scale_factor=2.0, mode="nearest")
        return self.norm(self.conv(doubled), style)  # type: ignore[no-any-return]


class ResidualBlock(nn.Module):
    """Two rounds of leaky ReLU, 3x3 convolution and norm, added to the input."""

    def __init__(self, channels: int, norm: NormFactory) -> None:
        super().__init__()
        self.conv1, self.norm1 = reflect_conv(channels, channels), norm(channels)
        self.conv2, self.norm2 = reflect_conv(channels, channels), norm(channels)

    def forward(self, x: Tensor, style: Tensor | None) -> Tensor:
        """(N, C, H, W) to the same shape."""
        branch = self.norm1(self.conv1(F.leaky_relu(x, LEAKY_SLOPE)), style)
        return x + self.norm2(self.conv2(F.leaky_relu(branch, LEAKY_SLOPE)), style)  # type: ignore[no-any-return]
