"""What one stage of any training consists of, and how its weights are updated."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from dpsdata.contracts import ToleranceError

if TYPE_CHECKING:
    from accelerate import Accelerator


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
    """Take one step down a loss.

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
    optimiser.zero_grad(set_to_none=True)
    accelerator.backward(total)
    norm = get_total_norm(_gradients(optimiser))
    names = [*terms, f"{owner}_gradient"]
    # One transfer from the device for all numbers.
    numbers = torch.stack([*(term.detach().float() for term in terms.values()), norm.float()]).tolist()
    values = dict(zip(names, numbers, strict=True))
    broken = [name for name, value in values.items() if not abs(value) < float("inf")]
    if broken:
        optimiser.zero_grad(set_to_none=True)
        raise DivergedError(f"{', '.join(broken)} of the {owner} is not finite")
    optimiser.step()
    return values


def _gradients(optimiser: torch.optim.Optimizer) -> Iterable[Tensor]:
    for group in optimiser.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None:
                yield parameter.grad
