"""A drawing that can be run, and the result of one level of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.app.baselines import AnyEngine
from models.app.engine import Pasting, Placement
from models.app.opened_photo import OpenedPhoto
from models.app.previews import Region

Marks = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class DrawnEdit:
    """One drawing over one photo, ready to run.

    Attributes:
        engine: the method that runs it.
        photo: what is edited.
        placement: where the face square lies.
        hole: uint8 (H, W), 1 = hole.
        lines: uint8 (H, W), 1 = line.
        pasting: how results are put into the photo.
        key: the same for the same method, drawing, square and pasting.
        notes: sentences for the person.
    """

    engine: AnyEngine
    photo: OpenedPhoto
    placement: Placement
    hole: Marks
    lines: Marks
    pasting: Pasting
    key: str
    notes: tuple[str, ...]

    @property
    def mask(self) -> Marks:
        """As on disk: white hole on black."""
        return self.hole * np.uint8(255)

    @property
    def sketch(self) -> Marks:
        """As on disk: black line on white."""
        return (1 - self.lines) * np.uint8(255)


@dataclass(frozen=True, eq=False)
class LevelPatch:
    """A result where it can differ from the photo.

    Attributes:
        level: in [0, 1]; None of a method without one.
        where: rows and columns of the photo.
        photo: uint8 (h, w, 3).
        refined: uint8 (h, w), the refined sketch, black line on white; None of a method that refines none.
    """

    level: float | None
    where: Region
    photo: NDArray[np.uint8]
    refined: Marks | None

    @property
    def byte_count(self) -> int:
        """What it takes in memory, bytes."""
        return self.photo.nbytes + (0 if self.refined is None else self.refined.nbytes)

    def whole_photo(self, ground: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The result at the photo's own size."""
        whole = ground.copy()
        whole[self.where] = self.photo
        return whole
