"""What the training takes from HF Accelerate: device, precision, processes; and the averaged weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from dpsdata.contracts import UsageError
from dpsdata.runtime.device import check_precision, choose_device

if TYPE_CHECKING:
    from accelerate import Accelerator

_PRECISIONS = {"fp32": "no", "bf16": "bf16"}


def make_accelerator(device: str = "auto", precision: str = "fp32") -> Accelerator:
    """An accelerator for this process; under `accelerate launch` each process gets its own GPU.

    Args:
        device: `auto`, `cpu` or `cuda`.
        precision: `fp32` or `bf16`.

    Raises:
        UsageError: the device or precision is unknown or not there.
    """
    from accelerate import Accelerator

    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"device: expected auto, cpu or cuda, got {device!r}; choose a GPU by CUDA_VISIBLE_DEVICES")
    where = choose_device(device)
    mode = _PRECISIONS[check_precision(precision, where)]
    try:
        return Accelerator(cpu=where.type == "cpu", mixed_precision=mode)
    except ValueError as error:
        raise UsageError(
            f"this Python process began a training with another device or precision ({str(error).splitlines()[0]}); "
            "start a new one"
        ) from None


def wrap_network(net: nn.Module, accelerator: Accelerator) -> nn.Module:
    """The network as several processes train it together; unchanged where there is one process."""
    if accelerator.num_processes == 1:
        return net
    if accelerator.device.type == "cuda":  # statistics over the whole batch, as one process has them
        net = nn.SyncBatchNorm.convert_sync_batchnorm(net)  # type: ignore[no-untyped-call]
    wrapped: nn.Module = accelerator.prepare_model(net)
    return wrapped


@torch.no_grad()
def ema_update(average: nn.Module, net: nn.Module, decay: float) -> None:
    """Move averaged weights and buffers in place towards those of a network: decay * average + (1 - decay) * net."""
    current = net.state_dict()
    kept = average.state_dict()
    floats = [name for name, value in kept.items() if value.is_floating_point()]
    torch._foreach_lerp_([kept[name] for name in floats], [current[name] for name in floats], 1 - decay)
    for name in kept.keys() - set(floats):
        kept[name].copy_(current[name])


@torch.no_grad()
def broadcast_from_rank0(net: nn.Module, accelerator: Accelerator) -> None:
    """Give every process the tensors of the first one: BatchNorm's statistics differ between processes."""
    if accelerator.num_processes > 1:
        for value in net.state_dict().values():
            torch.distributed.broadcast(value, 0)
