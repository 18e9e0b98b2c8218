"""Detection through the numpy door: input checks, precision and the treatment of the borders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from dpsdata.contracts import UsageError

if TYPE_CHECKING:
    from dpsdata.hed.network import HED

SMALLEST_SIDE_PX = 16
BORDERS = ("own", "reflect")


@dataclass(frozen=True)
class HEDOrigin:
    """Where the weights of a net come from; goes into manifests and previews.

    Attributes:
        name: registered name, or the file's name, or `state dict`.
        sha256: hash of the file; empty for a state dict.
        description: a few words for people.
    """

    name: str
    sha256: str
    description: str


@dataclass(frozen=True)
class DetectionSettings:
    """How a net is run.

    Attributes:
        precision: `fp32`, the reference; `fp32-winograd` on a CPU, faster and within 1e-4; or `bf16` where the
            device multiplies it in hardware.
        border: `own`: the zero padding of the network's variant. `reflect`: the photo is mirrored around its
            border before detection, as pix2pix's batch_hed.py does, so that borders carry no false edges.
    """

    precision: str = "fp32"
    border: str = "own"

    def __post_init__(self) -> None:
        if self.border not in BORDERS:
            raise UsageError(f"border: expected one of {', '.join(BORDERS)}, got {self.border!r}")


def check_images(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return uint8 RGB (N, H, W, 3) images of at least 16 px a side; raise UsageError otherwise."""
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8 or images.shape[0] == 0:
        raise UsageError(f"detect: expected uint8 RGB (N, H, W, 3), got {images.dtype} {images.shape}")
    if min(images.shape[1:3]) < SMALLEST_SIDE_PX:
        raise UsageError(f"detect: expected at least {SMALLEST_SIDE_PX} px a side, got {images.shape[1:3]}")
    return images


@torch.inference_mode()
def detect_edges(net: HED, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Edge probabilities of the fusion (N, H, W) and of the sides (N, 5, H, W), float32 in [0, 1].

    Args:
        net: the network, in eval mode, on the device to use.
        images: uint8 RGB (N, H, W, 3).
    """
    height, width = images.shape[1:3]
    pad, offset = net.variant.zero_pad_px, 0
    if net.settings.border == "reflect":
        # Half the receptive field is under 114 px, so a wider mirror changes nothing (pix2pix mirrors 128 px and
        # zero-pads 35 more); 114 mod 16 keeps the pooling phase of the Caffe form, 112 that of the others.
        offset, pad = 112 + pad % 16, 0
        around = (offset, 224 - offset)
        images = np.pad(images, ((0, 0), around, around, (0, 0)), mode="reflect")
    device = net.mean_rgb.device
    # A copy, as the caller's array may be read-only or have negative strides.
    tensor = torch.from_numpy(np.array(images)).to(device).permute(0, 3, 1, 2).float()
    with torch.autocast(device.type, torch.bfloat16, enabled=net.settings.precision == "bf16"):
        logits = net(tensor, pad)
    rows, columns = slice(offset, offset + height), slice(offset, offset + width)
    fused, sides = (torch.sigmoid(part[:, :, rows, columns].float()).cpu().numpy() for part in logits)
    return fused[:, 0], sides
