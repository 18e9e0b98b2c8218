"""A photo's own colour space: its ICC profile, and the way from there to sRGB, which the networks see, and back."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

_MAX_PROFILE_BYTES = 16 * 2**20
# Profiles of sRGB differ from one another by their rounding.
_SAME_LEVELS = 2


class ColorSpace:
    """The colours of one profile.

    Args:
        profile: of an RGB or a grey space.

    Raises:
        ValueError: it cannot be read, or has no way back from sRGB.
    """

    def __init__(self, profile: bytes) -> None:
        own = open_profile(profile)
        mode = {"RGB": "RGB", "GRAY": "L"}.get(profile_kind(profile))
        if mode is None:
            raise ValueError("a profile of neither RGB nor grey")
        self.profile, self._mode = profile, mode
        standard = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
        try:
            self._to_srgb = _make_transform(own, standard, mode, "RGB")
            self._from_srgb = _make_transform(standard, own, "RGB", mode)
        except ImageCms.PyCMSError as error:
            raise ValueError(str(error)) from None

    @property
    def is_srgb(self) -> bool:
        """Whether the conversion changes next to nothing."""
        steps = np.linspace(0, 255, 9, dtype=np.uint8)
        grid = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(9, 81, 3)
        if self._mode == "L":
            grid = np.repeat(steps[None, :, None], 3, axis=2)
        return bool(np.abs(self.to_srgb(grid).astype(int) - grid).max() <= _SAME_LEVELS)

    def to_srgb(self, rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Convert uint8 (H, W, 3) of this space; of a grey one the channels are the same."""
        own = Image.fromarray(np.ascontiguousarray(rgb[..., 0] if self._mode == "L" else rgb))
        return _apply(own, self._to_srgb)

    def from_srgb(self, rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Convert sRGB, uint8 (H, W, 3), to this space; colours that it cannot show are clipped."""
        pixels = _apply(Image.fromarray(np.ascontiguousarray(rgb)), self._from_srgb)
        return np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels


def open_profile(profile: bytes) -> ImageCms.ImageCmsProfile:
    """Read a profile; raises ValueError where it is none."""
    if len(profile) > _MAX_PROFILE_BYTES:
        raise ValueError("it is too large")
    try:
        return ImageCms.ImageCmsProfile(io.BytesIO(profile))
    except (OSError, ImageCms.PyCMSError) as error:
        raise ValueError(str(error)) from None


def profile_kind(profile: bytes) -> str:
    """`RGB`, `GRAY`, `CMYK` or another signature of the profile's colours; empty where it cannot be read."""
    try:
        return str(open_profile(profile).profile.xcolor_space).strip()
    except ValueError:
        return ""


def inks_to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert a CMYK picture by its profile; raises ValueError where that cannot be done."""
    standard = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    try:
        converted: Image.Image | None = ImageCms.applyTransform(
            image, _make_transform(open_profile(profile), standard, "CMYK", "RGB")
        )
    except ImageCms.PyCMSError as error:
        raise ValueError(str(error)) from None
    if converted is None:
        raise ValueError("no picture came back")
    return converted


def _make_transform(first: Any, second: Any, mode: str, other: str) -> ImageCms.ImageCmsTransform:
    intent, flags = ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.BLACKPOINTCOMPENSATION
    return ImageCms.buildTransform(first, second, mode, other, intent, flags)


def _apply(image: Image.Image, transform: ImageCms.ImageCmsTransform) -> npt.NDArray[np.uint8]:
    converted = ImageCms.applyTransform(image, transform)
    return np.array(image if converted is None else converted, np.uint8)
