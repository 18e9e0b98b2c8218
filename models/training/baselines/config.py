"""What one training of a baseline does, and how it differs from what was published; work is counted in images."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from dpsdata.contracts import UsageError
from models.baselines.deepfillv2 import SIZE_MULTIPLE_PX as DEEPFILL_MULTIPLE_PX
from models.baselines.deepfillv2 import DeepFillv2Config
from models.baselines.patch_discriminator import SNPatchDiscriminatorConfig, scfegan_discriminator_config
from models.baselines.scfegan import SIZE_MULTIPLE_PX as SCFEGAN_MULTIPLE_PX
from models.baselines.scfegan import ScFeganConfig
from models.training.engine.config import LoopConfig, check_counts, rate_differences, sampling_differences

Method = Literal["deepfillv2", "deepfillv2-guided", "scfegan"]
METHODS: tuple[Method, ...] = ("deepfillv2", "deepfillv2-guided", "scfegan")


@dataclass(frozen=True)
class DeepFillLosses:
    """Weights of DeepFillv2's losses; the defaults are the published ones.

    Attributes:
        coarse: mean absolute difference of the first stage, over the whole photo.
        fine: the same of the second stage.
        adversarial: the discriminator's verdict on the composite.
        hinge_margin: of the discriminator.
        discriminator: weight of each half of the discriminator's loss.

    Source: Yu et al., Free-Form Image Inpainting, ICCV 2019, section 3;
        JiahuiYu/generative_inpainting@3a53243 inpaint_model.py.
    """

    coarse: float = 1.0
    fine: float = 1.0
    adversarial: float = 1.0
    hinge_margin: float = 1.0
    discriminator: float = 0.5


@dataclass(frozen=True)
class ScFeganLosses:
    """Weights of SC-FEGAN's losses; the published ones, but for `hole_factor`, which was not published.

    Attributes:
        hole_factor: how much more a difference in the hole costs than one outside; 6 as with partial convolutions,
            from whose objective this one comes.
        perceptual: absolute differences of feature maps.
        style: absolute differences of their Gram matrices.
        variation: differences of neighbours in the composite, in the hole and one pixel around it.
        adversarial: the discriminator's verdict on the composite.
        penalty: how far the discriminator's gradient in the hole is from length 1.
        drift: the discriminator's squared scores of true photos.

    Source: Jo and Park, SC-FEGAN, ICCV 2019, section 3.
    """

    hole_factor: float = 6.0
    perceptual: float = 0.05
    style: float = 120.0
    variation: float = 0.1
    adversarial: float = 0.001
    penalty: float = 10.0
    drift: float = 0.001


@dataclass(frozen=True, kw_only=True)
class BaselineTrainConfig(LoopConfig):
    """One training of DeepFillv2 or SC-FEGAN, which enlarges smaller photos than those of 128 px.

    Attributes:
        method: what is trained.
        images: seen in all.
        batch_size: images per step.
        width: of the network: filters of DeepFillv2's first layer, channels of SC-FEGAN's.
        discriminator_width: channels of the discriminator's first layer.
        mask_count: how many masks.
        color_share: in how many of the samples SC-FEGAN gets colour strokes; it should work without them too.
        deepfill_losses: used by both kinds of DeepFillv2.
        scfegan_losses: used by SC-FEGAN.
    """

    method: Method
    images: int
    batch_size: int
    width: int
    discriminator_width: int = 64
    mask_count: int = 4096
    color_share: float = 0.5
    deepfill_losses: DeepFillLosses = field(default_factory=DeepFillLosses)
    scfegan_losses: ScFeganLosses = field(default_factory=ScFeganLosses)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.method not in METHODS:
            raise UsageError(f"method: expected one of {', '.join(METHODS)}, got {self.method!r}")
        check_counts(
            {
                name: getattr(self, name)
                for name in ("images", "batch_size", "width", "discriminator_width", "mask_count")
            }
        )
        if not 0 <= self.color_share <= 1:
            raise UsageError(f"color_share: expected a number in [0, 1], got {self.color_share}")
        multiple = SCFEGAN_MULTIPLE_PX if self.method == "scfegan" else DEEPFILL_MULTIPLE_PX
        if self.resolution < 64 or self.network_px % multiple:
            raise UsageError(
                f"resolution: {self.method} takes multiples of {multiple} px, and SC-FEGAN enlarges 64 px and more to "
                f"128, got {self.resolution}"
            )

    @property
    def network_px(self) -> int:
        """Side of the photos as the network sees them."""
        return max(self.resolution, SCFEGAN_MULTIPLE_PX) if self.method == "scfegan" else self.resolution

    @property
    def network(self) -> DeepFillv2Config | ScFeganConfig:
        """Sizes of the network."""
        if self.method == "scfegan":
            return ScFeganConfig(self.width)
        return DeepFillv2Config(self.width, guided=self.method == "deepfillv2-guided")

    @property
    def discriminator(self) -> SNPatchDiscriminatorConfig:
        """Sizes of the discriminator."""
        if self.method == "scfegan":
            return scfegan_discriminator_config(self.discriminator_width)
        return SNPatchDiscriminatorConfig(self.discriminator_width, sketch=self.method == "deepfillv2-guided")


@dataclass(frozen=True)
class BaselineStage:
    """The training of one network against its discriminator.

    Attributes:
        name: of the method.
        batch_size: images per step, over all processes.
        mask_count: size of its pool of masks.
        images: seen in all.
    """

    name: str
    batch_size: int
    mask_count: int
    images: int

    @property
    def step_count(self) -> int:
        """All steps."""
        return math.ceil(self.images / self.batch_size)


def plan_baseline_stage(config: BaselineTrainConfig) -> BaselineStage:
    """The stage of a config."""
    return BaselineStage(config.method, config.batch_size, config.mask_count, config.images)


_PUBLISHED = {
    "resolution": 256,
    "images": 2_560_000,  # 160,000 steps of 16, after which a public retraining of DeepFillv2 stopped
    "batch_size": 16,
    "width": 48,
    "discriminator_width": 64,
    "mask_family": "deepfillv2",
    "learning_rate": 1e-4,
    "betas": (0.5, 0.999),
}
_PUBLISHED_SCFEGAN = {**_PUBLISHED, "batch_size": 8, "width": 64, "mask_family": "scfegan"}
_ALWAYS = (
    "results are averaged weights; published: the last ones",
    "each sample has a mask of its own, from a fixed pool; published: a new one, for DeepFillv2 one per batch",
    "discriminator and network learn from the same batch; published for DeepFillv2: each from its own",
    "kernels and masks are drawn by key, so that a run can be repeated",
    "images are counted; published: until the results look right, so `images` is a choice of ours",
)
_SKETCH = (
    "the sketch is the thin one of the built folder, drawn with the soft pen of `smooth_sketch`, whole and in its "
    "place, as F of Deep Plastic Surgery is trained; published: {published}"
)
_SCFEGAN = (
    "recalled from the paper, since no training code was released; optimiser, rate, batch and steps are ours",
    "256 px; published: 512 px",
    "differences in the hole count {hole_factor:g} times; published: more than once, without the number",
    "the gradient penalty takes the sum of a sample's scores",
    "the squared scores of true photos are charged to the discriminator, since for the network they have no gradient",
    "colour maps have superpixels as segments; published: a face parsing",
    "colour strokes in {color_share:.0%} of the samples; published: not said",
    "noise is 0 or 1, as in the published demo, also in training",
    "masks have no hair segment",
)


def list_baseline_differences(config: BaselineTrainConfig, perceptual: str) -> list[str]:
    """Every difference from the published recipe, or choice where nothing was published, one sentence each.

    Args:
        config: of the training.
        perceptual: name of the features of the perceptual loss.
    """
    found = list(_ALWAYS)
    if config.method == "scfegan":
        losses = config.scfegan_losses
        found += [line.format(hole_factor=losses.hole_factor, color_share=config.color_share) for line in _SCFEGAN]
        found.append(_SKETCH.format(published="smoothed HED edges, 1 px lines in the demo"))
        maps = (
            "stages 2 and 3 of the bundled compact HED" if perceptual == "hed-compact" else "relu2_1, relu3_1 of VGG19"
        )
        found.append(f"perceptual and style loss use {maps}; published: pool1, pool2 and pool3 of VGG16")
        if config.network_px != config.resolution:
            found.append(
                f"photos of {config.resolution} px are enlarged to {config.network_px} px, since the network takes "
                "multiples of 128 px"
            )
    elif config.method == "deepfillv2-guided":
        found.append(_SKETCH.format(published="HED edges above 0.6"))
    published = _PUBLISHED_SCFEGAN if config.method == "scfegan" else _PUBLISHED
    for name, wanted in published.items():
        value = getattr(config, name)
        if value != wanted:
            found.append(f"{name} is {value}; as published: {wanted}")
    found += rate_differences(config)
    found += sampling_differences(config.sampling)
    own, usual = (
        (config.scfegan_losses, ScFeganLosses())
        if config.method == "scfegan"
        else (config.deepfill_losses, DeepFillLosses())
    )
    if own != usual:
        found.append(f"the weights of the losses are {own}; published: {usual}")
    return found
