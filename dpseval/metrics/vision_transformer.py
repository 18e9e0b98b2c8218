"""Features of DINOv2 (for FD-DINOv2) and CLIP (for CMMD), from weights that a person installs.

Source: Oquab et al., DINOv2, 2023, facebookresearch/dinov2; Stein et al., Exposing flaws of generative model evaluation
metrics, NeurIPS 2023 (class token, 224 px, bicubic with antialiasing); Radford et al., CLIP, 2021; Jayasumana et al.,
Rethinking FID, CVPR 2024, google-research cmmd/embedding.py (projected class token, 336 px, bicubic without
antialiasing).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from dpsdata import weights
from dpsdata.images.arrays import photos_to_planes
from dpsdata.runtime.device import choose_device
from dpsdata.weights.known.vision_transformers import CLIP, PATCH_PX, Transformer, take_transformer
from dpsdata.weights.reading import read_state
from dpsdata.weights.store import sha256_file

HEAD_WIDTH = 64
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CLIP_COLOURS = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
_OFFSET = 0.1  # of DINOv2's resized positions, in patches: it kept their count from rounding down


class TransformerFeatures:
    """A vision transformer that turns photos into vectors.

    Args:
        kind: `DINOV2` or `CLIP`.
        device: `auto`, `cpu`, `cuda`, `cuda:N`.
        state: its tensors; None for the installed ones.

    Attributes:
        name: of the weights.
        prep: name of the preprocessing.
        weights_id: SHA-256 of the weight file; empty for a state dict.

    Raises:
        MissingError: not installed (names the command that gets it), or another network.
        UsageError: no such device.
    """

    def __init__(self, kind: Transformer, *, device: str = "cpu", state: Mapping[str, Any] | None = None) -> None:
        self.kind, self.name = kind, kind.weights
        self._is_clip = kind.weights == CLIP.weights
        self.prep = f"bicubic{'' if self._is_clip else '-pillow'}-{kind.input_px}"
        self._device = choose_device(device)
        self.weights_id = ""
        if state is None:
            path = weights.weights_path(kind.weights)
            self.weights_id = sha256_file(path)
            state = read_state(path)[0]
        tensors = take_transformer(kind, state, kind.weights)
        self._tensors = {key: value.to(self._device) for key, value in tensors.items()}
        self._positions = self._resize_positions()

    @torch.inference_mode()
    def extract(self, photos: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Features of uint8 RGB (N, H, W, 3) photos: float32 (N, 1024) of DINOv2, (N, 768) of CLIP.

        Raises:
            UsageError: another type or shape.
        """
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            return np.asarray(self.forward(self._prepare(photos)).cpu().numpy(), np.float32)

    def _prepare(self, photos: NDArray[np.uint8]) -> Tensor:
        side = (self.kind.input_px, self.kind.input_px)
        if self._is_clip:
            pixels = photos_to_planes(photos) / 255
            pixels = F.interpolate(pixels, size=side, mode="bicubic", align_corners=False)
        else:
            resized = [np.asarray(Image.fromarray(photo).resize(side, Image.Resampling.BICUBIC)) for photo in photos]
            pixels = photos_to_planes(np.stack(resized)) / 255
        mean, deviation = (
            torch.tensor(part)[:, None, None] for part in (_CLIP_COLOURS if self._is_clip else _IMAGENET)
        )
        return ((pixels - mean) / deviation).to(self._device)

    def forward(self, prepared: Tensor) -> Tensor:
        """Class token of (N, 3, S, S) prepared photos, after the last norm and, of CLIP, the projection."""
        state = self._tensors
        patches = F.conv2d(
            prepared, state["patch_embed.proj.weight"], state.get("patch_embed.proj.bias"), stride=PATCH_PX
        )
        x = torch.cat([state["cls_token"].expand(len(prepared), -1, -1), patches.flatten(2).mT], dim=1)
        x = x + self._positions
        if self._is_clip:
            x = self._norm(x, "norm_pre")
        for index in range(self.kind.depth):
            x = self._block(x, f"blocks.{index}.")
        x = self._norm(x[:, 0], "norm")
        return F.linear(x, state["proj.weight"]) if self._is_clip else x

    def _block(self, x: Tensor, place: str) -> Tensor:
        state = self._tensors
        count, tokens, width = x.shape
        three = self._linear(self._norm(x, f"{place}norm1"), f"{place}attn.qkv")
        q, k, v = three.reshape(count, tokens, 3, width // HEAD_WIDTH, HEAD_WIDTH).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(count, tokens, width)
        x = x + self._linear(seen, f"{place}attn.proj") * state.get(f"{place}ls1.gamma", 1.0)
        hidden = self._linear(self._norm(x, f"{place}norm2"), f"{place}mlp.fc1")
        hidden = hidden * torch.sigmoid(1.702 * hidden) if self._is_clip else F.gelu(hidden)
        return x + self._linear(hidden, f"{place}mlp.fc2") * state.get(f"{place}ls2.gamma", 1.0)

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self._tensors[f"{name}.weight"], self._tensors[f"{name}.bias"])

    def _norm(self, x: Tensor, name: str) -> Tensor:
        gain, bias = self._tensors[f"{name}.weight"], self._tensors[f"{name}.bias"]
        return F.layer_norm(x, (x.shape[-1],), gain, bias, 1e-5 if self._is_clip else 1e-6)

    def _resize_positions(self) -> Tensor:
        stored = self._tensors["pos_embed"]
        side, old = self.kind.input_px // PATCH_PX, round((stored.shape[1] - 1) ** 0.5)
        if side == old:
            return stored
        grid = stored[:, 1:].reshape(1, old, old, -1).permute(0, 3, 1, 2)
        scale = (side + _OFFSET) / old
        grid = F.interpolate(grid, scale_factor=(scale, scale), mode="bicubic")
        return torch.cat([stored[:, :1], grid.flatten(2).mT], dim=1)
