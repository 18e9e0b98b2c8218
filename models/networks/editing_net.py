"""G, the sketch refiner, one network per resolution; and G with F, from a one-pixel sketch to the painted photo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dpsdata.contracts import UsageError, check_level, check_mask, check_photo, check_sketch
from dpsdata.sketch import dilate_sketch, smooth_sketch
from dpsdata.sketch.dilate import PUBLISHED_DIAMETER_PX, scaled_diameter_px
from models.networks.inpainter import EDIT_CHANNELS, Inpainter, Task, check_stem
from models.networks.layers import (
    AdaptiveInstanceNorm,
    DownBlock,
    LevelEmbedding,
    ResidualBlock,
    Stem,
    StemHead,
    UpBlock,
    children,
    reflect_conv,
)
from models.networks.published_signs import network_input, refiner_inputs, split_output

_COARSE_DEPTH, _FINE_DEPTH = 3, 1
OUTPUT_CHANNELS = 4


@dataclass(frozen=True)
class RefinerConfig:
    """Sizes of G; the defaults are the published ones for editing.

    Attributes:
        input_channels: 3 for synthesis (sketch), 7 for editing (sketch, photo, mask).
        width: channels of the first convolution.
        max_width: no feature map but the joined ones has more channels.
        residual_blocks: in each of the networks.
        resolutions: in px, each twice the one before; the first is the deep network.
        style_width: length of the style code that the level becomes.
        dilation_diameter: of the pen that sketches are dilated with at level 1, whole px of 256. A narrower one leaves
            more of a dense drawing to be read.
        stem: at the finest resolution, squares of so many px a side are folded into channels, and at each coarser one
            half as many, so that all networks run on grids of one size; 1 as published, 2 or 4.
    """

    input_channels: int = 7
    width: int = 64
    max_width: int = 512
    residual_blocks: int = 3
    resolutions: tuple[int, ...] = (64, 128, 256)
    style_width: int = 128
    dilation_diameter: int = PUBLISHED_DIAMETER_PX
    stem: int = 1

    def __post_init__(self) -> None:
        if self.input_channels not in (3, 7):
            raise UsageError(
                f"input_channels: expected 3 (synthesis) or 7 (editing) for the refiner, got {self.input_channels}"
            )
        if self.width < 1 or self.style_width < 1 or self.residual_blocks < 0:
            raise UsageError(
                "refiner: expected a width and style_width of at least 1 and residual_blocks of at least 0, got "
                f"{self.width}, {self.style_width} and {self.residual_blocks}"
            )
        if self.max_width < 2 * self.width:
            raise UsageError(
                f"max_width: expected at least twice the width ({2 * self.width}), since the exchanged feature has "
                f"that many channels, got {self.max_width}"
            )
        if type(self.dilation_diameter) is not int or not 1 <= self.dilation_diameter <= 255:
            raise UsageError(f"dilation_diameter: expected 1 to 255 whole px of 256, got {self.dilation_diameter!r}")
        sizes = self.resolutions
        doubling = all(fine == 2 * coarse for coarse, fine in pairwise(sizes))
        if not sizes or sizes[0] < 16 or sizes[0] % 2**_COARSE_DEPTH or not doubling:
            raise UsageError(
                f"resolutions: expected sizes in px from 16 up, the first a multiple of {2**_COARSE_DEPTH} and each "
                f"twice the one before, got {sizes}"
            )
        check_stem(self.stem)
        grid = sizes[0] // self.stem_at(sizes[0])
        if grid < 16 or grid % 2**_COARSE_DEPTH:
            raise UsageError(f"stem: {self.stem} leaves a grid of {grid} px, which is no multiple of 8 from 16 up")

    def pen_px(self, size: int) -> int:
        """Diameter of the pen at level 1 for sketches of this side, px."""
        return scaled_diameter_px(size, size, self.dilation_diameter)

    def stem_at(self, size: int) -> int:
        """The stem of the network of one resolution in px."""
        return max(1, self.stem * size // self.resolutions[-1])

    def up_to(self, size: int) -> RefinerConfig:
        """The same G without the resolutions above one, in px."""
        kept = tuple(side for side in self.resolutions if side <= size)
        return replace(self, resolutions=kept, stem=self.stem_at(kept[-1]) if kept else self.stem)

    def depth(self, size: int) -> int:
        """How often the network of this resolution halves its input."""
        if size not in self.resolutions:
            raise UsageError(f"size: expected one of {self.resolutions} px, got {size}")
        return _COARSE_DEPTH if size == self.resolutions[0] else _FINE_DEPTH


class RefinerOutput(NamedTuple):
    """What G returns, by resolution in px.

    Attributes:
        outputs: (N, 4, S, S) in [-1, 1], published signs: sketch (paper = +1), R, G, B.
        features: (N, 2 * width, S, S), what the next finer network takes in.
    """

    outputs: dict[int, Tensor]
    features: dict[int, Tensor]


class RefinerScale(nn.Module):
    """The network of G for one resolution.

    Args:
        config: sizes.
        size: its resolution in px.

    Source: VITA-Group/DeepPS@3079d46 src/models.py (Generator64, Generator128, Generator256).
    """

    def __init__(self, config: RefinerConfig, size: int) -> None:
        super().__init__()
        depth, stem = config.depth(size), config.stem_at(size)
        norm = partial(AdaptiveInstanceNorm, style_width=config.style_width)
        widths = [min(config.width * 2**step, config.max_width) for step in range(depth + 1)]
        self.level_embedding = LevelEmbedding(config.style_width)
        self.stem = Stem(config.input_channels, stem) if stem > 1 else None
        channels = config.input_channels if self.stem is None else self.stem.channels * stem**2
        self.first = reflect_conv(channels, widths[0])
        self.downs = nn.ModuleList(DownBlock(widths[i], widths[i + 1], norm) for i in range(depth))
        self.residuals = nn.ModuleList(ResidualBlock(widths[-1], norm) for _ in range(config.residual_blocks))
        joined = [2 * width for width in widths[:-1]] + [widths[-1]]
        self.ups = nn.ModuleList(UpBlock(joined[i + 1], widths[i], norm, stem > 1) for i in reversed(range(depth)))
        self.head: nn.Module = reflect_conv(joined[0], OUTPUT_CHANNELS)
        if self.stem is not None:
            self.head = StemHead(joined[0], OUTPUT_CHANNELS, self.stem, size, reads_lines=True)

    def plain(self, x: Tensor) -> Tensor:
        """What `extract` and `paint` read of an input (N, 3 or 7, S, S): itself, or `Stem.plain` of it."""
        return x if self.stem is None else self.stem.plain(x)

    def extract(self, x: Tensor, levels: Tensor, coarser: Tensor | None = None) -> Tensor:
        """The feature that the head and the next finer network read.

        Args:
            x: from `plain`.
            levels: (N, 1) or (1, 1) in [0, 1].
            coarser: (N, C, h, h) feature of the next coarser network, h = S/2 without a stem; None for the coarsest.

        Returns:
            (N, 2 * width, S / stem, S / stem).
        """
        style = self.level_embedding(levels)
        skips = [self.first(x if self.stem is None else self.stem(x))]
        for down in children(self.downs, DownBlock):
            skips.append(down(skips[-1], style))
        out: Tensor = skips.pop()
        if coarser is not None:  # behind stems both run on grids of one size
            out = out + (coarser if coarser.shape == out.shape else F.avg_pool2d(coarser, 2))
        for block in children(self.residuals, ResidualBlock):
            out = block(out, style)
        for up in children(self.ups, UpBlock):
            out = torch.cat([up(out, style), skips.pop()], dim=1)
        return out

    def paint(self, feature: Tensor, x: Tensor) -> Tensor:
        """The feature of `extract` and its `x` to (N, 4, S, S) in [-1, 1]: sketch and photo."""
        return torch.tanh(self.head(F.relu(feature)) if self.stem is None else self.head(feature, x))

    def forward(self, x: Tensor, levels: Tensor, coarser: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Output and feature of this resolution for x (N, 3 or 7, S, S) in [-1, 1], published signs."""
        plain = self.plain(x)
        feature = self.extract(plain, levels, coarser)
        return self.paint(feature, plain), feature


class Refiner(nn.Module):
    """G as a whole: `scales` has one network per resolution, by its size in px.

    Source: Yang et al., Deep Plastic Surgery, ECCV 2020; VITA-Group/DeepPS@3079d46 src/models.py.
    """

    def __init__(self, config: RefinerConfig) -> None:
        super().__init__()
        self.config = config
        self.scales = nn.ModuleDict({str(size): RefinerScale(config, size) for size in config.resolutions})

    def scale(self, size: int) -> RefinerScale:
        """The network of one resolution in px."""
        self.config.depth(size)
        module = self.scales[str(size)]
        assert isinstance(module, RefinerScale)  # noqa: S101 (for the type checker)
        return module

    def forward(self, inputs: Mapping[int, Tensor], level: float | Tensor, all_outputs: bool = False) -> RefinerOutput:
        """Refine sketches, from the coarsest resolution up to the finest that is given.

        Args:
            inputs: {size in px: (N, 3 or 7, size, size) in [-1, 1], published signs}, the first of the resolutions
                without a gap.
            level: refinement level in [0, 1]: a number, or (N,) with one for each sample.
            all_outputs: also paint at the coarser resolutions, whose heads only training needs.

        Raises:
            UsageError: a resolution is missing or unknown, or the level is out of its range or shape.
        """
        sizes = self.config.resolutions[: len(inputs)]
        if not inputs or set(inputs) != set(sizes):
            raise UsageError(f"inputs: expected the first of {self.config.resolutions} px, got {sorted(inputs)}")
        levels = level_column(level, inputs[sizes[0]])
        outputs: dict[int, Tensor] = {}
        features: dict[int, Tensor] = {}
        coarser: Tensor | None = None
        for size in sizes:
            scale = self.scale(size)
            plain = scale.plain(inputs[size])
            coarser = features[size] = scale.extract(plain, levels, coarser)
            if all_outputs or size == sizes[-1]:
                outputs[size] = scale.paint(coarser, plain)
        return RefinerOutput(outputs, features)


def level_column(level: float | Tensor, like: Tensor) -> Tensor:
    """Levels as a (1, 1) or (N, 1) tensor beside a batch of N.

    Raises:
        UsageError: a number outside of [0, 1], or a tensor that is not one level per sample.
    """
    if not isinstance(level, Tensor):
        return like.new_full((1, 1), check_level(level))
    if level.ndim > 1 or level.numel() not in (1, like.shape[0]):
        raise UsageError(f"level: expected a number or shape ({like.shape[0]},), got shape {tuple(level.shape)}")
    return level.to(like).reshape(-1, 1)


class EditTensors(NamedTuple):
    """What `EditingNet` returns; nothing is composited.

    Attributes:
        dilated_sketch: (N, 1, S, S) in [0, 1], line = 1: the whole sketch, smoothed and dilated for the level.
        refined_sketch: (N, 1, S, S) in [0, 1], line = 1, from G; 0 outside of the hole.
        refiner_photo: (N, 3, S, S) RGB in [-1, 1], G's own photo.
        inpainter_photo: (N, 3, S, S) RGB in [-1, 1], F's photo, the result.
    """

    dilated_sketch: Tensor
    refined_sketch: Tensor
    refiner_photo: Tensor
    inpainter_photo: Tensor


class EditingNet(nn.Module):
    """G and F together.

    Args:
        refiner: G.
        inpainter: F, of the same task and of G's finest resolution.

    Raises:
        UsageError: the two do not fit each other.

    Source: Yang et al., Deep Plastic Surgery, ECCV 2020; VITA-Group/DeepPS@3079d46 src/test.py.
    """

    def __init__(self, refiner: Refiner, inpainter: Inpainter) -> None:
        super().__init__()
        if refiner.config.input_channels != inpainter.config.input_channels:
            raise UsageError(
                f"G takes {refiner.config.input_channels} channels and F {inpainter.config.input_channels}; "
                "both must be of one task (7 for editing, 3 for synthesis)"
            )
        if refiner.config.resolutions[-1] != inpainter.config.resolution:
            raise UsageError(
                f"G ends at {refiner.config.resolutions[-1]} px and F works at {inpainter.config.resolution} px; "
                "both must be of one resolution"
            )
        self.refiner = refiner
        self.inpainter = inpainter

    @property
    def task(self) -> Task:
        """`edit` or `synthesis`."""
        return "edit" if self.inpainter.config.input_channels == EDIT_CHANNELS else "synthesis"

    @property
    def resolution(self) -> int:
        """Side of the square images, in px."""
        return self.inpainter.config.resolution

    def forward(self, photo: Tensor | None, sketch: Tensor, mask: Tensor | None, level: float | Tensor) -> EditTensors:
        """Refine the sketch and paint the photo.

        Args:
            photo: (N, 3, S, S) float32 RGB in [-1, 1], S the resolution; what lies in the hole is not read. None for
                synthesis.
            sketch: (N, 1, S, S) float32 in [0, 1], one-pixel lines, line = 1.
            mask: (N, 1, S, S) float32 in {0, 1}, hole = 1; None for synthesis.
            level: refinement level in [0, 1]: a number, (N,) with one for each sample, or (L,) for one sample at
                L levels, which then is repeated.

        Returns:
            Four tensors of N (or L) samples.

        Raises:
            UsageError: a tensor breaks its contract or has another size, or photo and mask do not fit the task.
        """
        self._check(photo, sketch, mask)
        count = level.numel() if isinstance(level, Tensor) and sketch.shape[0] == 1 else sketch.shape[0]
        levels = level_column(level, sketch.expand(count, -1, -1, -1))
        pen = smooth_sketch(sketch).expand(count, -1, -1, -1)
        dilated = dilate_sketch(pen, level, self.refiner.config.pen_px(self.resolution))
        photo = None if photo is None else photo.expand(count, -1, -1, -1)
        mask = None if mask is None else mask.expand(count, -1, -1, -1)
        inputs = refiner_inputs(dilated, photo, mask, self.refiner.config.resolutions)
        output = self.refiner(inputs, levels[:, 0]).outputs[self.resolution]
        refined, refiner_photo = split_output(output, mask)
        painted = self.inpainter(network_input(refined, photo, mask))
        return EditTensors(dilated, refined, refiner_photo, painted)

    def _check(self, photo: Tensor | None, sketch: Tensor, mask: Tensor | None) -> None:
        check_sketch(sketch)
        expected = (sketch.shape[0], self.resolution, self.resolution)
        shapes = {"sketch": sketch}
        if self.task == "synthesis":
            if photo is not None or mask is not None:
                raise UsageError("synthesis takes a sketch alone: photo and mask must be None")
        elif photo is None or mask is None:
            raise UsageError("editing takes a photo and a mask beside the sketch: neither may be None")
        else:
            check_photo(photo)
            check_mask(mask)
            shapes |= {"photo": photo, "mask": mask}
        for name, value in shapes.items():
            if (value.shape[0], *value.shape[2:]) != expected:
                count, size, _ = expected
                raise UsageError(f"{name}: expected {count} of {size} x {size} px, got shape {tuple(value.shape)}")
