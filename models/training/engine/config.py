"""What the loop reads of any training's config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from fnmatch import fnmatchcase
from typing import Self

import numpy as np
from numpy.typing import NDArray

from dpsdata.contracts import UsageError
from dpsdata.masks import MASK_FAMILIES
from models.training.engine.losses import PerceptualName

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

    Returns:
        (draws,) int64 indices of photos, and (draws,) int64: which of its draws in the epoch each one is, from 0.

    Raises:
        UsageError: a pattern matches no photo, or none is left.
    """
    times = np.ones(len(ids), np.int64)
    for pattern, count in sampling.repeats:
        matches = np.array([fnmatchcase(each, pattern) for each in ids], np.bool_)
        if not matches.any():
            raise UsageError(f"repeats: no photo matches {pattern!r}; IDs look like {', '.join(ids[:3])}")
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


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """A training as the loop runs it; the trainings of editing and of baselines add their own fields.

    Attributes:
        name: written into the card.
        resolution: of the built folder, in px.
        mask_family: which kind of masks; several with `+` between come in turn.
        learning_rate: of Adam, for all networks.
        betas: of Adam.
        ema_halflife_images: the averaged weights forget half of the past in so many images.
        warmup_images: the learning rate rises over so many images where a trained network gets a new optimiser.
        cooldown_images: the learning rate falls towards 0 over the last so many images of each stage.
        log_images: one line of `stats.jsonl` for about so many images.
        validation_images: validate after about so many images.
        validation_count: photos of the fixed validation set.
        seed: of everything that is drawn.
        features: of the perceptual loss, where its weights are made for them; None for VGG19 where it is installed,
            otherwise the bundled compact HED.
        sampling: which photos come how often, and whether mirrored.
    """

    name: str
    resolution: int
    mask_family: str = "dps"
    learning_rate: float = 1e-4
    betas: tuple[float, float] = (0.5, 0.999)
    ema_halflife_images: int = 10_000
    warmup_images: int = 4_000
    cooldown_images: int = 0
    log_images: int = 4_000
    validation_images: int = 100_000
    validation_count: int = 64
    seed: int = 0
    features: PerceptualName | None = None
    sampling: SamplingConfig = AS_PUBLISHED

    def __post_init__(self) -> None:
        names = ("ema_halflife_images", "log_images", "validation_images", "validation_count")
        check_counts({name: getattr(self, name) for name in names})
        for name in ("warmup_images", "cooldown_images"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name}: expected 0 or more, got {getattr(self, name)}")
        if not 0 < self.learning_rate < 1:
            raise UsageError(f"learning_rate: expected a number between 0 and 1, got {self.learning_rate}")
        if not set(self.mask_family.split("+")) <= set(MASK_FAMILIES):
            raise UsageError(
                f"mask_family: expected one of {', '.join(MASK_FAMILIES)}, or several joined by +, got "
                f"{self.mask_family!r}"
            )

    def scaled(self, images_scale: float) -> Self:
        """The same training with all counts of images multiplied, for trials; those that must be 1 or more stay so.

        Raises:
            UsageError: `images_scale` is not above 0.
        """
        if not 0 < images_scale < float("inf"):
            raise UsageError(f"images-scale: expected a number above 0, got {images_scale}")
        least = {"images": 1, "validation_images": 1, "log_images": 1, "ema_halflife_images": 1}
        least |= {"warmup_images": 0, "cooldown_images": 0}
        own = {item.name for item in fields(self)} & set(least)
        return replace(self, **{name: max(least[name], round(getattr(self, name) * images_scale)) for name in own})


def check_counts(counts: Mapping[str, int]) -> None:
    """Raise UsageError unless every count is 1 or more."""
    for name, count in counts.items():
        if count < 1:
            raise UsageError(f"{name}: expected at least 1, got {count}")


def rate_differences(config: LoopConfig) -> list[str]:
    """How the course of the learning rate differs from the published one, which is constant."""
    rises = f"rises over the first {config.warmup_images:,} images" if config.warmup_images else ""
    falls = f"falls over the last {config.cooldown_images:,} images" if config.cooldown_images else ""
    told = " and ".join(filter(None, (rises, falls)))
    return [f"the learning rate {told} of each stage; published: constant"] if told else []


def learning_rate_at(config: LoopConfig, images_since_start: int | None, images_left: int | None = None) -> float:
    """The learning rate; it rises from near 0 where the optimiser was lost, and may fall towards the end of a stage.

    Args:
        config: of the training.
        images_since_start: seen since the optimiser began anew; None where it never was lost.
        images_left: to the end of the stage, those of this step among them; None for no end in sight.
    """
    rate = config.learning_rate
    if images_since_start is not None and config.warmup_images:
        rate *= min(1.0, (images_since_start + 1) / config.warmup_images)
    if images_left is not None and config.cooldown_images:
        rate *= min(1.0, images_left / config.cooldown_images)
    return rate
