"""Does a set of photos look like CelebA-HQ, with the face in its usual place and size?"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpsdata.images.arrays import crop_square, resize_photo
from dpsdata.runtime.device import keyed_seed

_SIZE_PX = 256
_MIN_PX, _MAX_PX = 60, 240
# The cascade's boxes on CelebA-HQ-aligned faces at 256 px: centre (129.5, 138.8) px with standard deviations
# (5.2, 3.3), side 170.6 +- 10.8 px; wide limits, since this only finds sets that are not aligned at all.
_CENTRE_PX = (128.0, 136.0)
_CENTRE_LIMIT_PX = 26.0
_SIDE_LIMITS_PX = (112.0, 216.0)


@dataclass(frozen=True)
class AlignmentCheck:
    """Result over several photos.

    Attributes:
        checked_count: photos looked at.
        found_count: photos in which a face was found.
        aligned_count: photos whose face lies where CelebA-HQ has it.
    """

    checked_count: int
    found_count: int
    aligned_count: int

    @property
    def share(self) -> float:
        """Share of all photos looked at that look aligned, in [0, 1]; 0 for none at all."""
        return self.aligned_count / self.checked_count if self.checked_count else 0.0

    @property
    def is_aligned(self) -> bool:
        """Whether at least half of the photos agree."""
        return self.share >= 0.5


@functools.cache
def _cascade() -> Any:
    from skimage import data
    from skimage.feature import Cascade

    untyped: Any = data  # scikit-image's data module has no annotations
    return Cascade(untyped.lbp_frontal_face_cascade_filename())


def find_face(
    rgb: NDArray[np.uint8], smallest_px: int = _MIN_PX, largest_px: int | None = None
) -> tuple[float, float, float] | None:
    """The largest frontal face of a photo, the first of `find_faces`; None where no face was found."""
    return next(iter(find_faces(rgb, smallest_px, largest_px)), None)


def find_faces(
    rgb: NDArray[np.uint8], smallest_px: int = _MIN_PX, largest_px: int | None = None
) -> list[tuple[float, float, float]]:
    """The frontal faces of a photo.

    Args:
        rgb: (H, W, 3) uint8 photo; the cost grows with its size, a few hundred px are enough.
        smallest_px: smallest side of a face.
        largest_px: largest side; None for the shorter side of the photo.

    Returns:
        Centre x, centre y and side of their squares, in px from the top left corner, the largest first.
    """
    limit = min(rgb.shape[:2]) if largest_px is None else largest_px
    if limit < smallest_px:
        return []
    found = _cascade().detect_multi_scale(
        img=rgb,
        scale_factor=1.15,
        step_ratio=1.0,
        min_size=(smallest_px, smallest_px),
        max_size=(limit, limit),
    )
    found = sorted(found, key=lambda box: (-box["width"], box["r"], box["c"]))
    return [(box["c"] + box["width"] / 2, box["r"] + box["width"] / 2, float(box["width"])) for box in found]


def looks_aligned(rgb: NDArray[np.uint8]) -> bool | None:
    """Whether the largest frontal face lies where the CelebA-HQ frame has it.

    Args:
        rgb: (H, W, 3) uint8 photo; its middle square is looked at.

    Returns:
        True or False, or None where no face was found.
    """
    face = find_face(resize_photo(crop_square(rgb), _SIZE_PX), _MIN_PX, _MAX_PX)
    if face is None:
        return None
    offset = np.hypot(face[0] - _CENTRE_PX[0], face[1] - _CENTRE_PX[1])
    return bool(offset <= _CENTRE_LIMIT_PX and _SIDE_LIMITS_PX[0] <= face[2] <= _SIDE_LIMITS_PX[1])


def check_alignment(photos: Iterable[NDArray[np.uint8]]) -> AlignmentCheck:
    """Look at several photos, see `looks_aligned`."""
    answers = [looks_aligned(photo) for photo in photos]
    return AlignmentCheck(len(answers), sum(answer is not None for answer in answers), sum(map(bool, answers)))


def choose_probes(ids: Sequence[str], count: int = 16) -> list[str]:
    """The IDs to look at: a fixed choice over the whole set, the same for any order of the list."""
    return sorted(ids, key=lambda name: (keyed_seed(0, name, "alignment"), name))[:count]
