"""How a training of F and G differs from the published recipe."""

from __future__ import annotations

from dataclasses import fields, replace

from models.training.editing.config import EPOCH_IMAGES, TrainConfig
from models.training.engine.config import rate_differences
from models.training.engine.sampling import sampling_differences

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
