"""F, the inpainter: the U-Net that paints a photo from the refined sketch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dpsdata.contracts import UsageError
from models.networks.layers import LEAKY_SLOPE, DownBlock, Norm, Stem, StemHead, UpBlock, children, reflect_conv

Task = Literal["edit", "synthesis"]
# Input channels: the sketch, and for editing the photo and the mask too.
EDIT_CHANNELS, SYNTHESIS_CHANNELS = 7, 3
PHOTO_CHANNELS = 3
STEMS = (1, 2, 4)
_NORMS = ("none", "batch")


def check_stem(stem: int) -> None:
    """Raise UsageError for a stem that is none."""
    if stem not in STEMS:
        raise UsageError(f"stem: expected one of {', '.join(map(str, STEMS))}, got {stem!r}")


@dataclass(frozen=True)
class InpainterConfig:
    """Sizes of F; the defaults are the published ones for editing.

    Attributes:
        input_channels: 3 for synthesis (sketch), 7 for editing (sketch, photo, mask).
        width: channels of the first convolution.
        max_width: no feature map but the joined ones has more channels.
        resolution: in px, a power of two.
        norm: `batch` (the editing release) or `none` (the synthesis release).
        stem: squares of so many px a side are folded into channels, and the network runs on a grid as much smaller;
            1 as published, 2 or 4.
    """

    input_channels: int = 7
    width: int = 64
    max_width: int = 512
    resolution: int = 256
    norm: Literal["none", "batch"] = "batch"
    stem: int = 1

    def __post_init__(self) -> None:
        if self.input_channels not in (3, 7):
            raise UsageError(
                f"input_channels: expected 3 (synthesis) or 7 (editing) for the inpainter, got {self.input_channels}"
            )
        if self.width < 1 or self.max_width < self.width:
            raise UsageError(
                f"inpainter: expected 1 <= width <= max_width, got width {self.width} and max_width {self.max_width}"
            )
        if self.resolution < 16 or self.resolution & (self.resolution - 1):
            raise UsageError(f"resolution: expected a power of two from 16 px up, got {self.resolution}")
        if self.norm not in _NORMS:
            raise UsageError(f"norm: expected one of {', '.join(_NORMS)}, got {self.norm!r}")
        check_stem(self.stem)

    @property
    def depth(self) -> int:
        """How many blocks bring the grid down to 2 px; the bottom convolution makes it 1."""
        return (self.resolution // self.stem).bit_length() - 2


class Inpainter(nn.Module):
    """F: a U-Net from the resolution down to one pixel and back.

    Source: VITA-Group/DeepPS@3079d46 src/pix2pix.py.
    """

    def __init__(self, config: InpainterConfig) -> None:
        super().__init__()
        self.config = config
        norm = partial(Norm, kind=config.norm)
        widths = [min(config.width * 2**step, config.max_width) for step in range(config.depth + 1)]
        self.stem = Stem(config.input_channels, config.stem) if config.stem > 1 else None
        channels = config.input_channels if self.stem is None else self.stem.channels * config.stem**2
        self.first = reflect_conv(channels, widths[0])
        self.downs = nn.ModuleList(DownBlock(widths[i], widths[i + 1], norm) for i in range(config.depth))
        self.bottom = reflect_conv(widths[-1], widths[-1], kernel_size=4, stride=2)
        joined = [*(2 * width for width in widths), widths[-1]]
        is_smooth = self.stem is not None
        self.ups = nn.ModuleList(
            UpBlock(joined[i + 1], widths[i], norm, is_smooth) for i in reversed(range(config.depth + 1))
        )
        self.head: nn.Module = reflect_conv(joined[0], PHOTO_CHANNELS)
        if self.stem is not None:
            self.head = StemHead(joined[0], PHOTO_CHANNELS, self.stem, config.resolution)

    def forward(self, x: Tensor) -> Tensor:
        """Paint a photo.

        Args:
            x: (N, 3 or 7, S, S) in [-1, 1], published signs, S the resolution of the config.

        Returns:
            (N, 3, S, S) RGB in [-1, 1].

        Raises:
            UsageError: the input has another size; the deepest maps would not fit.
        """
        size = self.config.resolution
        if x.shape[1:] != (self.config.input_channels, size, size):
            expected = (self.config.input_channels, size, size)
            raise UsageError(f"inpainter input: expected shape (N, *{expected}), got {tuple(x.shape)}")
        pixels = x if self.stem is None else self.stem.plain(x)
        skips = [self.first(pixels if self.stem is None else self.stem(pixels))]
        for down in children(self.downs, DownBlock):
            skips.append(down(skips[-1], None))
        out = self.bottom(F.leaky_relu(skips[-1], LEAKY_SLOPE))
        for up in children(self.ups, UpBlock):
            out = torch.cat([up(out, None), skips.pop()], dim=1)
        painted = self.head(F.relu(out)) if self.stem is None else self.head(out, pixels)
        return torch.tanh(painted)
