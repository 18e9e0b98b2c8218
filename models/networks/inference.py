"""Networks made ready for inference: the same results within float error, with less work and always the same bytes."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from models.networks.inpainter import Inpainter
from models.networks.layers import DownBlock, Norm, UpBlock, UpConv, double_and_convolve, merge_upsampling


def fold_batch_norm(inpainter: Inpainter) -> Inpainter:
    """Fold every BatchNorm of F into its convolution, in place, for inference alone.

    Args:
        inpainter: F in eval mode; one without BatchNorm stays as it is.

    Returns:
        The same module, its config now without a norm.
    """
    for block in inpainter.modules():
        if isinstance(block, DownBlock | UpBlock) and isinstance(block.norm, Norm) and block.norm.batch is not None:
            assert isinstance(block.conv, nn.Conv2d)  # noqa: S101 (for the type checker)
            _fold(block.conv, block.norm.batch)
            block.norm.batch = None
    inpainter.config = replace(inpainter.config, norm="none")
    return inpainter


class ReadyUpConv(nn.Module):
    """An `UpConv` whose merged kernel is made once, and which nothing can train."""

    kernel: Tensor
    bias: Tensor | None

    def __init__(self, conv: UpConv) -> None:
        super().__init__()
        self.register_buffer("kernel", merge_upsampling(conv.weight.detach()).contiguous())
        self.register_buffer("bias", None if conv.bias is None else conv.bias.detach())

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', 2H, 2W)."""
        return double_and_convolve(x, self.kernel, self.bias)


def merge_up_convolutions(net: nn.Module) -> None:
    """Make the merged kernel of every upsampling convolution once, in place; call it after `fold_batch_norm`."""
    for block in list(net.modules()):
        for name, conv in list(block.named_children()):
            if isinstance(conv, UpConv):
                setattr(block, name, ReadyUpConv(conv))


def float64_linears(net: nn.Module) -> None:
    """Compute every linear layer in float64, in place, so that its float32 result is the same for any thread count.

    A matrix product of these small layers is summed in an order that depends on the number of threads; at the end
    that is enough to move a few pixels by a grey level. They cost next to nothing beside the convolutions.
    """
    for layer in net.modules():
        if isinstance(layer, nn.Linear) and layer.weight.dtype == torch.float32:
            layer.double()
            layer.register_forward_pre_hook(_widen_input)
            layer.register_forward_hook(_narrow_output)


def _widen_input(layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(value.double() for value in inputs)


def _narrow_output(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return output.float()


def _fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    mean, variance, bias = norm.running_mean, norm.running_var, conv.bias
    assert mean is not None and variance is not None and bias is not None  # noqa: S101, PT018 (for the type checker)
    with torch.no_grad():
        gain = norm.weight.double() / torch.sqrt(variance.double() + norm.eps)
        conv.weight.copy_(conv.weight.double() * gain[:, None, None, None])
        bias.copy_((bias.double() - mean.double()) * gain + norm.bias.double())
