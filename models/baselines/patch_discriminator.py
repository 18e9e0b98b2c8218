"""SN-PatchGAN, the discriminator of both baselines: spectrally normalised strided convolutions, judged everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dpsdata.contracts import UsageError
from models.baselines.edit_inputs import match_plane, swap_colors
from models.baselines.tensorflow.operators import SameConv2d, convolve_same
from models.networks.layers import LEAKY_SLOPE

_FACTORS = (1, 2, 4, 4, 4, 4)
_NORM_EPS = 1e-12


@dataclass(frozen=True)
class SNPatchDiscriminatorConfig:
    """Sizes of the discriminator; the defaults are those of DeepFillv2.

    Attributes:
        width: channels of the first convolution; the six have 1, 2, 4, 4, 4, 4 times as many.
        sketch: whether it reads the sketch in the hole.
        color: whether it reads the colour in the hole.
        kernel_px: side of the kernels.
        sketch_first: order of the input: sketch, colour, mask (SC-FEGAN) or mask, sketch (DeepFillv2).
        leaky_end: whether the scores pass a leaky ReLU, as in DeepFillv2.
    """

    width: int = 64
    sketch: bool = False
    color: bool = False
    kernel_px: int = 5
    sketch_first: bool = False
    leaky_end: bool = True

    def __post_init__(self) -> None:
        if self.width < 1 or self.kernel_px < 1:
            raise UsageError(
                f"discriminator: expected width and kernel_px of at least 1, got {self.width} and {self.kernel_px}"
            )

    @property
    def input_channels(self) -> int:
        """Photo and mask, and what else it reads."""
        return 4 + self.sketch + 3 * self.color


def scfegan_discriminator_config(width: int = 64) -> SNPatchDiscriminatorConfig:
    """SC-FEGAN's discriminator as we train it; it was never released.

    Kernels of 3, six convolutions of stride 2, no leaky ReLU behind the last one: its loss reads the scores
    without a hinge, and a slope of 0.2 on one side only would pull the two sides apart.

    Source: Jo and Park, SC-FEGAN, ICCV 2019, section 3.
    """
    return SNPatchDiscriminatorConfig(width, sketch=True, color=True, kernel_px=3, sketch_first=True, leaky_end=False)


class SpectralConv2d(SameConv2d):
    """A SAME convolution of stride 2 whose kernel is divided by its largest singular value.

    Every call takes one power step and keeps the vector, when judging too, as published. Gradients pass
    through that step.

    Source: neuralgym, ops/gan_ops.py.
    """

    power_vector: Tensor

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride=2)
        # Not random: on `meta`, torch.randn loads all of torch's decompositions, for ten seconds.
        self.register_buffer("power_vector", torch.ones(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', ceil(H / 2), ceil(W / 2))."""
        matrix = self.weight.flatten(1)
        # A copy, since the buffer changes below and the backward pass reads what was there before.
        right = _unit(self.power_vector.clone() @ matrix)
        left = _unit(matrix @ right)
        spread = left @ (matrix @ right)
        with torch.no_grad():
            self.power_vector.copy_(left)
        return convolve_same(x, self.weight / spread, self.bias, stride=2)


class SNPatchDiscriminator(nn.Module):
    """Judges every patch of a photo.

    Source: JiahuiYu/generative_inpainting@3a53243 inpaint_model.py (build_sn_patch_gan_discriminator).
    """

    def __init__(self, config: SNPatchDiscriminatorConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or SNPatchDiscriminatorConfig()
        channels = (config.input_channels, *(config.width * factor for factor in _FACTORS))
        for step, (before, after) in enumerate(pairwise(channels), start=1):
            self.add_module(f"conv{step}", SpectralConv2d(before, after, config.kernel_px))

    def forward(self, photo: Tensor, mask: Tensor, sketch: Tensor | None = None, color: Tensor | None = None) -> Tensor:
        """Score photos; real and completed ones go in as one batch, so that both see the same kernels.

        Args:
            photo: (N, 3, H, W) float32 RGB in [-1, 1].
            mask: (N, 1, H, W) or (1, 1, H, W) float32, hole = 1.
            sketch: (N, 1, H, W) in [0, 1], line = 1; cut to the hole here.
            color: (N, 3, H, W) RGB in [-1, 1]; cut to the hole here.

        Returns:
            (N, h w C) scores, row by row with the channels last; h and w are H / 64 and W / 64, rounded up.

        Raises:
            UsageError: a tensor that this discriminator reads is missing or has another size than the photo.
        """
        mask = match_plane(mask, photo, "mask")
        planes = [mask]
        guides = []
        if self.config.sketch:
            guides.append(match_plane(_given(sketch, "sketch"), photo, "sketch") * mask)
        if self.config.color:
            guides.append(swap_colors(match_plane(_given(color, "color"), photo, "color", channels=3)) * mask)
        planes = [*guides, *planes] if self.config.sketch_first else [*planes, *guides]
        out = torch.cat([swap_colors(photo), *planes], dim=1)
        for step in range(1, len(_FACTORS) + 1):
            out = self.get_submodule(f"conv{step}")(out)
            if step < len(_FACTORS) or self.config.leaky_end:
                out = F.leaky_relu(out, LEAKY_SLOPE)
        return out.permute(0, 2, 3, 1).flatten(1)


def _unit(vector: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(vector)
    return vector / (length + _NORM_EPS)


def _given(plane: Tensor | None, name: str) -> Tensor:
    if plane is None:
        raise UsageError(f"{name}: this discriminator reads it, so it cannot be None")
    return plane
