"""A built folder and the smallest training that goes through every stage."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from models.training.catalogue import read_training
from models.training.editing.config import StageConfig, TrainConfig


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
    g = [StageConfig(network=f"G{size}", images=6, level1_images=2, batch=2, masks=16) for size in (16, 32, 64)]
    return replace(
        read_training("tiny"),
        name="quick",
        stage=(StageConfig(network="F", images=6, batch=2, masks=16), *g),
        log_images=4,
        validation_images=4,
        validation_count=2,
        warmup_images=4,
    )
