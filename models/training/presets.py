"""What is trained and how, as frozen configs by name; every amount of work is counted in images."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from dpsdata.contracts import UsageError
from models.presets import ModelConfig, PresetName, Task, find_config
from models.training.loop_config import check_counts, check_loop_config

# CelebA-HQ has 30,000 photos; the published epochs are turned into images with this number.
EPOCH_IMAGES = 30_000


@dataclass(frozen=True)
class LossConfig:
    """Weights of the losses; the defaults are the published ones.

    Attributes:
        hinge_margin: of the critic.
        adversarial: weight of the critic's verdict.
        reconstruction: weight of the mean absolute difference.
        perceptual: weights of the mean squared differences of the finer and the coarser feature map.
        published_vgg_scaling: feed VGG19 as the published code does (four times too much contrast), not as it wants.

    Source: deep_plastic_surgery.md section 4.1.
    """

    hinge_margin: float = 10.0
    adversarial: float = 1.0
    reconstruction: float = 100.0
    perceptual: tuple[float, float] = (1.0, 0.5)
    published_vgg_scaling: bool = False

    def __post_init__(self) -> None:
        weights = (self.hinge_margin, self.adversarial, self.reconstruction, *self.perceptual)
        if len(self.perceptual) != 2 or not all(value >= 0 for value in weights):
            raise UsageError(f"losses: expected weights of 0 or more, two of them for perceptual, got {self}")


@dataclass(frozen=True)
class TrainConfig:
    """One training, from the first weights of F to the last step of the finest G.

    Attributes:
        name: of the preset; written into the card.
        model: preset of the sizes of G, F and D.
        task: `edit` or `synthesis`.
        resolution: of the model and of the built folder, in px.
        inpainter_images: seen by F.
        fixed_images: seen by G at each resolution at level 1, at first.
        random_images: seen by G at each resolution at random levels, afterwards.
        inpainter_batch: images per step of F.
        refiner_batches: images per step of G, for each resolution.
        inpainter_masks: how many masks F is trained with.
        refiner_masks: the same for G at each resolution.
        mask_family: which kind of masks.
        learning_rate: of Adam, for all networks.
        betas: of Adam.
        losses: weights of the losses.
        average_halflife_images: the averaged weights forget half of the past in so many images.
        warmup_images: the learning rate rises over so many images where a run begins without its optimiser.
        log_images: one line of `stats.jsonl` for about so many images.
        validation_images: validate after about so many images.
        validation_count: photos of the fixed validation set.
        seed: of everything that is drawn.
    """

    name: str
    model: PresetName
    task: Task
    resolution: int
    inpainter_images: int
    fixed_images: int
    random_images: int
    inpainter_batch: int = 4
    refiner_batches: tuple[int, ...] = (64, 32, 4)
    inpainter_masks: int = 1024
    refiner_masks: tuple[int, ...] = (4096, 2048, 1024)
    mask_family: str = "dps"
    learning_rate: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    losses: LossConfig = field(default_factory=LossConfig)
    average_halflife_images: int = 10_000
    warmup_images: int = 4_000
    log_images: int = 4_000
    validation_images: int = 100_000
    validation_count: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        sizes = self.networks.refiner.resolutions
        if len(self.refiner_batches) != len(sizes) or len(self.refiner_masks) != len(sizes):
            raise UsageError(
                f"{self.name}: expected {len(sizes)} refiner_batches and refiner_masks, for {sizes} px, got "
                f"{self.refiner_batches} and {self.refiner_masks}"
            )
        counts = {
            "random_images": self.random_images,
            "inpainter_batch": self.inpainter_batch,
            "inpainter_masks": self.inpainter_masks,
            "refiner_batches": min(self.refiner_batches),
            "refiner_masks": min(self.refiner_masks),
        }
        check_counts(counts)
        if min(self.inpainter_images, self.fixed_images) < 0:
            raise UsageError("inpainter_images and fixed_images: expected 0 or more")
        check_loop_config(self)

    @property
    def networks(self) -> ModelConfig:
        """Sizes of G, F and D."""
        return find_config(self.model, self.task, self.resolution)

    def scaled(self, images_scale: float) -> TrainConfig:
        """The same training with all counts of images multiplied, for trials.

        Raises:
            UsageError: `images_scale` is not above 0.
        """
        if not 0 < images_scale < float("inf"):
            raise UsageError(f"images-scale: expected a number above 0, got {images_scale}")
        if images_scale == 1:
            return self
        names = ("inpainter_images", "random_images", "validation_images", "log_images", "average_halflife_images")
        counts = {name: max(1, round(getattr(self, name) * images_scale)) for name in names}
        return replace(self, fixed_images=round(self.fixed_images * images_scale), **counts)


def _paper(task: Task) -> TrainConfig:
    return TrainConfig(
        f"paper-{task}-256",
        "published",
        task,
        256,
        inpainter_images=50 * EPOCH_IMAGES,
        fixed_images=30 * EPOCH_IMAGES,
        random_images=200 * EPOCH_IMAGES,
    )


def _lite(task: Task, resolution: int) -> TrainConfig:
    batches = {64: (64,), 128: (64, 32), 256: (64, 32, 16)}[resolution]
    return TrainConfig(
        f"lite-{task}-{resolution}",
        "lite",
        task,
        resolution,
        inpainter_images=400_000,
        fixed_images=60_000,
        random_images=400_000,
        inpainter_batch=16,
        refiner_batches=batches,
        refiner_masks=(4096, 2048, 1024)[: len(batches)],
        validation_images=40_000,
    )


def _lite_for_cpu() -> TrainConfig:
    """`lite` at 64 px, for hours on a CPU: small batches and a higher rate, since images are what a CPU lacks."""
    return replace(
        _lite("edit", 64),
        inpainter_images=40_000,
        fixed_images=5_000,
        random_images=40_000,
        inpainter_batch=4,
        refiner_batches=(8,),
        refiner_masks=(4096,),
        learning_rate=4e-4,
        average_halflife_images=2_000,
        warmup_images=800,
        log_images=1_000,
        validation_images=5_000,
    )


def _polish_for_cpu() -> TrainConfig:
    """A second, shorter run for the networks of `lite-edit-64`, at a quarter of its rate, which settles them."""
    return replace(
        _lite_for_cpu(),
        name="lite-edit-64-polish",
        inpainter_images=5_000,
        fixed_images=0,
        random_images=11_500,
        learning_rate=1e-4,
        log_images=500,
        validation_images=2_500,
    )


def _high_levels_for_cpu() -> TrainConfig:
    """A third run for G alone, most of it at level 1, which 1 in 22 steps of the random levels sees."""
    return replace(
        _polish_for_cpu(),
        name="lite-edit-64-high",
        inpainter_images=0,
        fixed_images=8_000,
        random_images=3_500,
        learning_rate=2e-4,
    )


# The weights of the perceptual loss are made for VGG19. The distances of the compact HED, which stands in for it, are
# so much smaller that they hold a twentieth of the whole loss; with these weights they hold about half.
_COMPACT_PERCEPTUAL = (20.0, 10.0)


def _sharp_for_cpu() -> TrainConfig:
    """A fourth run, of F and then of G, in which the features of the photo count as much as its pixels."""
    return replace(
        _high_levels_for_cpu(),
        name="lite-edit-64-sharp",
        inpainter_images=14_000,
        fixed_images=5_000,
        random_images=9_000,
        losses=LossConfig(perceptual=_COMPACT_PERCEPTUAL),
    )


def _grown_for_cpu() -> TrainConfig:
    """128 px, to be begun with the networks of a run at 64 px, which are grown; an image costs four times as much."""
    return replace(
        _sharp_for_cpu(),
        name="lite-edit-128-grown",
        resolution=128,
        inpainter_images=12_000,
        fixed_images=2_000,
        random_images=6_000,
        refiner_batches=(8, 4),
        refiner_masks=(4096, 2048),
        validation_images=2_000,
    )


def _synthesis_for_cpu() -> TrainConfig:
    """A whole face from a sketch at 64 px, in two hours of one core."""
    return replace(
        _lite_for_cpu(),
        name="lite-synthesis-64",
        task="synthesis",
        inpainter_images=12_000,
        fixed_images=2_000,
        random_images=6_000,
        validation_images=3_000,
        losses=LossConfig(perceptual=_COMPACT_PERCEPTUAL),
    )


_TINY = TrainConfig(
    "tiny",
    "tiny",
    "edit",
    64,
    inpainter_images=1_200,
    fixed_images=80,
    random_images=400,
    inpainter_batch=4,
    refiner_batches=(4, 4, 4),
    inpainter_masks=256,
    refiner_masks=(256, 256, 256),
    learning_rate=1e-3,
    average_halflife_images=100,
    warmup_images=40,
    log_images=100,
    validation_images=500,
    validation_count=8,
)

_PRESETS = {
    config.name: config
    for config in (
        _paper("edit"),
        _paper("synthesis"),
        _lite_for_cpu(),
        _polish_for_cpu(),
        _high_levels_for_cpu(),
        _sharp_for_cpu(),
        _grown_for_cpu(),
        _synthesis_for_cpu(),
        _lite("edit", 128),
        _lite("edit", 256),
        _lite("synthesis", 256),
        _TINY,
    )
}


def train_preset_names() -> tuple[str, ...]:
    """Names of all presets."""
    return tuple(_PRESETS)


def find_train_preset(name: str) -> TrainConfig:
    """The preset of this name; raise UsageError naming those that exist."""
    if name not in _PRESETS:
        raise UsageError(f"preset: expected one of {', '.join(_PRESETS)}, got {name!r}")
    return _PRESETS[name]
