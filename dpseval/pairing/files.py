"""The files that belong to one photo: truth, mask, sketch, and its outputs in every set.

Worker processes import this, so nothing here loads torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dpsdata.contracts import FindingsError, UsageError
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


FINDING_KINDS = {
    "missing": "a photo of the dataset has no output in a set",
    "extra": "a file or folder that belongs to no photo of the dataset",
    "duplicate": "two files, or two folders, for one output",
    "unequal-ids": "the sets do not hold the same photos",
    "other-dataset": "the outputs were made from another build of the dataset",
    "wrong-size": "not the size of the photo; nothing is ever resized",
    "unreadable": "no image, cut off or damaged",
    "16-bit": "more than 8 bits a channel",
    "alpha": "transparent pixels",
    "color-mode": "not stored as RGB",
    "exif-rotated": "stored turned, with an EXIF flag that turns it back",
    "soft-mask": "a mask with values between black and white",
    "empty-mask": "a mask without a hole",
    "inverted-mask": "the photo is intact inside the hole and changed outside of it",
    "inverted-sketch": "a sketch of white lines on black",
}


@dataclass(frozen=True)
class PairingIssue:
    """One thing that is wrong.

    Args:
        kind: a key of `FINDING_KINDS`.
        path: the file, folder or set.
        reason: what was found, and what was expected or helps.
        id: the photo that is left out where the kind is allowed; empty where none is.
        key: the set that it was found in; None where it concerns the photo in every set.
    """

    kind: str
    path: str
    reason: str
    id: str = ""
    key: SetKey | None = None

    def __str__(self) -> str:
        text = f"{self.kind}: {self.path}: {self.reason}"
        return text if is_text(text) else text.encode("utf-8", "backslashreplace").decode()


class PairingError(FindingsError):
    """Findings that no `--allow` tolerates.

    Args:
        place: what was scored.
        findings: all of them, in the order of the files.
    """

    def __init__(self, place: str, findings: Sequence[PairingIssue]) -> None:
        self.findings = tuple(findings)
        kinds = ", ".join(f"{kind} ({count})" for kind, count in count_kinds(findings).items())
        flags = " ".join(f"--allow {kind}" for kind in count_kinds(findings))
        number = f"{len(findings)} finding{'s' if len(findings) > 1 else ''}"
        super().__init__(
            f"{place}: {number}: {kinds}; the first is {findings[0]}. "
            f"Correct the files, or leave such items out with `{flags}`"
        )


def is_text(name: str) -> bool:
    """Whether a file name is valid Unicode; Linux allows any bytes, which Python passes on as lone surrogates."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def check_kinds(kinds: Iterable[str]) -> tuple[str, ...]:
    """Return the kinds to tolerate, each once; raise UsageError for one that does not exist."""
    chosen = tuple(sorted(set(kinds)))
    for kind in chosen:
        if kind not in FINDING_KINDS:
            raise UsageError(f"allow: expected one of {', '.join(FINDING_KINDS)}, got {kind!r}")
    return chosen


def count_kinds(findings: Iterable[PairingIssue]) -> dict[str, int]:
    """Number of findings of each kind, in the order of `FINDING_KINDS`."""
    kinds = [finding.kind for finding in findings]
    return {kind: kinds.count(kind) for kind in FINDING_KINDS if kind in kinds}
