"""3x3 convolutions by Winograd's minimal filtering: the `fp32-winograd` preset for CPUs.

A tile of 4 x 4 outputs takes 36 products a channel pair instead of 144. The transforms are small matrix products over
whole rows of tiles, and the products are one batched GEMM, so that plain torch reaches its GEMM speed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from dpsdata.hed.network import HED

# Interpolation points by the side of the output tile, small and symmetric: with the usual 0, 1, -1, 2, -2 the rounding
# error is four times as large.
POINTS = {
    4: (0.0, 0.75, -0.75, 1.5, -1.5),
    6: (0.0, 0.6, -0.6, 1.0, -1.0, 1.6, -1.6),
}
MIN_CHANNELS = 64  # with fewer, the transforms cost more than the products that they save
LARGE_TILES_UP_TO = 256  # channels; up to here tiles of 6 were measured to be faster than tiles of 4
TILES_AT_ONCE = 120  # their transformed pixels stay in the cache, and the GEMM is large enough to be fast


def transform_matrices(tile_px: int) -> tuple[Tensor, Tensor, Tensor]:
    """Matrices of F(t, 3) for `POINTS` and infinity, float64: of the input, of the weights, of the output.

    Args:
        tile_px: t, outputs a side: 4 or 6; an input tile has two pixels more.

    Returns:
        (t+2, t+2), (t+2, 3) and (t, t+2): for one dimension, output = C ((A input) * (B weights)).

    Source: Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016, section 4; Cook and Toom.
    """
    points, reach = np.array(POINTS[tile_px]), tile_px + 2
    inputs, weights, outputs = np.zeros((reach, reach)), np.zeros((reach, 3)), np.zeros((tile_px, reach))
    for index, point in enumerate(points):
        others = np.delete(points, index)
        inputs[index, :-1] = np.poly(others)[::-1]
        weights[index] = point ** np.arange(3) / np.prod(point - others)
        outputs[:, index] = point ** np.arange(tile_px)
    inputs[-1] = np.poly(points)[::-1]
    weights[-1, 2] = outputs[-1, -1] = 1
    return torch.from_numpy(inputs), torch.from_numpy(weights), torch.from_numpy(outputs)


@dataclass
class _Scratch:
    """Buffers for some rows of tiles, used again for the next ones."""

    phases: Tensor  # (t+2, t, rows, columns, channels): transformed rows, split by pixel column modulo t
    tiles: Tensor  # ((t+2)^2, rows * columns, channels): transformed tiles
    products: Tensor  # ((t+2)^2, rows * columns, outputs)
    half: Tensor  # (t+2, t, rows * columns * outputs): products with one dimension transformed back

    @classmethod
    def allocate(cls, like: Tensor, tile_px: int, rows: int, columns: int, outputs: int) -> _Scratch:
        channels, reach, tile_count = like.shape[-1], tile_px + 2, rows * columns
        return cls(
            like.new_zeros(reach, tile_px, rows, columns, channels),
            like.new_empty(reach**2, tile_count, channels),
            like.new_empty(reach**2, tile_count, outputs),
            like.new_empty(reach, tile_px, tile_count * outputs),
        )


class WinogradConv2d(nn.Module):
    """Replaces a 3x3 convolution of stride 1 and padding 1, for inference on a CPU in fp32.

    The transformed weights take four (tiles of 4) or seven times (of 6) the memory of the original ones, which are
    not kept.

    Args:
        conv: the convolution.
        tile_px: side of the output tile, 4 or 6.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, conv: nn.Conv2d, tile_px: int) -> None:
        super().__init__()
        inputs, weights, outputs = transform_matrices(tile_px)
        with torch.no_grad():
            weight = torch.einsum("ia,ocab,jb->ijco", weights, conv.weight.double(), weights).float()
            bias = torch.zeros(conv.out_channels) if conv.bias is None else conv.bias.detach().clone()
        self.tile_px, self.reach_px = tile_px, tile_px + 2
        self.in_channels, self.out_channels = conv.in_channels, conv.out_channels
        self.register_buffer(
            "weight", weight.reshape((tile_px + 2) ** 2, conv.in_channels, conv.out_channels).contiguous()
        )
        self.register_buffer("bias", bias)
        self._inputs, self._outputs = inputs.float(), outputs.float().contiguous()
        # Only the first and the last transformed value read the first and the last pixel of a tile, which belong to
        # its neighbours: the four in the middle are a product over whole planes, these two are added to it.
        self._middle = self._inputs[:, 1:-1].contiguous()
        self._first, self._last = float(inputs[0, 0]), float(inputs[-1, -1])

    def forward(self, x: Tensor) -> Tensor:
        """The convolution of (N, C, H, W) float32, in channels_last layout."""
        pixels = x.permute(0, 2, 3, 1).contiguous()
        batch, height, width = pixels.shape[:3]
        rows, columns = -(-height // self.tile_px), -(-width // self.tile_px)
        block_count = -(-rows // max(1, round(TILES_AT_ONCE / columns)))
        block = -(-rows // block_count)
        result = pixels.new_empty(batch, height, width, self.out_channels)
        scratch: dict[int, _Scratch] = {}
        for image, output in zip(pixels, result, strict=True):
            for top in range(0, rows, block):
                count = min(block, rows - top)
                if count not in scratch:
                    scratch[count] = _Scratch.allocate(pixels, self.tile_px, count, columns, self.out_channels)
                buffers = scratch[count]
                self._read(image, top, buffers)
                self._multiply(buffers)
                self._write(buffers, top, output)
        return result.permute(0, 3, 1, 2)

    def _read(self, image: Tensor, top: int, buffers: _Scratch) -> None:
        """Transform the pixel rows of some rows of tiles, and sort the columns by phase."""
        height, width, channels = image.shape
        whole, rest = divmod(width, self.tile_px)
        lines = image.view(height, width * channels)
        transformed = image.new_empty(self.reach_px, width * channels)
        for row in range(buffers.phases.shape[2]):
            start = self.tile_px * (top + row) - 1
            stop = start + self.reach_px
            if start < 0 or stop > height:
                window = lines.new_zeros(self.reach_px, width * channels)
                window[max(-start, 0) : min(height, stop) - start] = lines[max(start, 0) : min(height, stop)]
            else:
                window = lines[start:stop]
            torch.mm(self._inputs, window, out=transformed)
            split = transformed.view(self.reach_px, width, channels)
            inside = split[:, : self.tile_px * whole].view(self.reach_px, whole, self.tile_px, channels)
            buffers.phases[:, :, row, :whole] = inside.transpose(1, 2)
            if rest:
                buffers.phases[:, :rest, row, whole] = split[:, self.tile_px * whole :]

    def _multiply(self, buffers: _Scratch) -> None:
        """Transform the columns, multiply with the weights, and transform the columns back."""
        phases = buffers.phases
        shape = (self.reach_px, self.reach_px, *phases.shape[2:])
        middle = self._middle.expand(self.reach_px, self.reach_px, self.tile_px)
        torch.bmm(
            middle,
            phases.view(self.reach_px, self.tile_px, -1),
            out=buffers.tiles.view(self.reach_px, self.reach_px, -1),
        )
        tiles = buffers.tiles.view(shape)
        tiles[:, 0, :, 1:].add_(phases[:, -1, :, :-1], alpha=self._first)
        tiles[:, -1, :, :-1].add_(phases[:, 0, :, 1:], alpha=self._last)
        torch.bmm(buffers.tiles, self.weight, out=buffers.products)
        back = self._outputs.expand(self.reach_px, self.tile_px, self.reach_px)
        torch.bmm(back, buffers.products.view(self.reach_px, self.reach_px, -1), out=buffers.half)

    def _write(self, buffers: _Scratch, top: int, output: Tensor) -> None:
        """Transform the rows back, and write the pixels with their bias."""
        height, width, channels = output.shape
        rows, columns = buffers.phases.shape[2:4]
        half = buffers.half.view(self.reach_px, self.tile_px, rows, columns, channels)
        lines = output.new_empty(self.tile_px, self.tile_px * columns * channels)
        for row in range(rows):
            torch.mm(self._outputs, half[:, :, row].transpose(1, 2).reshape(self.reach_px, -1), out=lines)
            start = self.tile_px * (top + row)
            stop = min(start + self.tile_px, height)
            block = lines.view(self.tile_px, self.tile_px * columns, channels)[: stop - start, :width]
            torch.add(block, self.bias, out=output[start:stop])


def use_winograd(net: HED) -> HED:
    """Replace, in place, every convolution of `net` that gains from it, and return `net`.

    Args:
        net: in eval mode, fp32, on the CPU. It cannot be trained or saved afterwards.
    """
    for stage in net.stages:
        for name, conv in list(stage.named_children()):
            if isinstance(conv, nn.Conv2d) and conv.in_channels >= MIN_CHANNELS:
                setattr(stage, name, WinogradConv2d(conv, 6 if conv.in_channels <= LARGE_TILES_UP_TO else 4).eval())
    return net
