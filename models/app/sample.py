"""The sample photo of the page."""

from __future__ import annotations

from dpsdata.samples import sample_face_file


def read_sample() -> tuple[bytes, str]:
    """Content and name of a photograph of nobody that comes with the package."""
    file = sample_face_file(1)
    return file.read_bytes(), file.name
