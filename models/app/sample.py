"""The sample photo of the page."""

from __future__ import annotations

from typing import Any

from dpsdata.images.codec import encode_png


def read_sample() -> tuple[bytes, str]:
    """Content and name of scikit-image's astronaut photo (Eileen Collins, NASA, public domain)."""
    from skimage import data

    untyped: Any = data  # scikit-image's data module has no annotations
    return encode_png(untyped.astronaut()), "astronaut.png"
