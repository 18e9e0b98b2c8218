"""First weights of G, F and D: the published distributions, drawn by parameter name so that no order matters."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from dpsdata.runtime.device import keyed_seed
from models.networks.discriminator import HighPassDiscriminator
from models.networks.layers import LEAKY_SLOPE, AdaptiveInstanceNorm, StemHead

_STANDARD_DEVIATION = 0.02
_POWER_STEPS = 15


def initialise_weights(net: nn.Module, seed: int, purpose: str) -> None:
    """Draw the first weights of a network in place: the same seed and purpose give the same weights.

    Convolutions N(0, 0.02) with bias 0, BatchNorm scale N(1, 0.02) with bias 0, linear layers uniform in
    +-1/sqrt(inputs), and an adaptive norm begins with scale 1 and shift 0. What is not published (the head behind a
    stem, the high-pass discriminator) begins as He et al. propose.

    Args:
        net: a network on the CPU.
        seed: of the run.
        purpose: what tells two networks of one run apart, such as `refiner`.

    Source: VITA-Group/DeepPS@3079d46 src/utils.py (weights_init).
    """
    with torch.no_grad():
        for name, module in net.named_modules():
            generator = torch.Generator().manual_seed(keyed_seed(seed, name, purpose))
            if isinstance(module, nn.Conv2d):
                _draw_convolution(module, generator)
            elif isinstance(module, nn.BatchNorm2d):
                module.reset_running_stats()
                module.weight.normal_(1.0, _STANDARD_DEVIATION, generator=generator)
                module.bias.zero_()
            elif isinstance(module, nn.Linear):
                bound = 1.0 / math.sqrt(module.in_features)
                module.weight.uniform_(-bound, bound, generator=generator)
                module.bias.uniform_(-bound, bound, generator=generator)
        for name, module in net.named_modules():
            if isinstance(module, StemHead | HighPassDiscriminator):
                _draw_kaiming(module, torch.Generator().manual_seed(keyed_seed(seed, name, f"{purpose}:kaiming")))
        for module in net.modules():  # after the linear layers, whose bias this sets anew
            if isinstance(module, AdaptiveInstanceNorm):
                scale, shift = module.affine.bias.chunk(2)
                scale.fill_(1.0)
                shift.zero_()


def _draw_kaiming(net: nn.Module, generator: torch.Generator) -> None:
    """N(0, gain / sqrt(inputs)), since 0.02 is far too small for narrow layers.

    Source: He et al., ICCV 2015.
    """
    gain = math.sqrt(2 / (1 + LEAKY_SLOPE**2))
    for conv in net.modules():
        if not isinstance(conv, nn.Conv2d):
            continue
        if conv.bias is not None:
            conv.bias.zero_()
        deviation = gain / math.sqrt(conv.weight[0].numel())
        conv.weight.normal_(0.0, deviation, generator=generator)


def _draw_convolution(conv: nn.Conv2d, generator: torch.Generator) -> None:
    if conv.bias is not None:
        conv.bias.zero_()
    kernels = [value for key, value in conv.named_parameters() if key.endswith(("weight", "weight.original"))]
    for kernel in kernels:
        kernel.normal_(0.0, _STANDARD_DEVIATION, generator=generator)
        vectors = {key.rsplit(".", 1)[-1]: value for key, value in conv.named_buffers()}
        if {"_u", "_v"} <= vectors.keys():
            _iterate_power(kernel.flatten(1), vectors["_u"], vectors["_v"], generator)


def _iterate_power(matrix: Tensor, left: Tensor, right: Tensor, generator: torch.Generator) -> None:
    """Bring the vectors of a spectral norm to the new kernel: those of the old one would scale it wrongly."""
    left.normal_(generator=generator)
    left.div_(left.norm())
    for _ in range(_POWER_STEPS):
        right.copy_(nn.functional.normalize(matrix.T @ left, dim=0))
        left.copy_(nn.functional.normalize(matrix @ right, dim=0))
