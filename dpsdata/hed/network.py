"""HED (holistically-nested edge detection): one network class for the full and the compact nets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_weights

from dpsdata.contracts import UsageError

MIN_SIDE_PX = 16
BORDERS = ("own", "reflect")
CONV_COUNTS = (2, 2, 3, 3, 3)
WIDTH_FACTORS = (1, 2, 4, 8, 8)
VGG_MEAN_RGB = (122.67891434, 116.66876762, 104.00698793)
FULL_WIDTH = 64


@dataclass(frozen=True)
class HEDVariant:
    """How one published form of HED pads, pools, orders colours and combines its five sides.

    Attributes:
        name: `caffe`, `sniklaus`, `controlnet` or `compact`.
        zero_pad_px: zero border around the mean-subtracted image. The Caffe form pads its first
            convolution by 35 and crops by offsets that amount to 34 px around a padding-1 trunk; 34
            mod 16 = 2 shifts the pooling grid by 2 px, which is why no other border gives its numbers.
        ceil_pools: whether the 2x2 pools round odd sizes up (Caffe) or down (PyTorch ports).
        has_fuse: learned 1x1 fusion of the five logits, or their plain mean.
        is_bgr: channel order that the weights were trained with.

    Source: s9xie/hed deploy.prototxt; sniklaus/pytorch-hed; lllyasviel/ControlNet annotator/hed.
    """

    name: str
    zero_pad_px: int
    ceil_pools: bool
    has_fuse: bool
    is_bgr: bool


VARIANTS = {
    variant.name: variant
    for variant in (
        HEDVariant("caffe", zero_pad_px=34, ceil_pools=True, has_fuse=True, is_bgr=True),
        HEDVariant("sniklaus", zero_pad_px=0, ceil_pools=False, has_fuse=True, is_bgr=True),
        HEDVariant("controlnet", zero_pad_px=0, ceil_pools=False, has_fuse=False, is_bgr=False),
        HEDVariant("compact", zero_pad_px=0, ceil_pools=True, has_fuse=True, is_bgr=False),
    )
}


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


class HEDLogits(NamedTuple):
    """Logits before the sigmoid."""

    fused: Tensor  # (N, 1, H, W)
    sides: Tensor  # (N, 5, H, W)


class HED(nn.Module):
    """HED: a VGG-like trunk with a score map at each of five scales and their fusion.

    Width 64 with the `caffe` variant is the published network (14,716,171 parameters).

    Args:
        width: channels of the first stage; the others have 2, 4, 8 and 8 times as many.
        variant: which published form to run, see `VARIANTS`.
        batch_norm: normalise after every 3x3 convolution; for training only, see `fold_batch_norm`.
        mean_rgb: subtracted from the image, RGB, 0 to 255.

    Source: Xie and Tu, Holistically-Nested Edge Detection, ICCV 2015, section 3.
    """

    mean_rgb: Tensor
    settings: DetectionSettings
    origin: HEDOrigin

    def __init__(
        self,
        width: int = FULL_WIDTH,
        variant: str = "caffe",
        *,
        batch_norm: bool = False,
        mean_rgb: tuple[float, float, float] = VGG_MEAN_RGB,
    ) -> None:
        super().__init__()
        if variant not in VARIANTS:
            raise UsageError(f"HED variant: expected one of {', '.join(VARIANTS)}, got {variant!r}")
        if width < 1:
            raise UsageError(f"HED width: expected a positive number of channels, got {width}")
        self.width = width
        self.settings = DetectionSettings()
        self.origin = HEDOrigin("untrained", "", "HED, untrained")
        self.variant = VARIANTS[variant]
        self.register_buffer("mean_rgb", torch.tensor(mean_rgb).view(1, 3, 1, 1), persistent=False)
        widths = [width * factor for factor in WIDTH_FACTORS]
        self.stages = nn.ModuleList()
        self.norms = nn.ModuleList()
        channels = 3
        for stage_width, count in zip(widths, CONV_COUNTS, strict=True):
            stage, norms = nn.ModuleList(), nn.ModuleList()
            for _ in range(count):
                stage.append(nn.Conv2d(channels, stage_width, 3, padding=1))
                norms.append(nn.BatchNorm2d(stage_width) if batch_norm else nn.Identity())
                channels = stage_width
            self.stages.append(stage)
            self.norms.append(norms)
        self.sides = nn.ModuleList(nn.Conv2d(stage_width, 1, 1) for stage_width in widths)
        self.fuse = nn.Conv2d(len(widths), 1, 1) if self.variant.has_fuse else None

    def features(self, images: Tensor, zero_pad_px: int = 0) -> list[Tensor]:
        """Activations at the end of each stage, at 1, 1/2, 1/4, 1/8 and 1/16 of the (padded) size.

        Args:
            images: (N, 3, H, W) float RGB in [0, 255].
            zero_pad_px: zero border around the mean-subtracted image.
        """
        x = images - self.mean_rgb
        if self.variant.is_bgr:
            x = x.flip(1)
        if zero_pad_px:
            x = F.pad(x, [zero_pad_px] * 4)
        x = x.contiguous(memory_format=torch.channels_last)
        outputs = []
        for index, (stage, norms) in enumerate(zip(self.stages, self.norms, strict=True)):
            if index:
                x = F.max_pool2d(x, 2, ceil_mode=self.variant.ceil_pools)
            for conv, norm in zip(_children(stage), _children(norms), strict=True):
                x = F.relu(norm(conv(x)), inplace=True)
            outputs.append(x)
        return outputs

    def forward(self, images: Tensor, zero_pad_px: int | None = None) -> HEDLogits:
        """Logits of the five sides and of their fusion.

        Args:
            images: (N, 3, H, W) float RGB in [0, 255]; H and W of at least 16 px.
            zero_pad_px: zero border; None for the one of the variant.
        """
        height, width = images.shape[-2:]
        border = self.variant.zero_pad_px if zero_pad_px is None else zero_pad_px
        sides = []
        for index, (score, feature) in enumerate(zip(self.sides, self.features(images, border), strict=True)):
            side = score(feature).float()
            if index and self.variant.ceil_pools:
                side = F.interpolate(side, scale_factor=2**index, mode="bilinear", align_corners=False)
            elif index:
                side = F.interpolate(side, size=(height, width), mode="bilinear", align_corners=False)
            sides.append(side[..., border : border + height, border : border + width])
        stacked = torch.cat(sides, dim=1)
        if self.fuse is None:
            return HEDLogits(stacked.mean(dim=1, keepdim=True), stacked)
        with torch.autocast(stacked.device.type, enabled=False):
            return HEDLogits(self.fuse(stacked), stacked)

    @overload
    def detect(self, images: NDArray[np.uint8], sides: Literal[False] = False) -> NDArray[np.float32]: ...

    @overload
    def detect(
        self, images: NDArray[np.uint8], sides: Literal[True]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]: ...

    def detect(
        self, images: NDArray[np.uint8], sides: bool = False
    ) -> NDArray[np.float32] | tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Edge probability of every pixel, as `self.settings` say.

        Args:
            images: uint8 RGB (N, H, W, 3); H and W of at least 16 px.
            sides: return the maps of the five scales too.

        Returns:
            float32 (N, H, W) in [0, 1], 1 = edge; with `sides` a pair, the second float32 (N, 5, H, W).

        Raises:
            UsageError: wrong shape, type or size.
        """
        fused, side_maps = detect_edges(self, check_images(images))
        return (fused, side_maps) if sides else fused


def _children(modules: nn.Module) -> list[nn.Module]:
    return list(modules.children())


def fold_batch_norm(net: HED) -> HED:
    """A copy of a trained net in eval mode with every BatchNorm folded into its convolution."""
    mean = net.mean_rgb.flatten().tolist()
    folded = HED(net.width, net.variant.name, mean_rgb=(mean[0], mean[1], mean[2]))
    state = {key: value for key, value in net.state_dict().items() if not key.startswith("norms.")}
    for index, (stage, norms) in enumerate(zip(net.stages, net.norms, strict=True)):
        for number, (conv, norm) in enumerate(zip(_children(stage), _children(norms), strict=True)):
            if isinstance(norm, nn.BatchNorm2d) and isinstance(conv, nn.Conv2d):
                if norm.running_mean is None or norm.running_var is None:
                    raise UsageError("fold_batch_norm: a BatchNorm without running statistics cannot be folded")
                weight, bias = fuse_conv_bn_weights(
                    conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
                )
                state[f"stages.{index}.{number}.weight"] = weight.detach()
                state[f"stages.{index}.{number}.bias"] = bias.detach()
    folded.load_state_dict(state)
    return folded.eval()


def check_images(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return uint8 RGB (N, H, W, 3) images of at least 16 px a side; raise UsageError otherwise."""
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8 or images.shape[0] == 0:
        raise UsageError(f"detect: expected uint8 RGB (N, H, W, 3), got {images.dtype} {images.shape}")
    if min(images.shape[1:3]) < MIN_SIDE_PX:
        raise UsageError(f"detect: expected at least {MIN_SIDE_PX} px a side, got {images.shape[1:3]}")
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
