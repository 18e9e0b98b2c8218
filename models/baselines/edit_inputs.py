"""What both baselines are given: photo, mask, sketch and colour in the contract's form, cut to the hole."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dpsdata.contracts import UsageError, check_mask, check_photo, check_sketch


def check_edit(photo: Tensor, mask: Tensor, multiple_px: int, net: nn.Module, name: str) -> Tensor:
    """Check a photo and its mask; return the mask with one plane for each photo.

    Args:
        photo: (N, 3, H, W) float RGB in [-1, 1].
        mask: (N, 1, H, W) or (1, 1, H, W) float in {0, 1}, hole = 1.
        multiple_px: what H and W must be a multiple of.
        net: the network; photo and mask have to be of its type and on its device.
        name: of the network, for errors.

    Raises:
        UsageError: a tensor breaks its contract, the sizes differ, or do not suit the network.
    """
    like = next(net.parameters())
    _check_place(photo, like, "photo")
    _check_place(mask, like, "mask")
    check_photo(photo)
    check_mask(mask)
    height, width = photo.shape[2:]
    if height % multiple_px or width % multiple_px:
        raise UsageError(
            f"photo: {name} takes a height and a width that are multiples of {multiple_px} px, "
            f"got {height} x {width}; resize or pad it first"
        )
    return match_plane(mask, photo, "mask")


def check_plane(sketch: Tensor | None, photo: Tensor) -> Tensor:
    """Return the sketch of a photo, (N, 1, H, W) in [0, 1], line = 1; where it is None, one without lines.

    Raises:
        UsageError: it breaks its contract or has another size than the photo.
    """
    if sketch is None:
        return photo.new_zeros((photo.shape[0], 1, *photo.shape[2:]))
    _check_place(sketch, photo, "sketch")
    check_sketch(sketch)
    return match_plane(sketch, photo, "sketch")


def check_color(color: Tensor | None, photo: Tensor) -> Tensor:
    """Return the colour strokes of a photo, (N, 3, H, W) RGB in [-1, 1]; where they are None, black, which is none.

    Raises:
        UsageError: they break their contract or have another size than the photo.
    """
    if color is None:
        return torch.full_like(photo, -1.0)
    _check_place(color, photo, "color")
    color = match_plane(color, photo, "color", channels=3)
    try:
        check_photo(color)
    except UsageError as error:
        raise UsageError(str(error).replace("photo", "color", 1)) from None
    return color


def check_noise(noise: Tensor, photo: Tensor) -> Tensor:
    """Return the noise with one plane for each photo; raise UsageError where it has another size or is not finite."""
    _check_place(noise, photo, "noise")
    if not bool(torch.isfinite(noise).all()):
        raise UsageError("noise: expected finite numbers, got NaN or infinity")
    return match_plane(noise, photo, "noise")


def match_plane(plane: Tensor, photo: Tensor, name: str, channels: int = 1) -> Tensor:
    """Repeat one plane for every photo, or pass on those that fit; raise UsageError where it has another size."""
    wanted = (photo.shape[0], channels, *photo.shape[2:])
    if plane.ndim != 4 or plane.shape[0] not in (1, wanted[0]) or tuple(plane.shape[1:]) != wanted[1:]:
        raise UsageError(f"{name}: expected shape {wanted} to match the photo, got {tuple(plane.shape)}")
    return plane.expand(wanted)


def _check_place(plane: Tensor, like: Tensor, name: str) -> None:
    wanted = f"a {_short(like.dtype)} tensor on {like.device}"
    if not isinstance(plane, Tensor):
        raise UsageError(f"{name}: expected {wanted}, got {type(plane).__name__}")
    if plane.dtype != like.dtype or plane.device != like.device:
        raise UsageError(f"{name}: expected {wanted}, got {_short(plane.dtype)} on {plane.device}")


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def swap_colors(photo: Tensor) -> Tensor:
    """RGB to BGR, or back: both baselines were trained on photos as OpenCV reads them."""
    return photo.flip(1)
