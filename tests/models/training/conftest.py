"""A built folder and the smallest training that goes through every stage."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from models.training.editing.config import TrainConfig
from models.training.editing.presets import find_train_preset


@pytest.fixture(scope="session")
def built(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six faces built at 64 px; all of them in the split `train`."""
    from dpsdata.dataset import BuildConfig, build_dataset

    out = tmp_path_factory.mktemp("training") / "built"
    build_dataset(BuildConfig(source=faces, out=out, size=64, split="ratio:1,0,0", workers=1))
    return out


@pytest.fixture(scope="session")
def quick() -> TrainConfig:
    """Two or three steps of every stage, on batches of two."""
    return replace(
        find_train_preset("tiny"),
        name="quick",
        inpainter_images=6,
        fixed_images=2,
        random_images=4,
        inpainter_batch=2,
        refiner_batches=(2, 2, 2),
        log_images=4,
        validation_images=4,
        validation_count=2,
        warmup_images=4,
        inpainter_masks=16,
        refiner_masks=(16, 16, 16),
    )
