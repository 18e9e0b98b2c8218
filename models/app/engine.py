"""The networks that all tabs of `dps app` share: one edit at a time."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dpsdata.images.color_profile import ColorSpace
from models.editing.editor import EditResult, load_editor
from models.editing.photo_frame import Box, PhotoFrame, box_frame, eyes_frame, whole_frame
from models.editing.request import Blend
from models.editing.run import hash_weights
from models.methods.registry import METHODS


@dataclass(frozen=True)
class Placement:
    """Where the face square lies: a box, two eyes, or the whole photo where both are None.

    Attributes:
        box: left, top, width and height, px of the photo.
        eyes: x1, y1, x2, y2, px of the photo.
    """

    box: Box | None = None
    eyes: Box | None = None

    def frame(self, height: int, width: int, size: int) -> PhotoFrame:
        """The model's square in a photo of this height and width, px; raises UsageError where it lies outside."""
        if self.box is not None:
            return box_frame(height, width, size, self.box)
        if self.eyes is not None:
            return eyes_frame(height, width, size, self.eyes)
        return whole_frame(height, width, size)


class Pasting(NamedTuple):
    """How results are put into the photo; see `Editor.predict_levels`.

    Attributes:
        feather_px: width of the soft transition inside of the hole, px.
        blend: `none`, `feather` or `poisson`.
        grain: the hole gets the fine noise of the photo around it.
    """

    feather_px: float = 0.0
    blend: Blend = "none"
    grain: bool = False


EXACT, BLENDED = Pasting(), Pasting(blend="poisson", grain=True)


class Engine:
    """Loaded networks behind a lock, since every tab of the browser asks the same ones.

    Args:
        weights: `bundled`, `official` or a folder.

    Raises:
        MissingError: there are no such weights, or they are damaged.
        UsageError: the files do not make a whole model.

    Attributes:
        method: Deep Plastic Surgery's entry of the registry.
        weights: the name that a `run.json` keeps.
        hashes: SHA-256 by network.
    """

    method = METHODS["dps"]

    def __init__(self, weights: str) -> None:
        self.weights = weights
        self.hashes = hash_weights(weights, "edit")
        self._editor = load_editor(weights, "edit")
        self._lock = threading.Lock()
        self._set: tuple[int, Placement] | None = None
        self._kept: NDArray[np.uint8] | None = None

    @property
    def resolution(self) -> int:
        """Side of the model's images, px."""
        return self._editor.resolution

    def edit(
        self,
        photo: NDArray[np.uint8],
        placement: Placement,
        sketch: NDArray[np.uint8],
        mask: NDArray[np.uint8],
        level: float,
        pasting: Pasting = EXACT,
        colors: ColorSpace | None = None,
    ) -> EditResult:
        """One level alone, as `dps edit --levels LEVEL` does it.

        Args:
            photo: uint8 (H, W, 3).
            placement: where the face is.
            sketch: uint8 (H, W), black line on white.
            mask: uint8 (H, W), white = hole.
            level: in [0, 1].
            pasting: how the result is put into the photo.
            colors: of the photo, where it is not sRGB.
        """
        with self._lock:
            wanted = (id(photo), placement)
            if self._set != wanted or self._kept is not photo:
                self._set = None
                self._editor.set_photo(photo, "none", placement.box, placement.eyes, colors=colors)
                self._set, self._kept = wanted, photo
            return self._editor.predict_levels(sketch, mask, [level], *pasting)[0]
