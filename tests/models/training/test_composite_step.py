"""Trainings against the high-pass discriminator: runs, what they log, Ctrl-C, locks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from dpsdata.contracts import EnvironmentFailure, UsageError
from dpsdata.runtime.files import lock_folder
from models.editing.editor import load_editor
from models.networks.config import ModelConfig, tiny_config
from models.training.catalogue import make_trainer, read_training
from models.training.editing.config import LossConfig, StageConfig, TrainConfig, plan_stages
from models.training.editing.steps import FrozenNets, crop, paint_batch, place_windows, prepare_batch
from models.training.engine.batches import BatchPixels
from models.training.engine.state import BEST_FILE, read_light
from models.training.engine.validation import grid_power

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def stemmed(quick: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> TrainConfig:
    """A few steps of F and G of 64 px behind a stem of 2."""
    base = tiny_config("edit", 64)
    sizes = ModelConfig(
        replace(base.refiner, resolutions=(64,), stem=2), replace(base.inpainter, stem=2), base.discriminator
    )
    monkeypatch.setattr("models.training.editing.config.find_config", lambda *_: sizes)
    stages = (
        StageConfig(network="F", images=8, batch=2, masks=8),
        StageConfig(network="G64", images=8, level1_images=2, batch=2, masks=8),
    )
    losses = LossConfig(
        hinge_margin=1.0, perceptual=(1.0, 1.0), composite=True, hole=20.0, feature_matching=1.0, r1=1.0, crop=0.5
    )
    return replace(
        quick,
        name="stemmed",
        stage=stages,
        losses=losses,
        features="hed-compact-unit",
        discriminator="highpass",
        level_per_sample=True,
        mask_family="dps+scfegan",
    )


def test_f_and_g_are_trained_and_the_discriminator_is_logged(built: Path, stemmed: TrainConfig, tmp_path: Path) -> None:
    folder = make_trainer(stemmed, built, tmp_path / "run", device="cpu").run()
    rows = [json.loads(line) for line in (tmp_path / "run/stats.jsonl").read_text().splitlines()]
    trained = [row for row in rows if row["kind"] == "train"]
    assert {row["stage"] for row in trained} == {"F64", "G64"}
    for row in trained:
        assert 0 <= row["pair_accuracy"] <= 1
        assert row["gradient_ratio"] > 0
        assert row["adversarial_weight"] > 0
    judged = [row for row in rows if row["kind"] == "validation"]
    assert {"hedps", "sharpness", "grid"} <= judged[0].keys()
    assert {"hedps_l0", "hedps_l1"} <= judged[-1].keys()
    light, card = read_light(tmp_path / "run" / BEST_FILE)
    assert {"refiner", "inpainter", "average", "discriminator"} <= light.keys()
    best = min(row["hedps_l0"] for row in judged if row["stage"] == "G64")
    told = json.loads((tmp_path / "run/card.json").read_text())["results"]
    assert told["G64_best_hedps"] == pytest.approx(best, abs=1e-4)
    assert card["stage"] == "G64"
    editor = load_editor(folder)
    photo = np.full((64, 64, 3), 128, np.uint8)
    mask = np.zeros((64, 64), np.uint8)
    mask[20:40, 20:40] = 255
    assert editor.net.refiner.config.stem == 2
    editor.set_photo(photo, align="none")
    [result] = editor.predict_levels(np.full((64, 64), 255, np.uint8), mask, [0.5])
    assert result.photo.shape == photo.shape
    again = make_trainer(stemmed, built, tmp_path / "again", device="cpu").run()
    for path in sorted(folder.glob("*.safetensors")):
        assert path.read_bytes() == (again / path.name).read_bytes(), "the same bytes"


def test_f_learns_from_sketches_that_g_refined(built: Path, stemmed: TrainConfig, tmp_path: Path) -> None:
    first = make_trainer(stemmed, built, tmp_path / "first", device="cpu").run()
    stage = StageConfig(network="F", images=8, batch=2, masks=8, refined_share=0.5)
    config = replace(stemmed, stage=(stage,))
    both = replace(stemmed, stage=(stage, stemmed.stage[1]))
    with pytest.raises(UsageError, match="needs a trained G; pass --init-from"):
        make_trainer(both, built, tmp_path / "none", device="cpu")
    folder = make_trainer(config, built, tmp_path / "run", device="cpu", init_from=str(first)).run()
    for name, stands in (("G64", True), ("F64", False)):
        before, after = (load_file(path / f"{name}.safetensors") for path in (first, folder))
        assert all(torch.equal(before[key], after[key]) for key in before) == stands, name
    rows = [json.loads(line) for line in (tmp_path / "run/stats.jsonl").read_text().splitlines()]
    assert {"hedps", "hedps_refined", "sharpness_refined"} <= rows[-1].keys()
    with pytest.raises(UsageError, match="refined_share"):
        replace(stemmed.stage[1], refined_share=0.5)


def test_f_reads_gs_sketch_in_its_rough_samples_alone() -> None:
    known = read_training("lite-edit-256")
    assert isinstance(known, TrainConfig)
    config = replace(known, stage=(replace(known.stage[0], refined_share=0.5), known.stage[1]))
    count = 6
    draws = np.random.default_rng(0)
    photos = draws.integers(0, 256, (count, 256, 256, 3), np.uint8)
    lines = np.zeros((count, 256, 256), np.uint8)
    lines[:, 120, 60:200] = 1
    masks = np.zeros_like(lines)
    masks[:, 80:180, 80:180] = 1
    pixels = BatchPixels(tuple("abcdef"), photos, lines, masks)
    stage = plan_stages(config)[0]
    batch = prepare_batch(pixels, stage, config, torch.linspace(0, 1, count), torch.device("cpu"))
    assert batch.rough is not None
    rows = batch.rough.rows.tolist()
    assert 0 < len(rows) < count
    assert torch.equal(batch.rough.level, torch.linspace(0, 1, count)[rows])
    seen: list[torch.Tensor] = []

    class Eye(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(x)
            return x[:, :3]

    class White(torch.nn.Module):
        def forward(self, inputs: dict[int, torch.Tensor], level: torch.Tensor) -> SimpleNamespace:
            assert inputs[256].shape[0] == len(level) == len(rows)
            return SimpleNamespace(outputs={256: torch.ones(len(level), 6, 256, 256)})

    paint_batch(stage, Eye(), FrozenNets({}, None, White()), batch)  # type: ignore[arg-type]
    for row in range(count):
        same = torch.equal(seen[0][row], batch.inputs[256][row])
        assert same == (row not in rows)
        assert torch.equal(seen[0][row, 3:], batch.inputs[256][row, 3:]), "photo and mask"
    assert (seen[0][rows, :3, 80:180, 80:180] == 1).all(), "no line: white"
    assert (seen[0][:, :3, :80] == 0).all()


def test_windows_hold_the_hole_or_lie_in_it() -> None:
    known = read_training("lite-edit-256")
    assert isinstance(known, TrainConfig)
    config = replace(known, losses=LossConfig(crop=0.5))
    masks = np.zeros((2, 64, 64), np.uint8)
    masks[0, 3:9, 50:60] = 1
    masks[1, 2:62, 30:34] = 1
    blank = np.zeros((2, 64, 64, 3), np.uint8)
    windows = place_windows(BatchPixels(("a", "b"), blank, blank[..., 0], masks), config)
    assert windows.shape == (2, 4)
    assert (windows[:, 2:] == 32).all()
    top, left = windows[0, :2]
    assert top <= 3
    assert 60 - 32 <= left <= 32
    assert 2 <= windows[1, 0] <= 62 - 32
    assert windows[1, 1] <= 30
    images = torch.arange(2 * 64 * 64, dtype=torch.float32).reshape(2, 1, 64, 64)
    assert crop(images, windows)[0, 0, 0, 0] == images[0, 0, top, left]
    assert crop(images, np.array([[0, 0, 64, 64]] * 2)) is images


def test_two_trainings_do_not_share_a_folder(built: Path, quick: TrainConfig, tmp_path: Path) -> None:
    with (
        lock_folder(tmp_path, tmp_path / ".lock", "training"),
        pytest.raises(EnvironmentFailure, match="another training"),
    ):
        make_trainer(quick, built, tmp_path, device="cpu").run()


def test_batches_that_cannot_be_shared_are_refused_at_the_start(
    built: Path, quick: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("accelerate.Accelerator.num_processes", 4)
    with pytest.raises(UsageError, match="cannot be shared by 4 processes"):
        make_trainer(quick, built, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_the_same_command_resumes(built: Path, tmp_path: Path, number: signal.Signals) -> None:
    def words(out: str) -> list[str]:
        options = ["--device", "cpu", "--images-scale", "0.03", "--checkpoint-seconds", "9999"]
        return [
            sys.executable,
            "-m",
            "models.cli",
            "train",
            "tiny",
            "--data",
            str(built),
            "--out",
            str(tmp_path / out),
            *options,
        ]

    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run(words("whole"), env=environment, capture_output=True, check=False).returncode == 0
    with subprocess.Popen(
        words("cut"), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        assert "photos on cpu" in run.stdout.readline()
        while not (tmp_path / "cut/card.json").exists() and run.poll() is None:
            pass
        run.send_signal(number)
        out, err = run.communicate(timeout=120)
    assert run.returncode == 130, err
    assert "images seen" in out + err
    assert "Traceback" not in err
    assert json.loads((tmp_path / "cut/card.json").read_text())["status"] == "interrupted"
    again = subprocess.run(words("cut"), env=environment, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    for path in sorted((tmp_path / "whole/weights").glob("*.safetensors")):
        assert path.read_bytes() == (tmp_path / "cut/weights" / path.name).read_bytes(), path.name


def test_a_grid_is_seen_at_each_of_its_periods() -> None:
    noise = torch.randn((1, 3, 96, 96), generator=torch.Generator().manual_seed(3)) / 4
    hole = torch.zeros((1, 1, 96, 96))
    hole[..., 10:90, 10:90] = 1
    plain = grid_power(noise, hole)
    assert plain < 2
    for period in (2, 4, 8):
        wave = torch.cos(2 * torch.pi * torch.arange(96) / period) / 4
        assert grid_power(noise + wave, hole) > 3 * plain, period
    assert grid_power(noise + torch.cos(2 * torch.pi * torch.arange(96) / 5.3) / 4, hole) < 3


def test_a_blind_discriminator_is_named(
    built: Path,
    stemmed: TrainConfig,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("models.training.engine.loop._BLIND", 1.1)
    make_trainer(stemmed, built, tmp_path / "run", device="cpu").run()
    assert "hardly better than chance" in capsys.readouterr().out
