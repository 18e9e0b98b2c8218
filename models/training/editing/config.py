"""What one training of F and G does: its stages in their order, and how it differs from what was published."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Literal, Self, get_args

import torch
from torch import Tensor

from dpsdata.contracts import UsageError
from dpsdata.runtime.device import keyed_generator
from dpsdata.sketch.dilate import PUBLISHED_DIAMETER_PX
from models.networks.config import ModelConfig, PresetName, Task, find_config
from models.training.engine.config import LoopConfig, check_counts, rate_differences, sampling_differences

# CelebA-HQ has 30,000 photos; the published epochs are turned into images with this number.
EPOCH_IMAGES = 30_000
DiscriminatorName = Literal["published", "highpass"]
MAX_DEFORMATION = 4  # the limit of a move is then 80 px of 256, a third of the photo


@dataclass(frozen=True)
class LossConfig:
    """Weights of the losses; the defaults are the published ones.

    Attributes:
        hinge_margin: of the discriminator.
        adversarial: weight of the discriminator's verdict.
        reconstruction: weight of the mean absolute difference.
        perceptual: weights of the mean squared differences of the finer and the coarser feature map.
        published_vgg_scaling: feed VGG19 as the published code does (four times too much contrast), not as it wants.
        own: share of the last two for G's own sketch and photo, where F's photo is judged too. A mean difference of
            sketches is smallest where doubtful lines are left out, and then F has nothing to paint from.
        hole: weight of the mean absolute difference in the hole alone, of the photo that is judged; for `highpass`.
        adversarial_share: gradient of the discriminator's verdict at the photo, as a share of that of all other losses;
            for `highpass`, which has no use for `adversarial`.
        feature_matching: weight of the mean absolute difference of the discriminator's features, likewise.
        r1: weight of the penalty on the discriminator's gradient at true photos, likewise.
        crop: side of the windows around holes that features and the discriminator see, as a share of the photo's.
        composite: scorer F's photo inside of the hole and the truth around it, as it is shown and scored, while G is
            trained. Outside of the hole F repaints what is known, softly, and deep features mix the two.

    Source: VITA-Group/DeepPS@3079d46 src/models.py and options.py.
    """

    hinge_margin: float = 10.0
    adversarial: float = 1.0
    reconstruction: float = 100.0
    perceptual: tuple[float, float] = (1.0, 0.5)
    published_vgg_scaling: bool = False
    own: float = 1.0
    composite: bool = False
    hole: float = 0.0
    adversarial_share: float = 0.5
    feature_matching: float = 0.0
    r1: float = 0.0
    crop: float = 1.0

    def __post_init__(self) -> None:
        weights = (self.hinge_margin, self.adversarial, self.reconstruction, self.own, *self.perceptual)
        if len(self.perceptual) != 2 or not all(value >= 0 for value in weights):
            raise UsageError(f"losses: expected weights of 0 or more, two of them for perceptual, got {self}")
        if min(self.hole, self.adversarial_share, self.feature_matching, self.r1) < 0 or not 0.25 <= self.crop <= 1:
            raise UsageError(f"losses: expected weights of 0 or more and a crop from 0.25 to 1, got {self}")


@dataclass(frozen=True, kw_only=True)
class StageConfig:
    """One stage of a training: a network against its discriminator, with all others frozen.

    Attributes:
        network: `F`, `G64` (or another resolution of G), or `G` for all resolutions of G at once, by the losses of the
            finest.
        images: seen in all.
        level1_images: of G: how many of them at level 1, at first; the others at random levels.
        batch: images per step, over all processes.
        masks: how many masks there are.
        refined_share: of F: the share of samples whose sketch is what G, as it is by then, makes of a rough one, at a
            level of its own; so F learns what G leaves open. Wants a G that was trained before (`init_from`).
    """

    network: str
    images: int
    level1_images: int = 0
    batch: int = 4
    masks: int = 4096
    refined_share: float = 0.0

    def __post_init__(self) -> None:
        check_counts({f"{self.network}: {name}": getattr(self, name) for name in ("images", "batch", "masks")})
        if not 0 <= self.level1_images <= self.images:
            raise UsageError(f"{self.network}: level1_images: expected 0 to {self.images}, got {self.level1_images}")
        if not 0 <= self.refined_share <= 1 or (self.refined_share > 0 and self.network != "F"):
            raise UsageError(
                f"{self.network}: refined_share: expected 0 to 1 for F, 0 for G, got {self.refined_share:g}"
            )
        if self.network not in ("F", "G") and not (self.network[:1] == "G" and self.network[1:].isdecimal()):
            raise UsageError(f"stage: expected F, G, or G with a resolution such as G64, got {self.network!r}")

    def scaled(self, images_scale: float) -> StageConfig:
        """The same stage with its images multiplied, at least 1."""
        level1 = round(self.level1_images * images_scale)
        images = max(1, level1, round(self.images * images_scale))
        return replace(self, images=images, level1_images=level1)


@dataclass(frozen=True, kw_only=True)
class TrainConfig(LoopConfig):
    """One training of F and G; `resolution` is that of the model too.

    Attributes:
        model: sizes of G, F and D, see `models.networks.config`.
        task: `edit` or `synthesis`.
        stage: its stages in their order; F before G, which needs it.
        max_deformation: how far the lines of rough sketches move, as a multiple of the published moves.
        dilation_diameter: of the pen that G's sketches are dilated with at level 1, px of 256; lines move as far with
            any.
        losses: weights of the losses.
        discriminator: `published` sees all of G's or F's photo; `highpass` sees the composite, and what is fine in it.
        level_per_sample: draw a level for each sample of G's batches, not one for the batch.
    """

    model: PresetName
    task: Task
    stage: tuple[StageConfig, ...]
    max_deformation: float = 1.0
    dilation_diameter: int = PUBLISHED_DIAMETER_PX
    learning_rate: float = 2e-4
    losses: LossConfig = field(default_factory=LossConfig)
    discriminator: DiscriminatorName = "published"
    level_per_sample: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        names = [stage.network for stage in self.stage]
        known = ("F", "G", *(f"G{size}" for size in self.networks.refiner.resolutions))
        if not names or len(set(names)) < len(names) or not set(names) <= set(known) or "F" in names[1:]:
            raise UsageError(f"{self.name}: stage: expected F, then some of {', '.join(known[1:])}, got {names}")
        if not 0 <= self.max_deformation <= MAX_DEFORMATION:
            raise UsageError(
                f"max_deformation: expected a number from 0 to {MAX_DEFORMATION}, got {self.max_deformation}"
            )
        if self.discriminator not in get_args(DiscriminatorName):
            raise UsageError(f"discriminator: expected published or highpass, got {self.discriminator!r}")
        if self.discriminator == "highpass" and len(self.networks.refiner.resolutions) > 1:
            raise UsageError(
                f"{self.name}: the high-pass discriminator goes with a G of one resolution, not {known[2:]}"
            )

    @property
    def networks(self) -> ModelConfig:
        """Sizes of G, F and D."""
        config = find_config(self.model, self.task, self.resolution)
        return replace(config, refiner=replace(config.refiner, dilation_diameter=self.dilation_diameter))

    def scaled(self, images_scale: float) -> Self:
        """See `LoopConfig`; the stages are scaled too."""
        found = super().scaled(images_scale)
        return replace(found, stage=tuple(stage.scaled(images_scale) for stage in found.stage))


# The extra 0.025 makes "almost 0" differ from 0: it adds a quarter of a pixel to the radius of the published pen.
RANDOM_LEVELS = (*(step / 20 for step in range(21)), 0.025)


@dataclass(frozen=True)
class Stage:
    """The training of one network against its discriminator, with all earlier ones frozen.

    Attributes:
        name: the network, such as `F256` or `G64`; `G` where all of its resolutions are trained at once.
        part: `F` or `G`.
        size: its resolution in px.
        is_finest: whether F judges G's sketch too, as at the model's own resolution.
        batch_size: images per step, over all processes.
        fixed_images: seen at level 1.
        random_images: seen at random levels after that.
        mask_count: size of its pool of masks.
        is_joint: whether all resolutions of G are trained at once, by the losses of this one.
        is_level_per_sample: whether every sample of a batch has a level of its own.
        refined_share: of F's samples, those whose sketch G refines first.
    """

    name: str
    part: Literal["F", "G"]
    size: int
    is_finest: bool
    batch_size: int
    fixed_images: int
    random_images: int
    mask_count: int
    is_joint: bool = False
    is_level_per_sample: bool = False
    refined_share: float = 0.0

    @property
    def fixed_steps(self) -> int:
        """Steps at level 1."""
        return math.ceil(self.fixed_images / self.batch_size)

    @property
    def step_count(self) -> int:
        """All steps."""
        return self.fixed_steps + math.ceil(self.random_images / self.batch_size)

    def level_at(self, step: int, seed: int) -> float:
        """The level of one step, which its whole batch shares: 1 at first, then one of 22 values."""
        if step < self.fixed_steps:
            return 1.0
        drawn = keyed_generator(seed, f"{self.name}:{step}", "train-level").integers(len(RANDOM_LEVELS))
        return RANDOM_LEVELS[int(drawn)]

    def levels_at(self, step: int, seed: int, keys: Sequence[str]) -> float | Tensor:
        """The level of one step; with a level for each sample, (N,) float32 for the samples of these names."""
        if step < self.fixed_steps or not self.is_level_per_sample:
            return self.level_at(step, seed)
        drawn = [keyed_generator(seed, key, "train-level").integers(len(RANDOM_LEVELS)) for key in keys]
        return torch.tensor([RANDOM_LEVELS[int(number)] for number in drawn])


def plan_stages(config: TrainConfig) -> tuple[Stage, ...]:
    """The stages of a training in their order.

    Source: Yang et al. 2020, section 3.4 and supplementary material.
    """
    stages = []
    for each in config.stage:
        is_joint = each.network == "G"
        size = config.resolution if each.network in ("F", "G") else int(each.network[1:])
        part: Literal["F", "G"] = "F" if each.network == "F" else "G"
        stages.append(
            Stage(
                name=f"F{size}" if part == "F" else each.network,
                part=part,
                size=size,
                is_finest=part == "G" and size == config.resolution,
                batch_size=each.batch,
                fixed_images=each.level1_images,
                random_images=each.images - each.level1_images,
                mask_count=each.masks,
                is_joint=is_joint,
                is_level_per_sample=config.level_per_sample,
                refined_share=each.refined_share,
            )
        )
    return tuple(stages)


_COMPARED = (
    "betas",
    "learning_rate",
    "mask_family",
    "max_deformation",
    "dilation_diameter",
    "discriminator",
    "level_per_sample",
)
# Images, those of them at level 1, batch and masks.
_STAGES = {
    "F": (50 * EPOCH_IMAGES, 0, 4, 1024),
    "G64": (230 * EPOCH_IMAGES, 30 * EPOCH_IMAGES, 64, 4096),
    "G128": (230 * EPOCH_IMAGES, 30 * EPOCH_IMAGES, 32, 2048),
    "G256": (230 * EPOCH_IMAGES, 30 * EPOCH_IMAGES, 4, 1024),
}


def list_differences(config: TrainConfig, perceptual: str) -> list[str]:
    """Every difference from the published recipe, one sentence each.

    Args:
        config: of the training.
        perceptual: name of the features of the perceptual loss.
    """
    found = [
        "F is in eval mode, with its averaged weights, while G is trained; published: train mode, batch statistics",
        "F's L1 is the mean over its photo; published: over sketch, photo and mask together, which dilutes it",
        "results are the averaged weights of G and F, and each G builds on averaged coarser ones; published: the last",
        "D sees real and fake photos in one pass, so its spectral norm takes one power step for both; published: two",
        f"counted in images, an epoch being {EPOCH_IMAGES:,}; published: epochs over its own split",
        "deformations, masks and levels are drawn by key, so that a run can be repeated",
    ]
    if perceptual == "hed-compact-unit":
        found.append("the perceptual loss uses the bundled compact HED, all stages, unit vectors; published: VGG19")
    elif perceptual == "hed-compact":
        found.append("the perceptual loss uses the bundled compact HED (stages 2 and 3); published: VGG19")
    elif not config.losses.published_vgg_scaling:
        found.append("VGG19 sees photos scaled as it was trained; published: four times too much contrast")
    usual = {item.name: item.default for item in fields(config)}
    for name in _COMPARED:
        value = getattr(config, name)
        if value != usual[name]:
            found.append(f"{name} is {value}; published: {usual[name]}")
    if config.model != "published":
        found.append(f"the networks have the sizes of {config.model}; published: others, see the paper's supplement")
    for stage in config.stage:
        own = (stage.images, stage.level1_images, stage.batch, stage.masks)
        wanted = _STAGES.get(stage.network)
        if own != wanted:
            told = "none" if wanted is None else "{:,}, {:,}, {} and {:,}".format(*wanted)
            found.append(
                "{}: {:,} images, {:,} of them at level 1, in batches of {} with {:,} masks; published: {}".format(
                    stage.network, *own, told
                )
            )
        if stage.refined_share:
            found.append(
                f"{stage.network} also learns from sketches that G refined ({stage.refined_share:.0%}); published: no"
            )
    found += rate_differences(config)
    found += sampling_differences(config.sampling)
    if config.losses.composite and config.task == "edit":
        found.append("F's photo is judged in the hole, the truth around it, while G is trained; published: all of it")
    weights = replace(config.losses, published_vgg_scaling=False, composite=False)
    if weights != type(weights)():
        found.append(f"the weights of the losses are {weights}")
    if config.task == "synthesis" and config.networks.inpainter.norm == "batch":
        found.append("F has BatchNorm; published for synthesis: none")
    return found
