"""How the trainings of DeepFillv2 and SC-FEGAN differ from what was published."""

from __future__ import annotations

from models.training.baselines.config import BaselineTrainConfig, DeepFillLosses, ScFeganLosses
from models.training.engine.config import rate_differences
from models.training.engine.sampling import sampling_differences

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
    "each sample has a mask of its own, from a fixed pool; published: drawn anew, for DeepFillv2 one for a batch",
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
