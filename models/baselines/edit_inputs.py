"""What both rivals are given: photo, mask, sketch and colour in the contract's form, cut to the hole."""

from __future__ import annotations

from torch import Tensor

from dpsdata.contracts import UsageError, check_mask, check_photo, check_sketch


def check_edit(photo: Tensor, mask: Tensor, multiple_px: int, name: str) -> Tensor:
    """Check a photo and its mask; return the mask with one plane for each photo.

    Args:
        photo: (N, 3, H, W) float RGB in [-1, 1].
        mask: (N, 1, H, W) or (1, 1, H, W) float in {0, 1}, hole = 1.
        multiple_px: what H and W must be a multiple of.
        name: of the network, for errors.

    Raises:
        UsageError: a tensor breaks its contract, the sizes differ, or do not suit the network.
    """
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
    check_sketch(sketch)
    return match_plane(sketch, photo, "sketch")


def match_plane(plane: Tensor, photo: Tensor, name: str, channels: int = 1) -> Tensor:
    """Repeat one plane for every photo, or pass on those that fit; raise UsageError where it has another size."""
    wanted = (photo.shape[0], channels, *photo.shape[2:])
    if plane.ndim != 4 or plane.shape[0] not in (1, wanted[0]) or tuple(plane.shape[1:]) != wanted[1:]:
        raise UsageError(f"{name}: expected shape {wanted} to match the photo, got {tuple(plane.shape)}")
    return plane.expand(wanted)


def swap_colors(photo: Tensor) -> Tensor:
    """RGB to BGR, or back: both rivals were trained on photos as OpenCV reads them."""
    return photo.flip(1)
