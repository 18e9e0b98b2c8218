"""Which photos a training sees, how often, and whether it sees them mirrored too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import NDArray

from dpsdata.contracts import UsageError

MAX_REPEATS = 1_000


@dataclass(frozen=True)
class SamplingConfig:
    """How photos are drawn; as published, each comes once in an epoch, as it is.

    Attributes:
        repeats: (pattern, times): photos whose ID matches the shell pattern come so many times in an epoch, 0 for
            never. Where several match, the last counts. A few real photos among many synthetic ones are learnt too
            little otherwise.
        mirror: half of all draws are mirrored, left to right.
    """

    repeats: tuple[tuple[str, int], ...] = ()
    mirror: bool = False

    def __post_init__(self) -> None:
        for pattern, times in self.repeats:
            if not pattern or not 0 <= times <= MAX_REPEATS:
                raise UsageError(
                    f"repeats: expected [PATTERN, N] with N from 0 to {MAX_REPEATS}, got [{pattern!r}, {times}]"
                )


AS_PUBLISHED = SamplingConfig()


def repeat_photos(ids: Sequence[str], sampling: SamplingConfig) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The draws of one epoch before they are shuffled.

    Args:
        ids: of all photos.
        sampling: how often each comes.

    Returns:
        (draws,) int64 indices of photos, and (draws,) int64: which of its draws in the epoch each one is, from 0.

    Raises:
        UsageError: a pattern matches no photo, or none is left.
    """
    times = np.ones(len(ids), np.int64)
    for pattern, count in sampling.repeats:
        matches = np.array([fnmatchcase(each, pattern) for each in ids], np.bool_)
        if not matches.any():
            raise UsageError(f"repeats: no photo matches {pattern!r}; IDs are such as {', '.join(ids[:3])}")
        times[matches] = count
    if not times.any():
        raise UsageError("repeats: every photo would come 0 times")
    photos = np.repeat(np.arange(len(ids)), times)
    first = np.repeat(np.cumsum(times) - times, times)
    return photos, np.arange(len(photos)) - first


def sampling_differences(sampling: SamplingConfig) -> list[str]:
    """How the draws differ from the published ones."""
    found = [
        f"photos whose ID matches {pattern!r} come {times} times in an epoch; published: once"
        for pattern, times in sampling.repeats
    ]
    return [*found, "half of the photos are mirrored; published: none"] if sampling.mirror else found
