"""Presets of the rivals: published ones, reduced ones with the data that Deep Plastic Surgery sees, and tiny ones."""

from __future__ import annotations

from dataclasses import replace

from dpsdata.contracts import UsageError
from models.training.baselines.config import METHODS, DeepFillLosses, Method, RivalTrainConfig, ScFeganLosses
from models.training.editing.presets import find_train_preset

# With the published weight of 1 the critic drowns the first steps (one trial): after 200 steps of batch 4 (guided,
# 64 px, width 16) the fine stage is off by 0.60, and by 0.25 with this weight. Short trainings cannot wait that long.
_SHORT_ADVERSARIAL = 0.1


def _published(method: Method) -> RivalTrainConfig:
    is_scfegan = method == "scfegan"
    return RivalTrainConfig(
        method,
        method,
        256,
        # 160,000 steps of 16, after which a public retraining of DeepFillv2 stopped; the papers stop by eye.
        images=2_560_000,
        batch_size=8 if is_scfegan else 16,
        width=64 if is_scfegan else 48,
        mask_family="scfegan" if is_scfegan else "deepfillv2",
    )


def _lite(method: Method, resolution: int) -> RivalTrainConfig:
    """Reduced width; data, masks and rate of `lite-edit`, and as many images as F and the finest G see together."""
    ours = find_train_preset(f"lite-edit-{resolution}")
    return RivalTrainConfig(
        f"lite-{method}-{resolution}",
        method,
        resolution,
        images=ours.inpainter_images + ours.fixed_images + ours.random_images,
        batch_size=16 if resolution == 256 else 8,
        width=12 if method == "scfegan" else 24,
        critic_width=16 if resolution == 64 else 32,
        mask_family=ours.mask_family,
        learning_rate=ours.learning_rate,
        deepfill_losses=DeepFillLosses(adversarial=_SHORT_ADVERSARIAL),
        average_halflife_images=ours.average_halflife_images,
        warmup_images=ours.warmup_images,
        log_images=ours.log_images,
        validation_images=ours.validation_images,
        validation_count=ours.validation_count,
    )


def _polish_for_cpu(method: Method) -> RivalTrainConfig:
    """A second, shorter run for the network of `lite-METHOD-64`, as `lite-edit-64-polish` is for ours."""
    ours = find_train_preset("lite-edit-64-polish")
    return replace(
        _lite(method, 64),
        name=f"lite-{method}-64-polish",
        images=10_000,
        learning_rate=ours.learning_rate,
        log_images=ours.log_images,
        validation_images=ours.validation_images,
        follows=f"lite-{method}-64",
    )


def _sharp_for_cpu(method: Method) -> RivalTrainConfig:
    """A third run for the network of `lite-METHOD-64-polish`, as F's in `lite-edit-64-sharp`."""
    ours = find_train_preset("lite-edit-64-sharp")
    return replace(
        _polish_for_cpu(method),
        name=f"lite-{method}-64-sharp",
        images=ours.inpainter_images,
        learning_rate=ours.learning_rate,
        # The compact HED's absolute differences are small beside VGG16's, and its Gram matrices are not.
        scfegan_losses=ScFeganLosses(perceptual=0.3),
        features=ours.features,
        follows=f"lite-{method}-64-polish",
    )


def _grown_for_cpu(method: Method) -> RivalTrainConfig:
    """128 px, to be begun with a network trained at 64 px, as ours in `lite-edit-128-grown`."""
    ours = find_train_preset("lite-edit-128-grown")
    return replace(
        _sharp_for_cpu(method),
        name=f"lite-{method}-128-grown",
        resolution=128,
        images=ours.inpainter_images,
        average_halflife_images=ours.average_halflife_images,
        cooldown_images=ours.cooldown_images,
        validation_images=ours.validation_images,
        follows=f"lite-{method}-64-sharp",
    )


def _tiny(method: Method) -> RivalTrainConfig:
    """About a minute on a CPU."""
    return RivalTrainConfig(
        f"tiny-{method}",
        method,
        64,
        images=400,
        batch_size=4,
        width=4 if method == "scfegan" else 8,
        critic_width=8,
        mask_count=256,
        learning_rate=1e-3,
        deepfill_losses=DeepFillLosses(adversarial=_SHORT_ADVERSARIAL),
        average_halflife_images=50,
        warmup_images=40,
        log_images=40,
        validation_images=200,
        validation_count=8,
    )


_PRESETS = {
    config.name: config
    for config in (
        *(_published(method) for method in METHODS),
        *(_lite(method, resolution) for method in METHODS for resolution in (64, 128, 256)),
        *(_polish_for_cpu(method) for method in METHODS),
        *(_sharp_for_cpu(method) for method in METHODS),
        *(_grown_for_cpu(method) for method in METHODS),
        *(_tiny(method) for method in METHODS),
    )
}


def rival_preset_names() -> tuple[str, ...]:
    """Names of all presets of the rivals."""
    return tuple(_PRESETS)


def find_rival_preset(name: str) -> RivalTrainConfig:
    """The preset of this name; raise UsageError naming those that exist."""
    if name not in _PRESETS:
        raise UsageError(f"preset: expected one of {', '.join(_PRESETS)}, got {name!r}")
    return _PRESETS[name]
