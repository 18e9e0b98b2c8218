"""The losses of G, F and D; what one stage of any training consists of, and how its weights take a step down them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import get_total_norm

from dpsdata import weights
from dpsdata.contracts import ToleranceError, UsageError
from dpsdata.hed.loading import load_hed
from dpsdata.weights.reading import read_state
from models.weights.vgg19 import VGG19, VGG_CONVOLUTIONS

if TYPE_CHECKING:
    from accelerate import Accelerator


PerceptualName = Literal["vgg19-torchvision", "hed-compact", "hed-compact-unit"]

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
_POOLED = (5, 10)  # a pool stands in front of these convolutions, and their outputs are wanted


class HingePair(NamedTuple):
    """The two halves of the discriminator's loss."""

    real: Tensor
    fake: Tensor


def hinge_losses(real_scores: Tensor, fake_scores: Tensor, margin: float) -> HingePair:
    """The discriminator's hinge loss: it wants real scores above `margin` and fake ones below minus `margin`.

    Args:
        real_scores: any shape; the mean is taken over all values.
        fake_scores: the same.
        margin: 10 as published.

    Source: VITA-Group/DeepPS@3079d46 src/models.py.
    """
    return HingePair(F.relu(margin - real_scores).mean(), F.relu(margin + fake_scores).mean())


def adversarial_loss(fake_scores: Tensor) -> Tensor:
    """What the discriminator's verdict costs the network that it judges: minus the mean score."""
    return -fake_scores.mean()


def reconstruction_loss(fake: Tensor, real: Tensor) -> Tensor:
    """Mean absolute difference of two (N, C, H, W) tensors."""
    return (fake.float() - real.float()).abs().mean()


class PerceptualLoss(nn.Module):
    """Weighted mean squared differences of the feature maps of two photos.

    Args:
        features: takes (N, 3, H, W) RGB in [-1, 1] and returns maps, from the finest.
        name: of the weights, written into the card.
        factors: weights of the maps.
    """

    def __init__(self, features: nn.Module, name: PerceptualName, factors: tuple[float, ...]) -> None:
        super().__init__()
        self.features = features.eval().requires_grad_(False)
        self.name = name
        self.factors = factors

    def forward(self, fake: Tensor, real: Tensor) -> Tensor:
        """A scalar for (N, 3, H, W) RGB in [-1, 1]; the gradient goes to `fake`."""
        with torch.no_grad():
            wanted = self.features(real)
        total = fake.new_zeros((), dtype=torch.float32)
        for factor, got, target in zip(self.factors, self.features(fake), wanted, strict=True):
            total = total + factor * F.mse_loss(got.float(), target.float())
        return total


class VGGFeatures(nn.Module):
    """relu2_1 and relu3_1 of VGG19.

    Args:
        published_scaling: subtract and divide as the published code does, which stretches the contrast fourfold.

    Source: VITA-Group/DeepPS@3079d46 src/vgg.py; Simonyan and Zisserman 2015 for the network.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, published_scaling: bool = False) -> None:
        super().__init__()
        self.features = nn.ModuleDict(
            {str(index): nn.Conv2d(before, after, 3, padding=1) for index, (before, after) in VGG_CONVOLUTIONS.items()}
        )
        mean, std = torch.tensor(_IMAGENET_MEAN), torch.tensor(_IMAGENET_STD)
        shown = ((mean + 1) / 2, std / 2) if published_scaling else (2 * mean - 1, 2 * std)
        self.register_buffer("mean", shown[0].view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", shown[1].view(1, 3, 1, 1), persistent=False)

    def forward(self, photos: Tensor) -> list[Tensor]:
        """(N, 3, H, W) RGB in [-1, 1] to (N, 128, H/2, W/2) and (N, 256, H/4, W/4)."""
        x = (photos - self.mean) / self.std
        outputs = []
        for index, conv in self.features.items():
            if int(index) in _POOLED:
                x = F.max_pool2d(x, 2)
            x = F.relu(conv(x))
            if int(index) in _POOLED:
                outputs.append(x)
        return outputs


class CompactFeatures(nn.Module):
    """The second and third stage of the bundled compact HED, which stand in for VGG19."""

    def __init__(self) -> None:
        super().__init__()
        self.net = load_hed("hed-compact")
        # The deeper stages would only cost time.
        self.net.stages, self.net.norms = self.net.stages[:3], self.net.norms[:3]

    def forward(self, photos: Tensor) -> list[Tensor]:
        """(N, 3, H, W) RGB in [-1, 1] to maps at half and at a quarter of the size."""
        return self.net.features((photos + 1) * 127.5)[1:]


class UnitCompactFeatures(nn.Module):
    """All five stages of the bundled compact HED with vectors of length 1 at every pixel, as in LPIPS.

    Where lines are uncertain, the nearest features in the mean are those of a blurred photo; these here do not shrink
    with the contrast, so that blur costs more.
    """

    def __init__(self) -> None:
        super().__init__()
        self.net = load_hed("hed-compact")

    def forward(self, photos: Tensor) -> list[Tensor]:
        """(N, 3, H, W) RGB in [-1, 1] to five maps, whose mean squared difference is the squared one of the vectors."""
        maps = self.net.features((photos + 1) * 127.5)
        return [F.normalize(each.float(), dim=1) * each.shape[1] ** 0.5 for each in maps]


def choose_perceptual() -> PerceptualName:
    """VGG19 where its weights are installed, otherwise the bundled compact HED; never the net kept for scoring."""
    return VGG19 if weights.installed(VGG19) else "hed-compact"


def load_perceptual(
    name: PerceptualName, factors: tuple[float, float], published_vgg_scaling: bool = False
) -> PerceptualLoss:
    """The perceptual loss with its features, on the CPU.

    Args:
        name: of the features.
        factors: weights of the finer and of the coarser map; of `hed-compact-unit`, a fifth for each of the three
            finer and the two coarser ones.
        published_vgg_scaling: see `VGGFeatures`.

    Raises:
        UsageError: no such features.
        MissingError: the weights are not installed, or damaged.
    """
    if name == "hed-compact":
        return PerceptualLoss(CompactFeatures(), name, factors)
    if name == "hed-compact-unit":
        finer, coarser = (factor / 5 for factor in factors)
        return PerceptualLoss(UnitCompactFeatures(), name, (finer, finer, finer, coarser, coarser))
    if name != VGG19:
        raise UsageError(f"perceptual: expected {VGG19}, hed-compact or hed-compact-unit, got {name!r}")
    features = VGGFeatures(published_vgg_scaling)
    state, _ = read_state(weights.weights_path(name))
    features.load_state_dict(dict(state))
    return PerceptualLoss(features, name, factors)


# Of a loss in fp16; gradients that overflow even so are not a matter of precision.
_LOWEST_SCALE = 1.0


class DivergedError(ToleranceError):
    """A loss or a gradient is not finite any more."""


class StagePlan(Protocol):
    """What the loop and the batches read of a stage."""

    @property
    def name(self) -> str:
        """Of the stage; no other of the training has it."""

    @property
    def batch_size(self) -> int:
        """Images per step, over all processes."""

    @property
    def mask_count(self) -> int:
        """Size of its pool of masks."""

    @property
    def step_count(self) -> int:
        """All steps."""


def images_at(stages: Sequence[StagePlan], stage: int, step: int = 0) -> int:
    """Images that a training has seen at a step of a stage, all earlier stages among them."""
    done = sum(earlier.step_count * earlier.batch_size for earlier in stages[:stage])
    return done + (step * stages[stage].batch_size if step else 0)


StageT = TypeVar("StageT", bound=StagePlan)


@dataclass(frozen=True, eq=False)
class StageParts(Generic[StageT]):
    """The networks and optimisers of a stage.

    Attributes:
        stage: what is trained.
        net: the network that is trained; perhaps wrapped for several processes.
        discriminator: its D; perhaps wrapped.
        unwrapped: `net` without a wrapper.
        unwrapped_discriminator: `discriminator` without a wrapper.
        optimiser: of the net.
        discriminator_optimiser: of the discriminator.
    """

    stage: StageT
    net: nn.Module
    discriminator: nn.Module
    unwrapped: nn.Module
    unwrapped_discriminator: nn.Module
    optimiser: torch.optim.Optimizer
    discriminator_optimiser: torch.optim.Optimizer


def update_weights(
    optimiser: torch.optim.Optimizer,
    total: Tensor,
    terms: dict[str, Tensor],
    owner: str,
    accelerator: Accelerator,
) -> dict[str, float]:
    """Take one step down a loss; in fp16, where a gradient overflows, only lower the scale of the loss.

    Args:
        optimiser: of the weights.
        total: the loss.
        terms: its parts, to be reported.
        owner: `net` or `discriminator`.
        accelerator: runs the backward pass.

    Returns:
        The parts as numbers, and the norm of the gradient as `OWNER_gradient`.

    Raises:
        DivergedError: one of them is not finite; the weights are as they were.
    """
    scaler = accelerator.scaler  # None but in fp16
    optimiser.zero_grad(set_to_none=True)
    accelerator.backward(total)
    if scaler is not None:
        scaler.unscale_(optimiser)
    norm = get_total_norm(_gradients(optimiser))
    names = [*terms, f"{owner}_gradient"]
    # One transfer from the device for all numbers.
    numbers = torch.stack([*(term.detach().float() for term in terms.values()), norm.float()]).tolist()
    values = dict(zip(names, numbers, strict=True))
    broken = [name for name, value in values.items() if not abs(value) < float("inf")]
    if scaler is not None:
        if broken == names[-1:] and scaler.get_scale() > _LOWEST_SCALE:
            broken, values[names[-1]] = [], 0.0
        scaler.step(optimiser)  # which leaves the weights alone where a gradient is not finite
        scaler.update()
    if broken:
        optimiser.zero_grad(set_to_none=True)
        raise DivergedError(f"{', '.join(broken)} of the {owner} is not finite")
    if scaler is None:
        optimiser.step()
    return values


def judging(accelerator: Accelerator) -> AbstractContextManager[None]:
    """The precision of discriminators and features: that of the training, but float32 where it is fp16.

    Their gradients at pixels, which are taken outside of `update_weights`, are too small for fp16 without a scale.
    """
    return nullcontext() if accelerator.mixed_precision == "fp16" else accelerator.autocast()


def _gradients(optimiser: torch.optim.Optimizer) -> Iterable[Tensor]:
    for group in optimiser.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None:
                yield parameter.grad
