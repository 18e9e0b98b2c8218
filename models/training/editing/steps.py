"""One step of a stage: pixels to samples, then D learns, then the network.

As published, or with the high-pass D on the composite.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from dpsdata.runtime.device import keyed_generator
from dpsdata.sketch import (
    RoughDraws,
    dilate_sketch,
    draw_rough,
    make_rough_sketch,
    published_move_px,
    truth_sketches,
)
from models.networks.discriminator import HighPassDiscriminator, PatchScores
from models.networks.editing_net import Refiner, RefinerScale, level_column
from models.networks.inpainter import Inpainter
from models.networks.published_signs import (
    discriminator_input,
    network_input,
    refiner_inputs,
    resize,
    shrink_mask,
    split_output,
)
from models.training.editing.config import LossConfig, Stage, TrainConfig
from models.training.engine.batches import BatchPixels
from models.training.engine.losses import (
    PerceptualLoss,
    StageParts,
    adversarial_loss,
    hinge_losses,
    judging,
    reconstruction_loss,
    update_weights,
)

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True, eq=False)
class RoughSamples:
    """Samples of F's batch whose sketch G refines first.

    Attributes:
        rows: (M,) int64: which samples of the batch.
        inputs: {size in px: (M, 3 or 7, size, size)}, what G reads.
        level: (M,) in [0, 1].
    """

    rows: Tensor
    inputs: dict[int, Tensor]
    level: Tensor


@dataclass(frozen=True, eq=False)
class TrainBatch:
    """One batch of one stage, by the contract's signs; S is the size of the stage.

    Attributes:
        inputs: {size in px: (N, 3 or 7, size, size)}, what the network reads: G every size up to S, F its own.
        sketch: (N, 1, S, S) in [0, 1], line = 1: the ground truth, not masked.
        photo: (N, 3, S, S) RGB in [-1, 1]: the ground truth.
        mask: (N, 1, S, S) in {0, 1}, hole = 1; None for synthesis.
        level: of the whole batch, or (N,) with one for each sample.
        windows: (N, 4) int64: top, left, height, width of what features and D see of each photo, in px.
        rough: at F's stage, the samples that G refines; None for none.
    """

    inputs: dict[int, Tensor]
    sketch: Tensor
    photo: Tensor
    mask: Tensor | None
    level: float | Tensor
    windows: NDArray[np.int64]
    rough: RoughSamples | None = None

    def discriminator_truth(self) -> Tensor:
        """What D reads as real: (N, 6 or 7, S, S)."""
        return discriminator_input(self.sketch, self.photo, self.mask)


def prepare_batch(
    pixels: BatchPixels,
    stage: Stage,
    config: TrainConfig,
    level: float | Tensor,
    device: torch.device,
    is_rough: bool = True,
) -> TrainBatch:
    """Smooth, deform, discard, dilate and mask a batch, for one stage.

    Args:
        pixels: photos, thin sketches and masks at the model's resolution.
        stage: which network is trained.
        config: its task (synthesis sees neither photo nor mask), the resolutions, and the seed, which with the keys of
            the batch decides about deforming and discarding.
        level: refinement level in [0, 1]: a number, or (N,).
        device: where all of it is done; three arrays of bytes are all that is copied there.
        is_rough: False neither deforms nor discards, as when a person's sketch is edited.

    Source: VITA-Group/DeepPS@3079d46 src/train.py and trainPix2pix.py.
    """
    photo = torch.from_numpy(pixels.photos).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
    thin = torch.from_numpy(pixels.sketches).to(device)[:, None].float()
    mask = torch.from_numpy(pixels.masks).to(device)[:, None].float() if config.task == "edit" else None
    truths = truth_sketches(thin)
    side = thin.shape[-1]
    known = photo if config.task == "edit" else None
    windows = place_windows(pixels, config)
    sizes = [size for size in config.networks.refiner.resolutions if size <= stage.size]
    if stage.part == "F":
        inputs = {side: network_input(truths[side], known, mask)}
        rows = [row for row, key in enumerate(pixels.keys) if _is_refined(key, stage.refined_share, config.seed)]
        rough = None
        if rows:
            at = torch.tensor(rows, device=device)
            levels = level[rows] if isinstance(level, Tensor) else torch.full((len(rows),), level)
            lines = _roughen(truths[side][at], [pixels.keys[row] for row in rows], levels, config, is_rough)
            around, hole = (None, None) if mask is None else (photo[at], mask[at])
            rough = RoughSamples(at, refiner_inputs(lines, around, hole, sizes), levels)
        return TrainBatch(inputs, truths[side], photo, mask, level, windows, rough)
    sketch = _roughen(truths[side], pixels.keys, level, config, is_rough)
    return TrainBatch(
        refiner_inputs(sketch, known, mask, sizes),
        truths[stage.size],
        resize(photo, stage.size),
        None if mask is None else shrink_mask(mask, stage.size),
        level,
        windows,
    )


def _is_refined(key: str, share: float, seed: int) -> bool:
    return share > 0 and keyed_generator(seed, key, "train-refined").random() < share


def _roughen(truth: Tensor, keys: Sequence[str], level: float | Tensor, config: TrainConfig, is_rough: bool) -> Tensor:
    """What a person might draw of smooth sketches (N, 1, S, S), dilated; the draws are keyed."""
    side = truth.shape[-1]
    pen_px = config.networks.refiner.pen_px(side)
    if not is_rough:
        return dilate_sketch(truth, level, pen_px)
    draws = draw_rough(keys, side, side, config.seed)
    draws = RoughDraws(draws.noise, draws.rectangles.to(truth.device))
    return make_rough_sketch(truth, level, draws, pen_px, config.max_deformation, published_move_px(side, side))


def place_windows(pixels: BatchPixels, config: TrainConfig) -> NDArray[np.int64]:
    """Windows of one size that lie around holes, or, where a hole is larger, on a part of it that its key draws.

    Returns:
        (N, 4) int64: top, left, height, width in px.
    """
    count, height, width = pixels.masks.shape
    crop = (round(config.losses.crop * height), round(config.losses.crop * width))
    found = np.empty((count, 4), np.int64)
    for index, key in enumerate(pixels.keys):
        draws = keyed_generator(config.seed, key, "train-window")
        for axis, (side, span) in enumerate(zip((height, width), crop, strict=True)):
            lines = np.flatnonzero(pixels.masks[index].any(axis=1 - axis)) if config.task == "edit" else np.arange(side)
            low, high = (int(lines[0]), int(lines[-1]) + 1) if len(lines) else (0, side)
            # Every start from which the window holds all of the hole, or, if that is larger, lies within it.
            first, last = sorted((high - span, low))
            first, last = max(0, min(first, side - span)), max(0, min(last, side - span))
            found[index, axis] = draws.integers(first, last + 1)
        found[index, 2:] = crop
    return found


@dataclass(frozen=True, eq=False)
class FrozenNets:
    """The networks that a stage uses and does not train.

    Attributes:
        coarser: the networks of G below, from the coarsest, by size in px.
        inpainter: F where it judges G's sketch, at the finest resolution; None elsewhere.
        refiner: all of G where F learns from sketches that it refined; None elsewhere.
    """

    coarser: dict[int, RefinerScale]
    inpainter: Inpainter | None
    refiner: Refiner | None = None


@dataclass(frozen=True, eq=False)
class Painted:
    """What the networks of a stage make of a batch.

    Attributes:
        sketch: (N, 1, S, S) in [0, 1], line = 1: G's, 0 outside of the hole; at F's stage the one that F read.
        photo: (N, 3, S, S) RGB in [-1, 1], of the network that is trained.
        result: (N, 3, S, S) RGB in [-1, 1], F's photo from G's sketch; None where F has no part.
    """

    sketch: Tensor
    photo: Tensor
    result: Tensor | None


def paint_batch(stage: Stage, net: nn.Module, frozen: FrozenNets, batch: TrainBatch) -> Painted:
    """Run the networks of a stage; only `net` and, through it, the sketch that F reads carry a gradient."""
    if stage.part == "F":
        inputs, sketch = _read_by_inpainter(batch, frozen.refiner, stage.size)
        return Painted(sketch, net(inputs), None)
    if stage.is_joint:
        output = net(batch.inputs, batch.level).outputs[stage.size]
    else:
        levels = level_column(batch.level, batch.photo)
        feature: Tensor | None = None
        with torch.no_grad():
            for size, scale in frozen.coarser.items():
                feature = scale.extract(scale.plain(batch.inputs[size]), levels, feature)
        output, _ = net(batch.inputs[stage.size], levels, feature)
    sketch, photo = split_output(output, batch.mask)
    if frozen.inpainter is None:
        return Painted(sketch, photo, None)
    known = None if batch.mask is None else batch.photo
    return Painted(sketch, photo, frozen.inpainter(network_input(sketch, known, batch.mask)))


@torch.no_grad()
def _read_by_inpainter(batch: TrainBatch, refiner: Refiner | None, size: int) -> tuple[Tensor, Tensor]:
    """What F reads, and its sketch in it: the true one, and G's in the samples that are rough."""
    inputs, rough = batch.inputs[size], batch.rough
    if rough is None or refiner is None:
        return inputs, batch.sketch
    photo, mask = (None, None) if batch.mask is None else (batch.photo[rough.rows], batch.mask[rough.rows])
    sketch = split_output(refiner(rough.inputs, rough.level).outputs[size], mask)[0].to(inputs)
    read = network_input(sketch, photo, mask)
    return inputs.index_copy(0, rough.rows, read), batch.sketch.index_copy(0, rough.rows, sketch)


def train_step(
    parts: StageParts[Stage],
    frozen: FrozenNets,
    batch: TrainBatch,
    losses: LossConfig,
    perceptual: PerceptualLoss,
    accelerator: Accelerator,
) -> dict[str, float]:
    """Update D, then the net, on one batch.

    Args:
        parts: networks and optimisers; changed in place.
        frozen: the other networks of the stage.
        batch: of this process.
        losses: weights.
        perceptual: its features, on the device.
        accelerator: runs the backward passes and chooses the precision.

    Returns:
        The losses of this process, without their weights, and the two gradient norms.

    Raises:
        DivergedError: a loss or gradient is not finite; the networks are as they were before its update.

    Source: VITA-Group/DeepPS@3079d46 src/models.py and pix2pix.py.
    """
    with accelerator.autocast():
        painted = paint_batch(parts.stage, parts.net, frozen, batch)
    sketch, photo = painted.sketch.float(), painted.photo.float()
    fake, real = discriminator_input(sketch, photo, batch.mask), batch.discriminator_truth()
    # One pass for both, since a wrapped network wants one forward pass for each backward pass.
    both = torch.cat([real, fake.detach()])
    scores = discriminate(parts.discriminator, parts.unwrapped_discriminator, both, accelerator)
    real_scores, fake_scores = scores.chunk(2)
    hinge = hinge_losses(real_scores, fake_scores, losses.hinge_margin)
    terms = {"discriminator_real": hinge.real, "discriminator_fake": hinge.fake}
    values = update_weights(parts.discriminator_optimiser, hinge.real + hinge.fake, terms, "discriminator", accelerator)

    parts.unwrapped_discriminator.requires_grad_(False)
    try:
        scores = discriminate(parts.unwrapped_discriminator, parts.unwrapped_discriminator, fake, accelerator)
        with judging(accelerator):
            terms = {"adversarial": adversarial_loss(scores), "perceptual": perceptual(photo, batch.photo)}
        # F's sketch and mask are the same in both, and would only dilute the mean over its photo.
        whole = parts.stage.part == "G"
        terms["reconstruction"] = (
            reconstruction_loss(fake[:, :6], real[:, :6]) if whole else reconstruction_loss(photo, batch.photo)
        )
        if painted.result is not None:
            result = painted.result.float()
            if losses.composite and batch.mask is not None:
                result = torch.where(batch.mask > 0, result, batch.photo)
            with judging(accelerator):
                terms["result_perceptual"] = perceptual(result, batch.photo)
            terms["result_reconstruction"] = reconstruction_loss(result, batch.photo)
        total = losses.adversarial * terms["adversarial"]
        for name, term in terms.items():
            share = losses.own if painted.result is not None and not name.startswith("result") else 1.0
            if name.endswith("perceptual"):
                total = total + share * term
            elif name.endswith("reconstruction"):
                total = total + share * losses.reconstruction * term
        values |= update_weights(parts.optimiser, total, terms, "net", accelerator)
    finally:
        parts.unwrapped_discriminator.requires_grad_(True)
    return values


def discriminate(
    discriminator: nn.Module, unwrapped_discriminator: nn.Module, images: Tensor, accelerator: Accelerator
) -> Tensor:
    """Scores of a discriminator in float32; its spectral norms are taken in float32, since autocast breaks them."""
    with parametrize.cached():
        for module in unwrapped_discriminator.modules():
            if isinstance(module, nn.Conv2d):
                _ = module.weight
        with judging(accelerator):
            scores: Tensor = discriminator(images)
    return scores.float()


_R1_EVERY = 16
_MAX_WEIGHT = 1e4


def train_on_composite(
    parts: StageParts[Stage],
    frozen: FrozenNets,
    batch: TrainBatch,
    losses: LossConfig,
    perceptual: PerceptualLoss,
    accelerator: Accelerator,
    step: int,
) -> dict[str, float]:
    """Update D, then the net, on one batch.

    Every loss is taken at the composite and brought back to the photo on its own, so that the weight of D's verdict
    can be set by the ratio of the gradients; one backward pass through the networks follows.

    Args:
        parts: networks and optimisers, D a `HighPassDiscriminator`; changed in place.
        frozen: the other networks of the stage.
        batch: of this process.
        losses: weights.
        perceptual: its features, on the device.
        accelerator: runs the backward passes and chooses the precision.
        step: number of this step in the stage; D's gradient at true photos is penalised in every sixteenth.

    Returns:
        The losses of this process, without their weights; `pair_accuracy`, the share of pairs in which D prefers the
        true photo; `gradient_ratio`, D's gradient at the hole over that of the pixel differences; `adversarial_weight`;
        and the two gradient norms.

    Raises:
        DivergedError: a loss or gradient is not finite; the networks are as they were before its update.

    Source: Mescheder et al., ICML 2018 (R1); Karras et al., CVPR 2020 (lazy); Wang et al., CVPR 2018 (feature
        matching); Esser et al., CVPR 2021 (the weight from the ratio of gradients).
    """
    discriminator = parts.unwrapped_discriminator
    assert isinstance(discriminator, HighPassDiscriminator)  # noqa: S101 (for the type checker)
    with accelerator.autocast():
        painted = paint_batch(parts.stage, parts.net, frozen, batch)
    own_photo, sketch = painted.photo.float(), painted.sketch.float()
    judged = own_photo if painted.result is None else painted.result.float()
    hole = torch.ones_like(judged[:, :1]) if batch.mask is None else batch.mask

    photo = judged.detach().requires_grad_()
    lines = sketch.detach().requires_grad_(parts.stage.part == "G")
    composite = torch.where(hole > 0, photo, batch.photo)
    seen, truth = crop(composite, batch.windows), crop(batch.photo, batch.windows)
    seen_hole = None if batch.mask is None else crop(hole, batch.windows)
    fake = discriminator.prepare(seen, crop(lines, batch.windows), seen_hole)
    # F's photo and the true one stand beside what F read; else F would have to please a D that knows lines it does not.
    beside = lines if parts.stage.part == "F" else batch.sketch
    with torch.no_grad():
        real = discriminator.prepare(truth, crop(beside, batch.windows), seen_hole)

    values = _update_discriminator(parts, real, [each.detach() for each in fake], losses, accelerator, step)

    discriminator.requires_grad_(False)
    try:
        with judging(accelerator):
            with torch.no_grad():
                wanted = discriminator(real).features
            verdict = discriminator(fake)
            terms = {
                "adversarial": -verdict.mean().mean(),
                "feature_matching": _matching(verdict, wanted),
                "perceptual": perceptual(seen, truth),
            }
        terms["reconstruction"] = reconstruction_loss(photo, batch.photo)
        terms["hole"] = ((photo - batch.photo).abs() * hole).sum() / (hole.sum() * photo.shape[1]).clamp_min(1)
        pixels = losses.reconstruction * terms["reconstruction"] + losses.hole * terms["hole"]
        leaves = [photo, lines] if lines.requires_grad else [photo]
        at_pixels = torch.autograd.grad(pixels, photo, retain_graph=True)[0]
        rest = terms["perceptual"] + losses.feature_matching * terms["feature_matching"]
        wish = _gradients(rest, leaves)
        wish[0] = wish[0] + at_pixels
        liked = _gradients(terms["adversarial"], leaves)
        # One transfer from the device for all numbers, here and in `update_weights`.
        sizes = torch.stack([(each * hole).norm() for each in (at_pixels, wish[0], liked[0])]).tolist()
        weight = min(losses.adversarial_share * sizes[1] / max(sizes[2], 1e-12), _MAX_WEIGHT)
        values |= {"gradient_ratio": sizes[2] / max(sizes[0], 1e-12), "adversarial_weight": weight}
        pulls = [whole + weight * part for whole, part in zip(wish, liked, strict=True)]
        total = (judged * pulls[0]).sum()
        if lines.requires_grad:
            total = total + (sketch * pulls[1]).sum()
            true_sketch = batch.sketch if batch.mask is None else batch.sketch * batch.mask
            terms["own"] = reconstruction_loss(sketch, true_sketch) + reconstruction_loss(own_photo, batch.photo)
            total = total + losses.own * losses.reconstruction * terms["own"]
        values |= update_weights(parts.optimiser, total, terms, "net", accelerator)
    finally:
        discriminator.requires_grad_(True)
    return values


def crop(images: Tensor, windows: NDArray[np.int64]) -> Tensor:
    """The windows (N, 4) top, left, height, width of (N, C, H, W) images, all of one size."""
    if tuple(windows[0, 2:]) == tuple(images.shape[2:]):
        return images
    return torch.stack(
        [image[:, top : top + tall, left : left + wide]
         for image, (top, left, tall, wide) in zip(images, windows.tolist(), strict=True)]
    )  # fmt: skip


def _update_discriminator(
    parts: StageParts[Stage],
    real: list[Tensor],
    fake: list[Tensor],
    losses: LossConfig,
    accelerator: Accelerator,
    step: int,
) -> dict[str, float]:
    is_penalised = losses.r1 > 0 and step % _R1_EVERY == 0
    both = [torch.cat(pair).requires_grad_(is_penalised) for pair in zip(real, fake, strict=True)]
    with judging(accelerator):
        # One pass for both, since a wrapped network wants one forward pass for each backward pass.
        verdict: PatchScores = parts.discriminator(both)
    count = real[0].shape[0]
    terms = {
        "discriminator_real": _hinge(verdict, slice(count), losses.hinge_margin, -1),
        "discriminator_fake": _hinge(verdict, slice(count, None), losses.hinge_margin, 1),
    }
    total = terms["discriminator_real"] + terms["discriminator_fake"]
    means = verdict.mean()
    terms["pair_accuracy"] = (means[:count] > means[count:]).float().mean()
    if is_penalised:
        gradients = torch.autograd.grad(means[:count].sum(), both, create_graph=True)
        # The sum over what is read; a mean over the pixels would all but remove it.
        terms["r1"] = torch.stack([each[:count].float().square().sum() for each in gradients]).sum() / count
        total = total + _R1_EVERY * losses.r1 / 2 * terms["r1"]
    values = update_weights(parts.discriminator_optimiser, total, terms, "discriminator", accelerator)
    values.pop("r1", None)  # not in every step, so its mean over a line of the statistics would be wrong
    return values


def _hinge(verdict: PatchScores, which: slice, margin: float, sign: int) -> Tensor:
    parts = [
        (F.relu(margin + sign * scores[which].float()) * shares[which]).sum() / shares[which].sum().clamp_min(1e-6)
        for scores, shares in zip(verdict.scores, verdict.shares, strict=True)
    ]
    return torch.stack(parts).mean()


def _matching(verdict: PatchScores, wanted: list[Tensor]) -> Tensor:
    return torch.stack(
        [(a.float() - b.float()).abs().mean() for a, b in zip(verdict.features, wanted, strict=True)]
    ).mean()


def _gradients(loss: Tensor, leaves: list[Tensor]) -> list[Tensor]:
    found = torch.autograd.grad(loss, leaves, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(leaf) if each is None else each for each, leaf in zip(found, leaves, strict=True)]
