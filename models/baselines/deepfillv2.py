"""DeepFillv2 (Yu et al., ICCV 2019): two stages of gated convolutions with contextual attention between."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dpsdata.contracts import UsageError
from models.baselines.edit_inputs import check_edit, check_plane, swap_colors
from models.baselines.gated_conv import SplitGatedConv2d
from models.baselines.tensorflow.operators import SameConv2d, resize_nearest

_RATE = 2
_KEY_PX = 3
_VALUE_PX = 2 * _RATE
_SHARPNESS = 10.0
_MIN_NORM = 1e-4
# A 512 px sample has 2^24 scores; about three maps of this many floats are alive at once, 0.4 GB.
_SCORES_AT_ONCE = 2**25


def attend(features: Tensor, mask: Tensor, fuse: bool = True) -> Tensor:
    """Rebuild feature maps from patches of their known part.

    The published code takes the mask of the first sample for the whole batch; here each sample has its own.

    Args:
        features: (N, C, H, W), H and W even; query, key and value in one.
        mask: (N, 1, H', W') or (1, 1, H', W') float32 in {0, 1}, hole = 1, of the photo or of the feature maps' size.
        fuse: whether scores are summed along both diagonals, so that neighbours borrow from neighbours.

    Returns:
        (N, C, H, W).

    Raises:
        UsageError: a size is odd, or the masks are neither one nor one for each sample.

    Source: JiahuiYu/generative_inpainting@3a53243 inpaint_ops.py (contextual_attention).
    """
    count, _, height, width = features.shape
    if height % 2 or width % 2:
        raise UsageError(f"features: expected an even height and width for attention, got {height} x {width}")
    if mask.shape[0] not in (1, count):
        raise UsageError(f"mask: expected 1 or {count} of them for attention, got {mask.shape[0]}")
    valid = _find_valid_keys(mask, height, width).expand(count, -1, -1)
    group = max(1, _SCORES_AT_ONCE // valid.shape[2] ** 2)
    parts = [
        _attend_group(some, known, fuse)
        for some, known in zip(torch.split(features, group), torch.split(valid, group), strict=True)
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _find_valid_keys(mask: Tensor, height: int, width: int) -> Tensor:
    """(N, 1, L): 1 where the 3x3 patch around a key holds no hole; what lies beyond the border counts as known."""
    # In two steps, since one step from the photo's size picks other pixels.
    coarse = resize_nearest(resize_nearest(mask, height, width), height // _RATE, width // _RATE)
    return (F.max_pool2d(coarse, _KEY_PX, stride=1, padding=1) == 0).to(mask.dtype).flatten(2)


def _attend_group(features: Tensor, valid: Tensor, fuse: bool) -> Tensor:
    height, width = features.shape[2] // _RATE, features.shape[3] // _RATE
    queries = F.unfold(resize_nearest(features, height, width), _KEY_PX, padding=1)
    norms = torch.linalg.vector_norm(queries, dim=1, keepdim=True).clamp_min(_MIN_NORM)
    scores = queries.transpose(1, 2) @ (queries / norms)
    values = F.unfold(features, _VALUE_PX, stride=_RATE, padding=_RATE // 2)
    if fuse:
        # The second sum runs column by column. Keys and queries stay in that order up to the small output.
        scores = _sum_diagonals(_by_columns(_sum_diagonals(scores), height, width))
        valid = _transpose_plane(valid, height, width)
        values = _transpose_plane(values, height, width)
    weights = torch.softmax(scores * (valid * _SHARPNESS), dim=2) * valid
    patches = (weights @ values.transpose(1, 2)).transpose(1, 2)
    if fuse:
        patches = _transpose_plane(patches, width, height)
    size = (features.shape[2], features.shape[3])
    return F.fold(patches, size, _VALUE_PX, stride=_RATE, padding=_RATE // 2) / 4.0


def _sum_diagonals(scores: Tensor) -> Tensor:
    """Add to each (query, key) its neighbours on the diagonal; line ends wrap, as published."""
    total = scores.clone()
    total[:, 1:, 1:] += scores[:, :-1, :-1]
    total[:, :-1, :-1] += scores[:, 1:, 1:]
    return total


def _by_columns(scores: Tensor, height: int, width: int) -> Tensor:
    """(N, L, L) with both axes row by row to the same column by column."""
    grid = scores.view(-1, height, width, height, width)
    return grid.permute(0, 2, 1, 4, 3).reshape(scores.shape)


def _transpose_plane(rows: Tensor, height: int, width: int) -> Tensor:
    """(N, C, L) of a height x width plane to that of its transpose."""
    return rows.reshape(*rows.shape[:2], height, width).transpose(2, 3).flatten(2)


SIZE_MULTIPLE_PX = 8
_RATES = (2, 4, 8, 16)


@dataclass(frozen=True)
class DeepFillv2Config:
    """Sizes of DeepFillv2; the defaults are the published ones.

    Attributes:
        width: filters of the first layer, counted before the split into feature and gate.
        guided: whether it reads a sketch (6 input channels instead of 5).
    """

    width: int = 48
    guided: bool = False

    def __post_init__(self) -> None:
        if self.width < 4 or self.width % 4:
            raise UsageError(f"width: expected a multiple of 4 for DeepFillv2, got {self.width}")

    @property
    def input_channels(self) -> int:
        """Channels that the first stage reads."""
        return 6 if self.guided else 5


class DeepFillv2(nn.Module):
    """DeepFillv2's generator; BGR lives inside of it and nowhere else.

    Source: JiahuiYu/generative_inpainting@3a53243 inpaint_model.py.
    """

    def __init__(self, config: DeepFillv2Config | None = None) -> None:
        super().__init__()
        self.config = config = config or DeepFillv2Config()
        width = config.width
        self.coarse = nn.Sequential(
            OrderedDict(
                **_encoder("", config.input_channels, width, (2, 2, 4)),
                **_atrous("", width),
                conv11=SplitGatedConv2d(2 * width, 4 * width),
                conv12=SplitGatedConv2d(2 * width, 4 * width),
                **_decoder("", width),
            )
        )
        self.hallucination = nn.Sequential(OrderedDict(**_encoder("x", 3, width, (1, 2, 2)), **_atrous("x", width)))
        self.matching = nn.Sequential(_encoder("pm", 3, width, (1, 2, 4), last="relu"))
        self.borrowing = nn.Sequential(
            OrderedDict(pmconv9=SplitGatedConv2d(2 * width, 4 * width), pmconv10=SplitGatedConv2d(2 * width, 4 * width))
        )
        self.merging = nn.Sequential(
            OrderedDict(
                allconv11=SplitGatedConv2d(4 * width, 4 * width),
                allconv12=SplitGatedConv2d(2 * width, 4 * width),
                **_decoder("all", width),
            )
        )

    def forward(
        self,
        photo: Tensor,
        mask: Tensor,
        sketch: Tensor | None = None,
        color: Tensor | None = None,
        noise: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Fill the hole of each photo.

        Args:
            photo: (N, 3, H, W) float32 RGB in [-1, 1], H and W multiples of 8; what lies in the hole is not read.
            mask: (N, 1, H, W) or (1, 1, H, W) float32 in {0, 1}, hole = 1.
            sketch: (N, 1, H, W) float32 in [0, 1], line = 1, read inside of the hole; None: nothing is drawn. Read
                by the guided network only.
            color: not read.
            noise: not read.

        Returns:
            `raw`, `composite` and `stage1`, (N, 3, H, W) RGB in [-1, 1]; `attention_in` and `attention_out`,
            (N, 2 width, H/4, W/4).

        Raises:
            UsageError: a tensor breaks its contract, has another size, or is not of the network's type and device.
        """
        mask = check_edit(photo, mask, SIZE_MULTIPLE_PX, self, "DeepFillv2")
        known = swap_colors(photo) * (1 - mask)
        # The ones let the network see where zero padding begins.
        planes = [known, torch.ones_like(mask), mask]
        if self.config.guided:
            planes.insert(1, check_plane(sketch, photo) * mask)
        stage1 = torch.tanh(self.coarse(torch.cat(planes, dim=1)))
        filled = stage1 * mask + known
        attention_in = self.matching(filled)
        attention_out = attend(attention_in, mask)
        merged = torch.cat([self.hallucination(filled), self.borrowing(attention_out)], dim=1)
        raw = torch.tanh(self.merging(merged))
        return {
            "raw": swap_colors(raw),
            "composite": swap_colors(raw * mask + known),
            "stage1": swap_colors(stage1),
            "attention_in": attention_in,
            "attention_out": attention_out,
        }


def _encoder(
    prefix: str, in_channels: int, width: int, factors: tuple[int, int, int], last: str = "elu"
) -> OrderedDict[str, nn.Module]:
    """The first six layers of a branch, to a quarter of the size; factors of layers 2, 3 and 4 are in widths."""
    second, third, fourth = (factor * width for factor in factors)
    return OrderedDict(
        {
            f"{prefix}conv1": SplitGatedConv2d(in_channels, width, kernel_size=5),
            f"{prefix}conv2_downsample": SplitGatedConv2d(width // 2, second, stride=2),
            f"{prefix}conv3": SplitGatedConv2d(second // 2, third),
            f"{prefix}conv4_downsample": SplitGatedConv2d(third // 2, fourth, stride=2),
            f"{prefix}conv5": SplitGatedConv2d(fourth // 2, 4 * width),
            f"{prefix}conv6": SplitGatedConv2d(2 * width, 4 * width, activation="relu" if last == "relu" else "elu"),
        }
    )


def _atrous(prefix: str, width: int) -> OrderedDict[str, nn.Module]:
    """Four dilated layers."""
    return OrderedDict(
        (f"{prefix}conv{7 + step}_atrous", SplitGatedConv2d(2 * width, 4 * width, rate=rate))
        for step, rate in enumerate(_RATES)
    )


def _decoder(prefix: str, width: int) -> OrderedDict[str, nn.Module]:
    """Back to full size; the last layer has no gate."""
    return OrderedDict(
        {
            f"{prefix}conv13_upsample": SplitGatedConv2d(2 * width, 2 * width, doubles=True),
            f"{prefix}conv14": SplitGatedConv2d(width, 2 * width),
            f"{prefix}conv15_upsample": SplitGatedConv2d(width, width, doubles=True),
            f"{prefix}conv16": SplitGatedConv2d(width // 2, width // 2),
            f"{prefix}conv17": SameConv2d(width // 4, 3, 3),
        }
    )
