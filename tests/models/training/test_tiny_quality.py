"""The short form of tests/benchmarks/tiny_training.py, which trains `tiny` whole and asks for 3 dB."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from dpsdata.dataset.torch_dataset import EditDataset
from dpsdata.sketch import smooth_sketch
from models.networks.published_signs import network_input
from models.training.catalogue import make_trainer, read_training
from models.training.editing.algorithm import EditingAlgorithm
from models.training.engine.validation import hole_psnr


def fill_mean_color(photo: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    known = 1 - mask
    mean = (photo * known).sum((2, 3), keepdim=True) / known.sum((2, 3), keepdim=True).clamp_min(1)
    return photo * known + mean * mask


@pytest.mark.slow
def test_f_soon_beats_the_mean_colour_on_its_photos(built: Path, tmp_path: Path) -> None:
    config = read_training("tiny", ["stage.0.images=400", "validation_images=1000", "log_images=40"])
    trainer = make_trainer(config, built, tmp_path / "run", device="cpu", checkpoint_seconds=1e9)
    trainer._run_stage(trainer.stages[0])
    dataset = EditDataset(built, "train")
    samples = [dataset[index] for index in range(len(dataset))]
    photo, sketch, mask = (torch.stack([sample[key] for sample in samples]) for key in ("photo", "sketch", "mask"))  # type: ignore[literal-required]
    assert isinstance(trainer.algorithm, EditingAlgorithm)
    with torch.no_grad():
        painted = trainer.algorithm.inpainter(network_input(smooth_sketch(sketch), photo, mask))
    gain = hole_psnr(painted, photo, mask).mean() - hole_psnr(fill_mean_color(photo, mask), photo, mask).mean()
    assert float(gain) > 0.5
    rows = [json.loads(line) for line in (tmp_path / "run" / "stats.jsonl").read_text().splitlines()]
    losses = [row["reconstruction"] for row in rows if row["kind"] == "train"]
    assert losses[-1] < 0.6 * losses[0]
