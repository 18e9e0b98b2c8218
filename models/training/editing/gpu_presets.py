"""The trainings of F and G for a GPU: as published, and of the smaller `lite` networks."""

from __future__ import annotations

from models.networks.config import Task
from models.training.editing.config import EPOCH_IMAGES, TrainConfig


def paper_training(task: Task) -> TrainConfig:
    """The published training; source: deep_plastic_surgery.md sections 4.2 and 4.3."""
    return TrainConfig(
        f"paper-{task}-256",
        "published",
        task,
        256,
        inpainter_images=50 * EPOCH_IMAGES,
        fixed_images=30 * EPOCH_IMAGES,
        random_images=200 * EPOCH_IMAGES,
    )


def lite_training(task: Task, resolution: int) -> TrainConfig:
    """A training of the `lite` networks at 64, 128 or 256 px, with larger batches and fewer images."""
    batches = {64: (64,), 128: (64, 32), 256: (64, 32, 16)}[resolution]
    return TrainConfig(
        f"lite-{task}-{resolution}",
        "lite",
        task,
        resolution,
        inpainter_images=400_000,
        fixed_images=60_000,
        random_images=400_000,
        inpainter_batch=16,
        refiner_batches=batches,
        refiner_masks=(4096, 2048, 1024)[: len(batches)],
        validation_images=40_000,
    )
