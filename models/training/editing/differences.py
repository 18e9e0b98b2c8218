"""How a training of F and G differs from the published recipe."""

from __future__ import annotations

from dataclasses import replace

from dpsdata.sketch.dilate import PUBLISHED_DIAMETER_PX
from models.training.editing.config import EPOCH_IMAGES, TrainConfig
from models.training.engine.config import rate_differences
from models.training.engine.sampling import sampling_differences

_RECIPE = {
    "betas": (0.5, 0.999),
    "learning_rate": 2e-4,
    "inpainter_batch": 4,
    "refiner_batches": (64, 32, 4),
    "inpainter_images": 50 * EPOCH_IMAGES,
    "fixed_images": 30 * EPOCH_IMAGES,
    "random_images": 200 * EPOCH_IMAGES,
    "mask_family": "dps",
    "joint": False,
    "rough_moves": 1.0,
    "pen_diameter": PUBLISHED_DIAMETER_PX,
    "inpainter_masks": 1024,
    "refiner_masks": (4096, 2048, 1024),
    "model": "published",
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
    for name, published in _RECIPE.items():
        value = getattr(config, name)
        if value != published:
            found.append(f"{name} is {value}; published: {published}")
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
