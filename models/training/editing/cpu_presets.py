"""The trainings of F and G for hours of a CPU, each begun with the networks of the one before it."""

from __future__ import annotations

from dataclasses import replace

from models.training.editing.algorithm.gpu_presets import lite_training
from models.training.editing.config import LossConfig, TrainConfig
from models.training.engine.sampling import SamplingConfig


def _lite() -> TrainConfig:
    """`lite` at 64 px, for hours on a CPU: small batches and a higher rate, since images are what a CPU lacks."""
    return replace(
        lite_training("edit", 64),
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


def _polish() -> TrainConfig:
    """A second, shorter run for the networks of `lite-edit-64`, at a quarter of its rate, which settles them."""
    return replace(
        _lite(),
        name="lite-edit-64-polish",
        inpainter_images=5_000,
        fixed_images=0,
        random_images=11_500,
        learning_rate=1e-4,
        log_images=500,
        validation_images=2_500,
        follows="lite-edit-64",
    )


def _high_levels() -> TrainConfig:
    """A third run for G alone, most of it at level 1, which 1 in 22 steps of the random levels sees."""
    return replace(
        _polish(),
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


def _sharp() -> TrainConfig:
    """A fourth run, of F and then of G, in which the features of the photo count as much as its pixels."""
    return replace(
        _high_levels(),
        name="lite-edit-64-sharp",
        inpainter_images=14_000,
        fixed_images=5_000,
        random_images=9_000,
        losses=LossConfig(perceptual=_COMPACT_PERCEPTUAL),
        features="hed-compact",
        follows="lite-edit-64-high",
    )


def _last() -> TrainConfig:
    """A fifth run, for G alone and most of it at level 1: small batches, and features before pixels."""
    return replace(
        _sharp(),
        name="lite-edit-64-level-1",
        inpainter_images=0,
        fixed_images=14_000,
        random_images=6_000,
        refiner_batches=(4,),
        average_halflife_images=4_000,
        losses=LossConfig(perceptual=(40.0, 20.0)),
        follows="lite-edit-64-sharp",
    )


def _settle() -> TrainConfig:
    """A sixth run, for G alone, at a quarter of the rate."""
    return replace(
        _last(),
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


def _grown() -> TrainConfig:
    """128 px, begun with the grown networks of 64 px, G64 trained on; an image costs four times as much."""
    return replace(
        _sharp(),
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


def _joint() -> TrainConfig:
    """A second run at 128 px, for G alone, both resolutions at once, so that the deep one learns what F needs."""
    return replace(
        _grown(),
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


def _unit() -> TrainConfig:
    """A third run at 128 px, which cares for F's photo, by unit features, and little for G's own sketch and photo."""
    return replace(
        _joint(),
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


def _mirror() -> TrainConfig:
    """A fourth run at 128 px, with mirrored photos; `--repeat` then shows the scarcer kind of photos more often."""
    return replace(
        _unit(),
        name="lite-edit-128-mirror",
        sampling=SamplingConfig(mirror=True),
        average_halflife_images=1_000,
        follows="lite-edit-128-unit",
    )


def _average() -> TrainConfig:
    """The same at half the rate and with a longer average, for a mean with such runs: `dps average`."""
    return replace(_mirror(), name="lite-edit-128-average", learning_rate=1e-4, average_halflife_images=1_500)


# At level 1 the published pen leaves a fifth of the hole white where a sketch of 128 px is read, and in hair nothing;
# this one, 7 px of 128, leaves a third. Lines are off by as much as before.
_NARROW_PEN = 13


def _pen() -> TrainConfig:
    """A fifth run at 128 px, with a narrower pen; F's photo is judged as it is pasted, and more steps are taken."""
    return replace(
        _mirror(),
        name="lite-edit-128-pen",
        refiner_batches=(8, 2),
        pen_diameter=_NARROW_PEN,
        losses=LossConfig(perceptual=(120.0, 120.0), own=0.3, composite=True),
        fixed_images=3_000,
        random_images=1_500,
        warmup_images=300,
        cooldown_images=1_500,
        validation_images=1_500,
        average_halflife_images=500,
        follows="lite-edit-128-mirror",
    )


def _synthesis() -> TrainConfig:
    """A whole face from a sketch at 64 px, in two hours of one core."""
    return replace(
        _lite(),
        name="lite-synthesis-64",
        task="synthesis",
        inpainter_images=12_000,
        fixed_images=2_000,
        random_images=6_000,
        validation_images=3_000,
        losses=LossConfig(perceptual=_COMPACT_PERCEPTUAL),
        features="hed-compact",
    )


def _synthesis_polish() -> TrainConfig:
    """A second run for the networks of `lite-synthesis-64`, whose features leave the strokes visible in the photo."""
    return replace(
        _synthesis(),
        name="lite-synthesis-64-polish",
        inpainter_images=8_000,
        fixed_images=1_500,
        random_images=5_000,
        learning_rate=2e-4,
        losses=LossConfig(perceptual=(4.0, 2.0)),
        follows="lite-synthesis-64",
    )


def _stem() -> TrainConfig:
    """256 px behind a stem, from first weights: F, then G, against the high-pass discriminator."""
    return TrainConfig(
        "stem-edit-256",
        "stem",
        "edit",
        256,
        inpainter_images=18_000,
        fixed_images=800,
        random_images=10_000,
        inpainter_batch=8,
        refiner_batches=(8,),
        inpainter_masks=8192,
        refiner_masks=(8192,),
        mask_family="dps+dps+center+deepfillv2+scfegan",
        rough_moves=_FURTHER_MOVES,
        pen_diameter=_NARROW_PEN,
        learning_rate=4e-4,
        losses=LossConfig(
            hinge_margin=1.0, reconstruction=30.0, perceptual=(120.0, 120.0), own=0.3, composite=True,
            hole=20.0, adversarial_share=0.5, feature_matching=5.0, r1=0.1, crop=0.625,
        ),
        average_halflife_images=1_500,
        warmup_images=400,
        cooldown_images=4_000,
        log_images=400,
        validation_images=2_000,
        validation_count=48,
        features="hed-compact-unit",
        sampling=SamplingConfig(repeats=(("*", 3), ("*__syn-*", 1)), mirror=True),
        discriminator="highpass",
        level_per_sample=True,
    )  # fmt: skip


def cpu_trainings() -> tuple[TrainConfig, ...]:
    """All of them, in the order in which they follow each other."""
    return (
        _lite(),
        _polish(),
        _high_levels(),
        _sharp(),
        _last(),
        _settle(),
        _grown(),
        _joint(),
        _unit(),
        _mirror(),
        _average(),
        _pen(),
        _synthesis(),
        _synthesis_polish(),
        _stem(),
    )
