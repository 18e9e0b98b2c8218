"""What one training of a baseline does, as frozen configs; every amount of work is counted in images."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from dpsdata.contracts import UsageError
from models.baselines.deepfillv2 import SIZE_MULTIPLE_PX as DEEPFILL_MULTIPLE_PX
from models.baselines.deepfillv2 import DeepFillv2Config
from models.baselines.patch_discriminator import SNPatchDiscriminatorConfig, scfegan_discriminator_config
from models.baselines.scfegan import SIZE_MULTIPLE_PX as SCFEGAN_MULTIPLE_PX
from models.baselines.scfegan import ScFeganConfig
from models.training.engine.config import LoopConfig, check_counts

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

    Source: baselines.md section 4.2.
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

    Source: baselines.md section 4.1.
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
