"""A tiny network whose outputs are not flat, as files for `load_editor`; several tests run this file by its path."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from models.editing.loading import collect_checkpoints
from models.networks.config import Task, tiny_config
from models.networks.editing_net import EditingNet, Refiner
from models.networks.initialisation import initialise_weights
from models.networks.inpainter import Inpainter
from models.weights.checkpoints import write_checkpoint


def make_tiny_net(task: Task) -> EditingNet:
    config = tiny_config(task)
    net = EditingNet(Refiner(config.refiner), Inpainter(config.inpainter))
    initialise_weights(net, 5, "test")
    generator = torch.Generator().manual_seed(1)
    for value in net.parameters():
        if value.ndim == 4:
            value.data *= 4
    net.inpainter.head.weight.data /= 10  # or tanh saturates, and photos hold nothing but black and white
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            mean, variance = module.running_mean, module.running_var
            assert mean is not None
            assert variance is not None
            mean.copy_(torch.randn(mean.shape, generator=generator) * 0.1)
            variance.copy_(torch.rand(variance.shape, generator=generator) + 0.3)
    return net.eval()


def write_tiny_weights(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for task in ("edit", "synthesis"):
        for checkpoint in collect_checkpoints(make_tiny_net(task)):  # type: ignore[arg-type]
            write_checkpoint(folder / f"{task}-{checkpoint.network}.safetensors", checkpoint)
