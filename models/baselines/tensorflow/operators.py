"""TensorFlow's operators with TensorFlow's borders: SAME convolutions, resizing by aligned corners, LRN."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dpsdata.runtime.device import keyed_seed

_LRN_RADIUS, _LRN_BIAS = 5, 5e-5


def same_padding(size: int, kernel_size: int, stride: int = 1, rate: int = 1) -> tuple[int, int]:
    """Zeros in front of and behind one axis under TensorFlow's SAME rule; uneven on most strided layers.

    Args:
        size: length of the axis, px.
        kernel_size: taps of the kernel.
        stride: step of the kernel.
        rate: distance of its taps (dilation).

    Source: tf.nn.conv2d with `SAME`, compared with TensorFlow 2.21.
    """
    steps = -(-size // stride)
    total = max((steps - 1) * stride + (kernel_size - 1) * rate + 1 - size, 0)
    return total // 2, total - total // 2


def convolve_same(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int = 1, rate: int = 1) -> Tensor:
    """Convolve (N, C, H, W) by a (C', C, k, k) kernel into (N, C', ceil(H / stride), ceil(W / stride))."""
    top, bottom = same_padding(x.shape[2], weight.shape[2], stride, rate)
    left, right = same_padding(x.shape[3], weight.shape[3], stride, rate)
    if top == bottom and left == right:
        return F.conv2d(x, weight, bias, stride, (top, left), rate)
    return F.conv2d(F.pad(x, (left, right, top, bottom)), weight, bias, stride, 0, rate)


def convolve_transposed(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Double the size by a transposed convolution of kernel 5, stride 2 and SAME borders.

    Args:
        x: (N, C, H, W).
        weight: (C, C', 5, 5).
        bias: (C').

    Returns:
        (N, C', 2H, 2W).

    Source: tf.nn.conv2d_transpose with `SAME`, compared with TensorFlow 2.21.
    """
    # PyTorch makes one row and one column more; output_padding would give the size, shifted by a pixel.
    return F.conv_transpose2d(x, weight, bias, stride=2, padding=1)[:, :, :-1, :-1]


def nearest_indices(size_in: int, size_out: int) -> list[int]:
    """Which pixel of an axis each pixel of the resized axis takes, for nearest neighbour with aligned corners.

    Source: JiahuiYu/generative_inpainting@3a53243 inpaint_ops.py (resize); compared with TensorFlow 2.21.
    """
    # In float32 as TensorFlow does it, so that ties fall on the same side.
    scale = np.float32(size_in - 1) / np.float32(max(size_out - 1, 1))
    places = np.arange(size_out, dtype=np.float32) * scale
    return [min(int(place), size_in - 1) for place in np.floor(places.astype(np.float64) + 0.5)]


def resize_nearest(x: Tensor, height: int, width: int) -> Tensor:
    """Resize (N, C, H, W) to (N, C, height, width) by nearest neighbour with aligned corners."""
    rows = torch.tensor(nearest_indices(x.shape[2], height), device=x.device)
    columns = torch.tensor(nearest_indices(x.shape[3], width), device=x.device)
    return x.index_select(2, rows).index_select(3, columns)


def normalise_response(x: Tensor) -> Tensor:
    """Local response normalisation over 11 channels: alpha 1, beta 0.5, bias 5e-5.

    Args:
        x: (N, C, H, W).

    Source: tf.nn.local_response_normalization, compared with TensorFlow 2.21.
    """
    # A 1x1 convolution with a band matrix: a third of the time of F.local_response_norm on a CPU.
    index = torch.arange(x.shape[1], device=x.device)
    band = ((index[:, None] - index).abs() <= _LRN_RADIUS).to(x.dtype)
    return x * torch.rsqrt(F.conv2d(x.square(), band[:, :, None, None]) + _LRN_BIAS)


class SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's SAME borders.

    Args:
        in_channels: of the input.
        out_channels: filters.
        kernel_size: side of the kernel, px.
        stride: step of the kernel.
        rate: dilation.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, rate: int = 1) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, dilation=rate)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', ceil(H / stride), ceil(W / stride))."""
        return convolve_same(x, self.weight, self.bias, self.stride[0], self.dilation[0])


def initialise_glorot(net: nn.Module, seed: int, purpose: str) -> None:
    """Draw first weights in place: Glorot uniform kernels, zero biases, normal power vectors, keyed by their names.

    Args:
        net: a network of this package, on the CPU.
        seed: of the run.
        purpose: what tells two networks of one run apart, such as `scfegan`.

    Source: TensorFlow's default initializer.
    """
    with torch.no_grad():
        for name, value in net.state_dict(keep_vars=True).items():
            generator = torch.Generator().manual_seed(keyed_seed(seed, name, purpose))
            if value.ndim == 4:
                nn.init.xavier_uniform_(value, generator=generator)
            elif name.endswith("power_vector"):
                value.normal_(generator=generator)
            else:
                value.zero_()
