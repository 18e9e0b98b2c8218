"""SC-FEGAN (Jo and Park, ICCV 2019): a U-Net of gated convolutions, guided by sketch and colour."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from dpsdata.contracts import UsageError
from dpsdata.runtime.device import keyed_generator
from models.baselines.edit_inputs import check_color, check_edit, check_noise, check_plane, swap_colors
from models.baselines.gated_conv import PairGatedConv2d, SelfGatedUpConv2d

SIZE_MULTIPLE_PX = 128
INPUT_CHANNELS = 9
_RATES = (2, 4, 8, 16)
# The demo saturates N(0, 255) to 8 bit and divides by 255 in whole numbers: 1 where the draw rounds to 255 or more.
_NOISE_THRESHOLD = 254.5 / 255


@dataclass(frozen=True)
class ScFeganConfig:
    """Sizes of SC-FEGAN; the default is the published one.

    Attributes:
        width: channels of the first layer.
    """

    width: int = 64

    def __post_init__(self) -> None:
        if self.width < 1:
            raise UsageError(f"width: expected at least 1 for SC-FEGAN, got {self.width}")


class ScFegan(nn.Module):
    """SC-FEGAN's generator; BGR lives inside of it and nowhere else.

    `parameters()` leaves out the 1,987 dead biases of the official file: they are buffers (see `SelfGatedUpConv2d`),
    so that the state dict counts 92,886,100 as the file does.

    Source: run-youngjoo/SC-FEGAN@1f9d47f model.py and ops.py.
    """

    def __init__(self, config: ScFeganConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or ScFeganConfig()
        one, two, four, eight = (config.width * factor for factor in (1, 2, 4, 8))
        self.enc1 = PairGatedConv2d(INPUT_CHANNELS, one, 7, stride=2, norm=False)
        self.enc2 = PairGatedConv2d(one, two, 5, stride=2)
        self.enc3 = PairGatedConv2d(two, four, 5, stride=2)
        for step, before in zip(range(4, 8), (four, eight, eight, eight), strict=True):
            self.add_module(f"enc{step}", PairGatedConv2d(before, eight, stride=2))
        for step, rate in enumerate(_RATES, start=1):
            self.add_module(f"dil{step}", PairGatedConv2d(eight, eight, rate=rate))
        widths = (eight, eight, eight, eight, four, two, one)
        for step in range(1, 7):
            before, after = widths[step - 1], widths[step]
            self.add_module(f"up{step}", SelfGatedUpConv2d(before, after))
            self.add_module(f"dec{step + 7}", PairGatedConv2d(2 * after, after))
        self.up7 = SelfGatedUpConv2d(one, 3)
        self.dec14 = PairGatedConv2d(3 + INPUT_CHANNELS, 3, norm=False, active=False)

    def forward(
        self,
        photo: Tensor,
        mask: Tensor,
        sketch: Tensor | None = None,
        color: Tensor | None = None,
        noise: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Paint the hole of each photo after a sketch and colour strokes.

        Args:
            photo: (N, 3, H, W) float32 RGB in [-1, 1], H and W multiples of 128 (512 as published); what lies in the
                hole is not read.
            mask: (N, 1, H, W) or (1, 1, H, W) float32 in {0, 1}, hole = 1.
            sketch: (N, 1, H, W) float32 in [0, 1], line = 1; None: nothing is drawn.
            color: (N, 3, H, W) float32 RGB in [-1, 1], -1 (black) where no colour is given; None: none at all.
            noise: (N, 1, H, W) or (1, 1, H, W) float; None: `demo_noise`, the same for each sample.
                Sketch, colour and noise are read inside of the hole only.

        Returns:
            `raw` and `composite`, (N, 3, H, W) RGB in [-1, 1].

        Raises:
            UsageError: a tensor breaks its contract, has another size, or is not of the network's type and device.
        """
        mask = check_edit(photo, mask, SIZE_MULTIPLE_PX, self, "SC-FEGAN")
        if noise is None:
            noise = demo_noise(photo.shape[2], photo.shape[3]).to(photo)
        known = swap_colors(photo) * (1 - mask)
        guides = [
            check_plane(sketch, photo),
            swap_colors(check_color(color, photo)),
            torch.ones_like(mask),
            check_noise(noise, photo),
        ]
        raw = torch.tanh(self._paint(torch.cat([known, torch.cat(guides, dim=1) * mask], dim=1)))
        return {"raw": swap_colors(raw), "composite": swap_colors(raw * mask + known)}

    def _paint(self, x: Tensor) -> Tensor:
        skips = [x]
        for step in range(1, 8):
            skips.append(self.get_submodule(f"enc{step}")(skips[-1]))
        out = skips.pop()
        for step in range(1, 5):
            out = self.get_submodule(f"dil{step}")(out)
        for step in range(1, 8):
            doubled = self.get_submodule(f"up{step}")(out)
            out = self.get_submodule(f"dec{step + 7}")(torch.cat([skips.pop(), doubled], dim=1))
        return out


def demo_noise(height: int, width: int, generator: np.random.Generator | None = None) -> Tensor:
    """Draw the noise of the published demo: (1, 1, height, width) float32, 1 with probability 0.16, else 0.

    Args:
        height: in px.
        width: in px.
        generator: where draws come from; None: the same plane for a size, always.

    Source: run-youngjoo/SC-FEGAN@1f9d47f demo.py.
    """
    generator = generator or keyed_generator(0, f"{height}x{width}", "SC-FEGAN noise")
    plane = generator.standard_normal((height, width)) >= _NOISE_THRESHOLD
    return torch.from_numpy(plane.astype(np.float32))[None, None]
