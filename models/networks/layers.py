"""The blocks of G and F: reflect-padded convolutions, level conditioning, down, up and residual blocks."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Literal, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEAKY_SLOPE = 0.2
_INSTANCE_EPS = 1e-5
_EMBEDDING_DEPTH = 4

_FULL_SIZE_CHANNELS = 24
_MIDDLE_CHANNELS = 48
_LAST_CHANNELS = 16
_NOISE_SEED = 256
_STEEPEST = 0.97  # of the colours that a tanh is given back

NormFactory = Callable[[int], nn.Module]
_M = TypeVar("_M", bound=nn.Module)


def children(modules: nn.ModuleList, kind: type[_M]) -> list[_M]:
    """The modules of a list, typed."""
    return [module for module in modules if isinstance(module, kind)]


def reflect_conv(in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1) -> nn.Conv2d:
    """A convolution behind one pixel of reflection padding, with bias."""
    return nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=1, padding_mode="reflect")


def merge_upsampling(weight: Tensor) -> Tensor:
    """The kernel of a transposed convolution that doubles the size and convolves in one go.

    Each output pixel of "nearest neighbour x2, 3x3 convolution" sees only 2x2 input pixels, so taps that fall on the
    same pixel are added up: 4 products where the plain form takes 9. In float32 the results differ by rounding alone.

    Args:
        weight: (C', C, 3, 3) of the convolution behind the upsampling.

    Returns:
        (C, C', 4, 4), for stride 2; the input wants one pixel of replication padding and 3 px are cropped.
    """
    merged = weight
    for axis in (2, 3):
        first, middle, last = merged.unbind(axis)
        merged = torch.stack([last, middle + last, first + middle, first], axis)
    return merged.transpose(0, 1)


def double_and_convolve(x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
    """Nearest neighbour x2, reflection padding and 3x3 convolution, by a kernel of `merge_upsampling`.

    Args:
        x: (N, C, H, W).
        kernel: (C, C', 4, 4).
        bias: (C',).

    Returns:
        (N, C', 2H, 2W).
    """
    # A reflected border of the doubled image holds what a replicated border of the small one holds.
    padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
    return F.conv_transpose2d(padded, kernel, bias, stride=2, padding=3)


class UpConv(nn.Conv2d):
    """Nearest neighbour x2 and a reflect-padded 3x3 convolution; weight and bias are those of the convolution."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1, padding_mode="reflect")

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', 2H, 2W)."""
        return double_and_convolve(x, merge_upsampling(self.weight), self.bias)


class SmoothUpConv(nn.Conv2d):
    """A reflect-padded 3x3 convolution and bilinear x2.

    Nearest neighbour turns a slope into steps, which every further doubling carries to the pixels: skin looks woven.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1, padding_mode="reflect")

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', 2H, 2W)."""
        padding: Literal["reflect", "replicate"] = "reflect" if min(x.shape[2:]) > 1 else "replicate"
        small = F.conv2d(F.pad(x, (1, 1, 1, 1), mode=padding), self.weight, self.bias)
        return F.interpolate(small, scale_factor=2, mode="bilinear", align_corners=False)


def spread_colors(photo: Tensor, hole: Tensor) -> Tensor:
    """Fill holes smoothly with the colours around them, (N, 3, H, W); what is known stays.

    Args:
        photo: (N, 3, H, W), sides powers of two.
        hole: (N, 1, H, W) in {0, 1}, hole = 1. Where all is hole, the result is 0.

    Source: Gortler et al., The Lumigraph, SIGGRAPH 1996 (pull and push).
    """
    colors, known = photo * (1 - hole), 1 - hole
    pyramid = [(colors, known)]
    while min(colors.shape[2:]) > 1:
        colors, known = F.avg_pool2d(colors, 2), F.avg_pool2d(known, 2)
        pyramid.append((colors, known))
    colors, known = pyramid.pop()
    filled = colors / known.clamp_min(1e-6)
    for colors, known in reversed(pyramid):
        around = F.interpolate(filled, scale_factor=2, mode="bilinear", align_corners=False)
        filled = colors + (1 - known) * around
    return filled


class Stem(nn.Module):
    """Folds squares of `factor` x `factor` px into channels, so that a network runs on a grid as much smaller.

    The published inputs repeat the sketch in three channels; one of them is folded. The hole of the photo is filled
    with the colours around it, so that these need not be carried through the network.

    Args:
        input_channels: 3 (sketch x3) or 7 (sketch x3, photo, mask).
        factor: a power of two from 2 up.

    Source: Shi et al., Real-time single image super-resolution with a sub-pixel convolution, CVPR 2016 (the inverse).
    """

    def __init__(self, input_channels: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.channels = input_channels - 2

    def plain(self, x: Tensor) -> Tensor:
        """(N, 3 or 7, S, S) to (N, 1 or 5, S, S): the sketch once, the photo filled, the mask."""
        if self.channels == 1:
            return x[:, :1]
        return torch.cat([x[:, :1], spread_colors(x[:, 3:6], (x[:, 6:] + 1) / 2), x[:, 6:]], dim=1)

    def forward(self, pixels: Tensor) -> Tensor:
        """What `plain` gives to (N, (1 or 5) * factor**2, S / factor, S / factor)."""
        return F.pixel_unshuffle(pixels, self.factor)


class StemHead(nn.Module):
    """From a grid behind a `Stem` back to pixels.

    Up-blocks and not a pixel shuffle, whose grid stays visible in skin. Two convolutions at full size follow, which
    read the photo with its filled hole too. The sketch is read by G alone, whose lines are to be copied; F would print
    them into skin. A fixed noise is what grain is made of; without it a network makes hatching. A photo is painted as
    the difference to the filled one.

    Args:
        in_channels: of the grid.
        out_channels: of the pixels; the last three are the photo.
        stem: of the network.
        size: side of the pixels.
        reads_lines: whether the sketch is read.
    """

    noise: Tensor

    def __init__(self, in_channels: int, out_channels: int, stem: Stem, size: int, reads_lines: bool = False) -> None:
        super().__init__()
        self.reads_lines = reads_lines
        doublings = stem.factor.bit_length() - 1
        widths = [in_channels, *([_MIDDLE_CHANNELS] * (doublings - 1)), _FULL_SIZE_CHANNELS]
        self.ups = nn.ModuleList(SmoothUpConv(before, after) for before, after in pairwise(widths))
        self.join = reflect_conv(_FULL_SIZE_CHANNELS + stem.channels + reads_lines, _LAST_CHANNELS)
        self.last = reflect_conv(_LAST_CHANNELS, out_channels)
        noise = np.random.RandomState(_NOISE_SEED).standard_normal((1, 1, size, size)).astype(np.float32)
        self.register_buffer("noise", torch.from_numpy(noise), persistent=False)

    def forward(self, x: Tensor, pixels: Tensor) -> Tensor:
        """Paint.

        Args:
            x: (N, in_channels, S / factor, S / factor).
            pixels: (N, 1 or 5, S, S), what `Stem.plain` gives.

        Returns:
            (N, out_channels, S, S), before the final tanh.
        """
        for up in children(self.ups, SmoothUpConv):
            x = up(F.relu(x))
        noise = self.noise.to(x.dtype).expand(x.shape[0], -1, -1, -1)
        lines = [pixels[:, :1]] if self.reads_lines else []
        x = self.join(torch.cat([F.leaky_relu(x, LEAKY_SLOPE), pixels[:, 1:], noise, *lines], dim=1))
        out: Tensor = self.last(F.leaky_relu(x, LEAKY_SLOPE))
        if pixels.shape[1] == 1:
            return out
        known = torch.atanh(pixels[:, 1:4] * _STEEPEST)
        return torch.cat([out[:, :-3], out[:, -3:] + known], dim=1)


class LevelEmbedding(nn.Module):
    """The refinement level as a style code.

    Source: VITA-Group/DeepPS@3079d46 src/models.py (StyleGenerator, AdaptiveInstanceNorm).
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

    Source: VITA-Group/DeepPS@3079d46 src/models.py (StyleGenerator, AdaptiveInstanceNorm).
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
    """Doubles the size: ReLU, nearest neighbour, 3x3 convolution, norm; behind a stem by a `SmoothUpConv`."""

    def __init__(self, in_channels: int, out_channels: int, norm: NormFactory, is_smooth: bool = False) -> None:
        super().__init__()
        self.conv: nn.Module = (SmoothUpConv if is_smooth else UpConv)(in_channels, out_channels)
        self.norm = norm(out_channels)

    def forward(self, x: Tensor, style: Tensor | None) -> Tensor:
        """(N, C, H, W) to (N, C', 2H, 2W)."""
        return self.norm(self.conv(F.relu(x)), style)  # type: ignore[no-any-return]


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
