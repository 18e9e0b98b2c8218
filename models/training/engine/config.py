"""What the loop reads of any training's config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, TypeVar

from dpsdata.contracts import UsageError
from dpsdata.masks import MASK_FAMILIES

if TYPE_CHECKING:
    from models.training.engine.losses import PerceptualName
    from models.training.engine.sampling import SamplingConfig


class LoopConfig(Protocol):
    """A frozen dataclass that names a training and says how the loop runs it."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def name(self) -> str:
        """Of the training, such as the name of its file."""

    @property
    def resolution(self) -> int:
        """Of the built folder, in px."""

    @property
    def mask_family(self) -> str:
        """Which kind of masks; several with `+` between come in turn."""

    @property
    def learning_rate(self) -> float:
        """Of Adam, for all networks."""

    @property
    def betas(self) -> tuple[float, float]:
        """Of Adam."""

    @property
    def ema_halflife_images(self) -> int:
        """The averaged weights forget half of the past in so many images."""

    @property
    def warmup_images(self) -> int:
        """The learning rate rises over so many images where a trained network gets a new optimiser."""

    @property
    def cooldown_images(self) -> int:
        """The learning rate falls towards 0 over the last so many images of each stage."""

    @property
    def log_images(self) -> int:
        """One line of `stats.jsonl` for about so many images."""

    @property
    def validation_images(self) -> int:
        """Validate after about so many images."""

    @property
    def validation_count(self) -> int:
        """Photos of the fixed validation set."""

    @property
    def seed(self) -> int:
        """Of everything that is drawn."""

    @property
    def features(self) -> PerceptualName | None:
        """Of the perceptual loss, where its weights are made for them; None for those that are installed."""

    @property
    def sampling(self) -> SamplingConfig:
        """Which photos come how often, and whether mirrored."""

    def scaled(self, images_scale: float) -> Self:
        """The same training with all counts of images multiplied."""


_C = TypeVar("_C", bound=LoopConfig)


def check_loop_config(config: LoopConfig) -> None:
    """Raise UsageError where a value that the loop reads makes no sense."""
    names = ("ema_halflife_images", "log_images", "validation_images", "validation_count")
    check_counts({name: getattr(config, name) for name in names})
    for name in ("warmup_images", "cooldown_images"):
        if getattr(config, name) < 0:
            raise UsageError(f"{name}: expected 0 or more, got {getattr(config, name)}")
    if not 0 < config.learning_rate < 1:
        raise UsageError(f"learning_rate: expected a number between 0 and 1, got {config.learning_rate}")
    if not set(config.mask_family.split("+")) <= set(MASK_FAMILIES):
        raise UsageError(
            f"mask_family: expected one of {', '.join(MASK_FAMILIES)}, or several with + between, got "
            f"{config.mask_family!r}"
        )


def check_counts(counts: Mapping[str, int]) -> None:
    """Raise UsageError unless every count is 1 or more."""
    for name, count in counts.items():
        if count < 1:
            raise UsageError(f"{name}: expected at least 1, got {count}")


def check_scale(images_scale: float) -> None:
    """Raise UsageError unless counts of images can be multiplied by this."""
    if not 0 < images_scale < float("inf"):
        raise UsageError(f"images-scale: expected a number above 0, got {images_scale}")


def scale_counts(config: _C, images_scale: float, names: Sequence[str], may_be_0: Sequence[str]) -> _C:
    """A config with counts of images multiplied, those of `names` to at least 1; raise UsageError for a scale of 0."""
    check_scale(images_scale)
    if images_scale == 1:
        return config
    counts = {name: max(1, round(getattr(config, name) * images_scale)) for name in names}
    return replace(config, **counts, **{name: round(getattr(config, name) * images_scale) for name in may_be_0})


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
