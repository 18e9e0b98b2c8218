"""The trainings of F and G by name."""

from __future__ import annotations

from dataclasses import replace

from dpsdata.contracts import UsageError
from models.presets import Task
from models.training.sampling import SamplingConfig
from models.training.train_config import EPOCH_IMAGES, LossConfig, TrainConfig


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
        follows="lite-edit-64",
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
        follows="lite-edit-64-polish",
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
        features="hed-compact",
        follows="lite-edit-64-high",
    )


def _last_for_cpu() -> TrainConfig:
    """A fifth run, for G alone and most of it at level 1: small batches, and features before pixels."""
    return replace(
        _sharp_for_cpu(),
        name="lite-edit-64-level-1",
        inpainter_images=0,
        fixed_images=14_000,
        random_images=6_000,
        refiner_batches=(4,),
        average_halflife_images=4_000,
        losses=LossConfig(perceptual=(40.0, 20.0)),
        follows="lite-edit-64-sharp",
    )


def _settle_for_cpu() -> TrainConfig:
    """A sixth run, for G alone, at a quarter of the rate."""
    return replace(
        _last_for_cpu(),
        name="lite-edit-64-settle",
        fixed_images=4_500,
        random_images=4_000,
        learning_rate=5e-5,
        average_halflife_images=2_000,
        warmup_images=200,
        follows="lite-edit-64-level-1",
    )


# With the published moves lines are off by 4.7 px of 256 at level 1 (root mean square). Level 1 is to mend sketches
# that are off by 8, so these are as far off.
_FURTHER_MOVES = 1.7


def _grown_for_cpu() -> TrainConfig:
    """128 px, begun with the grown networks of 64 px, G64 trained on; an image costs four times as much."""
    return replace(
        _sharp_for_cpu(),
        name="lite-edit-128-grown",
        resolution=128,
        inpainter_images=6_500,
        fixed_images=3_500,
        random_images=2_750,
        refiner_batches=(8, 4),
        refiner_masks=(4096, 2048),
        rough_moves=_FURTHER_MOVES,
        losses=LossConfig(perceptual=(30.0, 15.0)),
        average_halflife_images=1_000,
        cooldown_images=2_500,
        validation_images=1_500,
        follows="lite-edit-64-settle",
    )


def _joint_for_cpu() -> TrainConfig:
    """A second run at 128 px, for G alone, both resolutions at once, so that the deep one learns what F needs."""
    return replace(
        _grown_for_cpu(),
        name="lite-edit-128-joint",
        joint=True,
        inpainter_images=0,
        fixed_images=3_400,
        random_images=2_800,
        losses=LossConfig(perceptual=(40.0, 20.0)),
        warmup_images=400,
        cooldown_images=2_800,
        validation_images=2_000,
        follows="lite-edit-128-grown",
    )


def _unit_for_cpu() -> TrainConfig:
    """A third run at 128 px, which cares for F's photo, by unit features, and little for G's own sketch and photo."""
    return replace(
        _joint_for_cpu(),
        name="lite-edit-128-unit",
        fixed_images=2_400,
        random_images=1_200,
        losses=LossConfig(perceptual=(120.0, 120.0), own=0.3),
        features="hed-compact-unit",
        average_halflife_images=600,
        cooldown_images=1_800,
        validation_images=1_200,
        follows="lite-edit-128-joint",
    )


def _mirror_for_cpu() -> TrainConfig:
    """A fourth run at 128 px, with mirrored photos; `--repeat` then shows the scarcer kind of photos more often."""
    return replace(
        _unit_for_cpu(),
        name="lite-edit-128-mirror",
        sampling=SamplingConfig(mirror=True),
        average_halflife_images=1_000,
        follows="lite-edit-128-unit",
    )


def _average_for_cpu() -> TrainConfig:
    """The same at half the rate and with a longer average, for a mean with such runs: `dps average`."""
    return replace(_mirror_for_cpu(), name="lite-edit-128-average", learning_rate=1e-4, average_halflife_images=1_500)


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
        features="hed-compact",
    )


def _synthesis_polish_for_cpu() -> TrainConfig:
    """A second run for the networks of `lite-synthesis-64`, whose features leave the strokes visible in the photo."""
    return replace(
        _synthesis_for_cpu(),
        name="lite-synthesis-64-polish",
        inpainter_images=8_000,
        fixed_images=1_500,
        random_images=5_000,
        learning_rate=2e-4,
        losses=LossConfig(perceptual=(4.0, 2.0)),
        follows="lite-synthesis-64",
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
        _last_for_cpu(),
        _settle_for_cpu(),
        _grown_for_cpu(),
        _joint_for_cpu(),
        _unit_for_cpu(),
        _mirror_for_cpu(),
        _average_for_cpu(),
        _synthesis_for_cpu(),
        _synthesis_polish_for_cpu(),
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
