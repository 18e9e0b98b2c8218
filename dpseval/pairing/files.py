"""The files that belong to one photo: truth, mask, sketch, and its outputs in every set.

Worker processes import this, so nothing here loads torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dpsdata.images.header import FilePart

# A file of its own, or a part of a shard.
StoredFile = Path | FilePart


class SetKey(NamedTuple):
    """One set of outputs: a method at a level; None for a method without one."""

    method: str
    level: float | None

    def __str__(self) -> str:
        return self.method if self.level is None else f"{self.method} {self.level:g}"

    @property
    def rank(self) -> tuple[str, float]:
        """Sorts sets by method, then by level, those without one first."""
        return self.method, -1.0 if self.level is None else self.level


@dataclass(frozen=True)
class OutputFile:
    """One output.

    Attributes:
        key: its set.
        path: the picture.
        refined: the refined sketch of the method; None where it has none.
    """

    key: SetKey
    path: Path
    refined: Path | None = None


@dataclass(frozen=True)
class MaskSource:
    """Where the mask of a photo comes from.

    Attributes:
        family: its family.
        seed: of the build; a mask without a file is drawn from it, the id and the family.
        path: the file; None for a drawn mask.
        packed: the pixels of the file as `numpy.packbits` gives them, once it is read; None before.
    """

    family: str
    seed: int
    path: StoredFile | None = None
    packed: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class PhotoFiles:
    """Everything that is read for one photo.

    Attributes:
        id: of the sample.
        size: its sides in px.
        truth: the stored photo.
        mask: its mask.
        sketch: the drawn sketch; None where there is none.
        is_drawn: whether a person or another program drew it, so that it may have any form; else a build wrote it.
        outputs: one for each set that has it, in the order of the sets.
    """

    id: str
    size: int
    truth: StoredFile
    mask: MaskSource
    sketch: StoredFile | None
    is_drawn: bool
    outputs: tuple[OutputFile, ...]
