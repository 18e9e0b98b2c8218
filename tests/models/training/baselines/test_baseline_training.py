from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import typer

from dpsdata.runtime.command_line import run_app
from models.baselines.loading import load_deepfillv2, load_scfegan
from models.baselines.patch_discriminator import SNPatchDiscriminator
from models.methods.predictor import LoadOptions, load_method
from models.training.baselines.algorithm import BaselineAlgorithm
from models.training.baselines.config import METHODS, BaselineStage, BaselineTrainConfig
from models.training.catalogue import make_trainer, read_training
from models.training.engine.batches import BatchPixels, BatchSource
from models.training.engine.losses import DivergedError, StageParts
from models.training.engine.state import LIGHT_FILE, read_light
from models.training.export import export_run


def quick(method: str, **fields: object) -> BaselineTrainConfig:
    """Three steps on batches of two."""
    counts = {"images": 6, "batch_size": 2, "log_images": 4, "validation_images": 4, "validation_count": 2}
    config = replace(read_training(f"tiny-{method}"), width=4, discriminator_width=4, mask_count=16, **counts)
    return replace(config, **fields)


def begin(
    config: BaselineTrainConfig, built: Path, out: Path
) -> tuple[Callable[[], dict[str, float]], StageParts[BaselineStage], BatchPixels]:
    trainer = make_trainer(config, built, out, device="cpu")
    stage = trainer.stages[0]
    parts, _ = trainer._begin_stage(stage)
    source = BatchSource(trainer.store, stage, 0, "dps")
    pixels = source.read(source.plan(0))
    return lambda: trainer.algorithm.step(parts, pixels, 0, trainer.accelerator), parts, pixels


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_one_batch_can_be_overfitted_by_a_baseline(built: Path, tmp_path: Path, method: str) -> None:
    config = quick(method, width=8, learning_rate=2e-3)
    if method == "scfegan":
        config = replace(config, width=4, learning_rate=4e-3, betas=(0.5, 0.99))
        steps, names = 46, ("reconstruction",)
    else:
        # A discriminator with its full say slows the first steps, in which gates and small weights shut the network.
        losses = replace(config.deepfill_losses, adversarial=0.01)
        config = replace(config, betas=(0.9, 0.99), deepfill_losses=losses)
        steps, names = 140, ("coarse", "fine")
    step, _, _ = begin(config, built, tmp_path / "run")
    found = [step() for _ in range(steps)]
    first, last = (sum(values[name] for name in names) for values in (found[0], found[-1]))
    assert last < 0.5 * first, (first, last)


@pytest.mark.parametrize("method", METHODS)
def test_gradients_reach_every_weight_of_a_baseline(built: Path, tmp_path: Path, method: str) -> None:
    step, parts, _ = begin(quick(method), built, tmp_path / "run")
    before = {key: value.clone() for key, value in parts.unwrapped_discriminator.state_dict().items()}
    values = step()
    wanted = {"discriminator_real", "discriminator_fake", "discriminator_gradient", "adversarial", "net_gradient"}
    own = {"penalty", "drift", "reconstruction", "perceptual", "style", "variation"}
    assert set(values) == wanted | (own if method == "scfegan" else {"coarse", "fine"})
    for name, value in parts.unwrapped.named_parameters():
        assert value.grad is not None, name
        assert float(value.grad.abs().max()) > 0, name
    assert isinstance(parts.unwrapped_discriminator, SNPatchDiscriminator)
    for name, value in parts.unwrapped_discriminator.named_parameters():
        assert not torch.equal(value, before[name]) or name.endswith("bias"), name
        assert value.requires_grad
    assert not torch.equal(parts.unwrapped_discriminator.conv1.power_vector, before["conv1.power_vector"])  # type: ignore[union-attr]


@pytest.mark.parametrize("method", ["deepfillv2-guided", "scfegan"])
def test_a_killed_baseline_goes_on_as_if_nothing_had_happened(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    config = quick(method)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    make_trainer(config, built, whole, device="cpu", checkpoint_seconds=1e9).run()
    real = BaselineAlgorithm.step

    def stop(
        self: BaselineAlgorithm, parts: object, pixels: object, step: int, accelerator: object
    ) -> dict[str, float]:
        if step == 2:
            raise KeyboardInterrupt
        return real(self, parts, pixels, step, accelerator)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(BaselineAlgorithm, "step", stop)
        with pytest.raises(KeyboardInterrupt):
            make_trainer(config, built, killed, device="cpu", checkpoint_seconds=0.0).run()
    groups, card = read_light(killed / LIGHT_FILE)
    assert set(groups) == {"network", "discriminator", "average"}
    assert card["position"] == [0, 2, -1]
    trainer = make_trainer(config, built, killed, device="cpu")
    assert trainer.position[:2] == (0, 2)
    trainer.run()
    for name in (f"weights/{method}.safetensors", "stats.jsonl"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()


def test_a_broken_loss_of_a_baseline_stops_before_its_weights(built: Path, tmp_path: Path) -> None:
    config = quick("scfegan")
    step, parts, _ = begin(replace(config, scfegan_losses=replace(config.scfegan_losses, style=1e39)), built, tmp_path)
    before = {key: value.clone() for key, value in parts.unwrapped.state_dict().items()}
    with torch.no_grad():
        parts.unwrapped_discriminator.conv6.bias.fill_(float("nan"))  # type: ignore[union-attr]
    with pytest.raises(DivergedError, match="discriminator_real"):
        step()
    assert all(torch.equal(before[key], value) for key, value in parts.unwrapped.state_dict().items())


@pytest.mark.parametrize("method", METHODS)
def test_a_baseline_from_the_command_line(
    built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], method: str
) -> None:
    from models.cli.train import export_command, train_command

    app = typer.Typer()
    app.callback()(lambda: None)
    app.command("train")(train_command)
    app.command("export")(export_command)
    out = tmp_path / "run"
    words = ["train", f"tiny-{method}", "--data", str(built), "--out", str(out), "--device", "cpu", "--seed", "3"]
    assert run_app(app, [*words, "--dry-run"]) == 0
    assert f"{method} (" in capsys.readouterr().out
    assert run_app(app, [*words, "--images-scale", "0.015"]) == 0
    assert f"--method {method}" in capsys.readouterr().out
    path = out / "weights" / f"{method}.safetensors"
    net = load_scfegan(path) if method == "scfegan" else load_deepfillv2(path)
    assert net.config.width == read_training(f"tiny-{method}").width
    card = json.loads(path.with_suffix(".json").read_text())
    assert (card["method"], card["origin"], card["preset"]) == (method, "retrained", f"tiny-{method}")
    assert (card["images_seen"], card["seed"], card["data_px"]) == (8, 3, 64)
    assert card["network_px"] == (128 if method == "scfegan" else 64)
    assert card["perceptual"] == ("hed-compact" if method == "scfegan" else "none")
    assert len(card["dataset"]["root_hash"]) == 64
    assert "licence" in card["dataset"]["licence_note"]
    assert "CC BY-NC" in card["licence"]
    assert card["sketch"] == ("none" if method == "deepfillv2" else "smooth_sketch")
    assert list((out / "samples").glob("*.png"))
    assert run_app(app, ["export", str(out), str(tmp_path / "small"), "--licence", "for tests alone"]) == 0
    assert f"--method {method}" in capsys.readouterr().out
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/me.jpg").write_bytes(b"mine")
    assert run_app(app, ["export", str(out), str(tmp_path / "photos")]) == 2
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["me.jpg"]
    half = tmp_path / "small" / f"{method}.safetensors"
    assert half.stat().st_size < 0.6 * path.stat().st_size
    small = load_method(method, LoadOptions(str(tmp_path / "small")))
    assert (small.provenance.images_seen, small.provenance.licence) == (8, "for tests alone")
    again = load_scfegan(half) if method == "scfegan" else load_deepfillv2(half)
    for key, value in again.state_dict().items():
        assert torch.allclose(value, net.state_dict()[key], rtol=2e-3, atol=1e-4), key


def test_a_second_run_takes_the_average_and_the_discriminator_of_a_stopped_one(built: Path, tmp_path: Path) -> None:
    config = quick("deepfillv2")
    first = make_trainer(config, built, tmp_path / "first", device="cpu", stop_after=4)
    first.run()
    light = tmp_path / "first" / LIGHT_FILE
    groups, card = read_light(light)
    assert card["images_seen"] == 4
    second = make_trainer(
        replace(config, name="polish", learning_rate=1e-4), built, tmp_path / "second", device="cpu", init_from=light
    )
    parts, average = second._begin_stage(second.stages[0])
    for net, group in (
        (parts.unwrapped, "average"),
        (average, "average"),
        (parts.unwrapped_discriminator, "discriminator"),
    ):
        assert all(torch.equal(groups[group][key], value) for key, value in net.state_dict().items()), group
    second.run()
    export_run(tmp_path / "second", tmp_path / "out")
    assert json.loads((tmp_path / "out/deepfillv2.json").read_text())["images_seen"] == 4 + 6
