"""The two networks of SketchRefiner that mend a sketch: registration, then enhancement.

Names of the layers are those of the published files.
Source: AlonzoLeeeooo/SketchRefiner@bddc77e.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.networks.layers import LEAKY_SLOPE

_RESIDUAL_STEPS = range(7, 11)


class _SeparableConv2d(nn.Module):
    """A depthwise 3x3 convolution, then 1x1; what it reads is padded already."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.depth_conv = nn.Conv2d(in_channels, in_channels, 3, stride, groups=in_channels)
        self.point_conv = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.point_conv(self.depth_conv(x))
        return found


class _GatedConv2d(nn.Module):
    """A normalised feature times a separable gate; both read the same padded plane."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        padding: Literal["replicate", "constant"] = "replicate",
    ) -> None:
        super().__init__()
        self.conv2d = nn.Conv2d(in_channels, out_channels, 3, stride)  # its bias is in the files and in no output
        self.mask_conv2d = _SeparableConv2d(in_channels, out_channels, stride)
        self.padding = padding

    def forward(self, x: Tensor) -> Tensor:
        padded = F.pad(x, (1, 1, 1, 1), self.padding)
        feature = F.leaky_relu(F.instance_norm(self.conv2d(padded)), LEAKY_SLOPE)
        gated: Tensor = feature * torch.sigmoid(self.mask_conv2d(padded))
        return gated


class _GatedUpConv2d(nn.Module):
    """The same behind a doubling by nearest neighbour, padded with zeros."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.gated_conv2d = _GatedConv2d(in_channels, out_channels, padding="constant")

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.gated_conv2d(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return found


class RegistrationModule(nn.Module):
    """Pulls strokes to where the photo around the hole wants them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_1 = _GatedConv2d(5, 32)
        self.conv_2 = _GatedConv2d(32, 64, 2)
        self.conv_3 = _GatedConv2d(64, 128, 2)
        self.conv_4 = _GatedConv2d(128, 192, 2)
        self.conv_5 = _GatedConv2d(192, 192)
        self.conv_6 = _GatedConv2d(192, 192)
        self.conv_7 = _GatedConv2d(192, 192)
        self.conv_8 = _GatedUpConv2d(192, 128)
        self.conv_9 = _GatedUpConv2d(128, 64)
        self.conv_10 = _GatedUpConv2d(64, 32)
        self.conv_11 = _GatedConv2d(32, 1)

    def forward(self, x: Tensor) -> Tensor:
        """A map of lines, (N, 1, H, W), of no fixed range.

        Args:
            x: (N, 5, H, W): BGR in [0, 1] with a white hole, mask, and the sketch in the hole with edges around it.
        """
        full = self.conv_1(x)
        half = self.conv_2(full)
        quarter = self.conv_3(half)
        eighth = self.conv_4(quarter)
        y = self.conv_7(self.conv_6(self.conv_5(eighth))) + eighth
        y = self.conv_8(y) + quarter
        y = self.conv_9(y) + half
        found: Tensor = self.conv_11(self.conv_10(y) + full)
        return found


def _conv(in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1) -> nn.Sequential:
    padding = kernel_size // 2
    mode: Literal["reflect", "zeros"] = "reflect" if kernel_size == 7 else "zeros"
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, padding_mode=mode), nn.ReLU()
    )


class EnhancementModule(nn.Module):
    """Cleans and completes the strokes of a registered sketch."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_1 = _conv(1, 32, 7)
        self.conv_2 = _conv(32, 64, stride=2)
        self.conv_3 = _conv(64, 128, stride=2)
        self.conv_4 = _conv(128, 128, stride=2)
        self.conv_5 = _conv(128, 128)
        self.conv_6 = _conv(128, 256)
        for step in _RESIDUAL_STEPS:
            self.add_module(f"conv_{step}", nn.Sequential(_conv(256, 256), _conv(256, 256)))
        self.conv_11 = _conv(256, 128)
        self.conv_12 = _conv(128, 128)
        self.conv_13 = _conv(128, 128)
        self.conv_14 = _conv(128, 64)
        self.conv_15 = _conv(64, 32)
        self.conv_16 = _conv(32, 1)

    def forward(self, x: Tensor) -> Tensor:
        """A map of lines, (N, 1, H, W), from 0 up without a limit; `x`: (N, 1, H, W) in {0, 1}, line = 1."""
        full = self.conv_1(x)
        half = self.conv_2(full)
        quarter = self.conv_3(half)
        eighth = self.conv_4(quarter)
        deep = self.conv_5(eighth)
        y = self.conv_6(deep)
        for step in _RESIDUAL_STEPS:
            y = y + self.get_submodule(f"conv_{step}")(y)
        y = _double(self.conv_12(self.conv_11(y) + deep) + eighth)
        y = _double(self.conv_13(y) + quarter)
        y = _double(self.conv_14(y) + half)
        found: Tensor = self.conv_16(self.conv_15(y) + full)
        return found


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")
