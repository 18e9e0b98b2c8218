"""Detection through the numpy door: input checks, precision and the treatment of the borders."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
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
    # A copy, as the caller's array may be read-only or have negative strides.
    fused, sides = _forward(net, images, lambda padded: torch.from_numpy(np.array(padded)).to(net.mean_rgb.device))
    return fused.cpu().numpy()[:, 0], sides.cpu().numpy()


def detect_stream(net: HED, batches: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.float32]]:
    """The fused maps (N, H, W) of one batch after the other; on a GPU one batch computes while others are copied.

    Args:
        net: the network, in eval mode, on the device to use.
        batches: uint8 RGB (N, H, W, 3).
    """
    if net.mean_rgb.device.type != "cuda":
        for images in batches:
            yield detect_edges(net, images)[0]
        return
    copies = torch.cuda.Stream(net.mean_rgb.device)  # type: ignore[no-untyped-call]
    waiting: tuple[torch.Tensor, torch.cuda.Event] | None = None
    for images in batches:
        begun = _begin_batch(net, images, copies)
        if waiting is not None:
            yield _end_batch(waiting)
        waiting = begun
    if waiting is not None:
        yield _end_batch(waiting)


@torch.inference_mode()
def _begin_batch(
    net: HED, images: NDArray[np.uint8], copies: torch.cuda.Stream
) -> tuple[torch.Tensor, torch.cuda.Event]:
    device = net.mean_rgb.device
    compute = torch.cuda.current_stream(device)

    def load(padded: NDArray[np.uint8]) -> torch.Tensor:
        pinned = torch.from_numpy(np.array(padded)).pin_memory()
        with torch.cuda.stream(copies):
            tensor = pinned.to(device, non_blocking=True)
        compute.wait_stream(copies)
        tensor.record_stream(compute)
        return tensor

    fused, _ = _forward(net, images, load)
    done = torch.cuda.Event()  # type: ignore[no-untyped-call]
    found = torch.empty(fused.shape, dtype=fused.dtype, pin_memory=True)
    found.copy_(fused, non_blocking=True)
    done.record(compute)
    return found, done


def _end_batch(waiting: tuple[torch.Tensor, torch.cuda.Event]) -> NDArray[np.float32]:
    found, done = waiting
    done.synchronize()
    maps: NDArray[np.float32] = found.numpy()[:, 0]
    return maps


def _forward(
    net: HED, images: NDArray[np.uint8], load: Callable[[NDArray[np.uint8]], torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities of the fusion (N, 1, H, W) and of the sides (N, 5, H, W) on the device of the net."""
    height, width = images.shape[1:3]
    pad, offset = net.variant.zero_pad_px, 0
    if net.settings.border == "reflect":
        # Half the receptive field is under 114 px, so a wider mirror changes nothing (pix2pix mirrors 128 px and
        # zero-pads 35 more); 114 mod 16 keeps the pooling phase of the Caffe form, 112 that of the others.
        offset, pad = 112 + pad % 16, 0
        around = (offset, 224 - offset)
        images = np.pad(images, ((0, 0), around, around, (0, 0)), mode="reflect")
    tensor = load(images).permute(0, 3, 1, 2).float()
    with torch.autocast(tensor.device.type, torch.bfloat16, enabled=net.settings.precision == "bf16"):
        logits = net(tensor, pad)
    rows, columns = slice(offset, offset + height), slice(offset, offset + width)
    fused, sides = (torch.sigmoid(part[:, :, rows, columns].float()) for part in logits)
    return fused, sides
