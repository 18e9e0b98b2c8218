"""Gated convolutions: DeepFillv2's one convolution split in two, and SC-FEGAN's two beside each other."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dpsdata.contracts import UsageError
from models.baselines.tensorflow.operators import SameConv2d, convolve_transposed, normalise_response
from models.networks.layers import LEAKY_SLOPE

Activation = Literal["elu", "relu"]


class SplitGatedConv2d(SameConv2d):
    """DeepFillv2's gated convolution: one half of its filters is the feature, the other half the gate.

    Args:
        in_channels: of the input.
        filters: counted before the split; the output has half as many channels.
        kernel_size: side of the kernel, px.
        stride: step of the kernel.
        rate: dilation.
        activation: of the feature.
        doubles: whether the input is doubled in size first, by nearest neighbour.

    Source: JiahuiYu/generative_inpainting@3a53243 inpaint_ops.py (gen_conv).
    """

    def __init__(
        self,
        in_channels: int,
        filters: int,
        kernel_size: int = 3,
        stride: int = 1,
        rate: int = 1,
        activation: Activation = "elu",
        doubles: bool = False,
    ) -> None:
        if filters % 2:
            raise UsageError(f"filters: expected an even number for a feature and its gate, got {filters}")
        super().__init__(in_channels, filters, kernel_size, stride, rate)
        self.activation = activation
        self.doubles = doubles

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, filters / 2, H', W')."""
        # At twice the size, aligned corners and PyTorch's nearest neighbour pick the same pixels.
        both = super().forward(F.interpolate(x, scale_factor=2.0, mode="nearest") if self.doubles else x)
        feature, gate = both.chunk(2, dim=1)
        return (F.elu(feature) if self.activation == "elu" else F.relu(feature)) * torch.sigmoid(gate)


class PairGatedConv2d(nn.Module):
    """SC-FEGAN's gated convolution: a feature and a gate, each with a kernel of its own.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        kernel_size: side of the kernels, px.
        stride: step of the kernels.
        rate: dilation.
        norm: whether the feature is response-normalised, in front of the activation; the gate never is.
        active: whether the feature passes a leaky ReLU.

    Source: run-youngjoo/SC-FEGAN@1f9d47f ops.py.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        rate: int = 1,
        norm: bool = True,
        active: bool = True,
    ) -> None:
        super().__init__()
        self.feat = SameConv2d(in_channels, out_channels, kernel_size, stride, rate)
        self.gate = SameConv2d(in_channels, out_channels, kernel_size, stride, rate)
        self.norm = norm
        self.active = active

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', ceil(H / stride), ceil(W / stride))."""
        feature = self.feat(x)
        if self.norm:
            feature = normalise_response(feature)
        if self.active:
            feature = F.leaky_relu(feature, LEAKY_SLOPE)
        gated: Tensor = feature * torch.sigmoid(self.gate(x))
        return gated


class SelfGatedUpConv2d(nn.Module):
    """SC-FEGAN's "gated" transposed convolution, whose gate is the sigmoid of its own activated feature.

    The published code makes a second feature for the gate and then overwrites it, so its bias (`biases2`) is in the
    files and in no output. Here it is the buffer `dead_bias`: files go there and back whole, counts agree, and no
    optimiser sees it.

    Source: run-youngjoo/SC-FEGAN@1f9d47f ops.py.
    """

    dead_bias: Tensor

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(in_channels, out_channels, 5, 5))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.register_buffer("dead_bias", torch.zeros(out_channels))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', 2H, 2W)."""
        feature = F.leaky_relu(convolve_transposed(x, self.weight, self.bias), LEAKY_SLOPE)
        return feature * torch.sigmoid(feature)
