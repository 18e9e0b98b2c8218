"""A small built folder and random weights of every method that has some; several tests run this file by its path."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from dpsdata.dataset.manifest import ManifestRow, read_manifest, write_dataset
from dpsdata.images.codec import write_mask, write_photo, write_sketch
from dpsdata.masks import make_mask
from models.baselines import DeepFillv2, DeepFillv2Config, ScFegan, ScFeganConfig
from models.baselines.loading import write_network
from models.editing.loading import collect_checkpoints
from models.networks.config import tiny_config
from models.networks.editing_net import EditingNet, Refiner
from models.networks.initialisation import initialise_weights
from models.networks.inpainter import Inpainter
from models.weights.checkpoints import write_checkpoint

IDS = ("a", "b__c", "d")


def make_built(folder: Path, size: int, ids: tuple[str, ...] = IDS) -> Path:
    """Smooth photos, a few lines in the middle, stored masks of `dps`."""
    for name in ("images", "sketches", "masks/dps"):
        (folder / name).mkdir(parents=True)
    rows = []
    for index, name in enumerate(ids):
        colors = np.random.default_rng(index).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        sketch = np.zeros((size, size), np.uint8)
        sketch[size // 2 - 4 * index, size // 8 : -size // 8] = 1
        sketch[size // 8 : -size // 8, size // 2 + 6 * index] = 1
        write_photo(folder / f"images/{name}.png", np.asarray(cv2.resize(colors, (size, size)), np.uint8))
        write_sketch(folder / f"sketches/{name}.png", sketch)
        write_mask(folder / f"masks/dps/{name}.png", make_mask("dps", size, size, 0, name))
        rows.append(ManifestRow(name, "test", name, "", size, size, f"{index}", "", "", {"dps": "x"}, {}))
    write_dataset(folder, rows, {"size": size, "config": {"seed": 0}, "stages": [], "splits": {}})
    return folder


def make_split_built(folder: Path, size: int) -> Path:
    """Five samples: `a`, `b__c` and `f` of the split test, `d` and `e` of val."""
    built = make_built(folder, size, ("a", "b__c", "d", "e", "f"))
    rows = [replace(row, split="val" if row.id in "de" else "test") for row in read_manifest(built)]
    write_dataset(built, rows, {"size": size, "config": {"seed": 0}, "stages": [], "splits": {}})
    return built


def lively(net: nn.Module, gain: float) -> nn.Module:
    """Random weights whose photos are neither flat nor saturated."""
    generator = torch.Generator().manual_seed(3)
    for value in net.parameters():
        noise = torch.randn(value.shape, generator=generator)
        value.data = noise * (gain / value[0].numel() ** 0.5 if value.ndim == 4 else 0.1)
    return net


def write_baselines(folder: Path) -> Path:
    """RUN/weights as three trainings would leave them: width 8 and 4 instead of 48 and 64."""
    weights = folder / "weights"
    weights.mkdir(parents=True)
    card = {"images_seen": 1234, "licence": "for tests alone"}
    write_network(weights / "deepfillv2.safetensors", lively(DeepFillv2(DeepFillv2Config(8)), 2.0), card)
    guided = lively(DeepFillv2(DeepFillv2Config(8, guided=True)), 2.0)
    write_network(weights / "deepfillv2-guided.safetensors", guided, card)
    write_network(weights / "scfegan.safetensors", lively(ScFegan(ScFeganConfig(4)), 1.0), card)
    return folder


def write_dps(folder: Path, size: int, seed: int = 5) -> Path:
    """A tiny G and F."""
    folder.mkdir(parents=True)
    config = tiny_config("edit", size)
    net = EditingNet(Refiner(config.refiner), Inpainter(config.inpainter))
    initialise_weights(net, seed, "test")
    for value in net.parameters():
        if value.ndim == 4:
            value.data *= 4
    net.inpainter.head.weight.data /= 10
    for checkpoint in collect_checkpoints(net.eval()):
        write_checkpoint(folder / f"{checkpoint.network}.safetensors", checkpoint)
    return folder
