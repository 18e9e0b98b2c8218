"""The command `dps train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from models.training.presets import TrainConfig

# Written out, since the presets themselves need torch, and `--help` should be quick.
_PRESETS = (
    "paper-edit-256, paper-synthesis-256, lite-edit-64, lite-edit-128, lite-edit-256, lite-synthesis-256, "
    "or tiny (minutes on two CPU cores)."
)


def register_train(app: typer.Typer) -> None:
    """Add `train` to the app of the room."""
    app.command("train")(train_command)


def train_command(
    preset: Annotated[str, typer.Argument(help=_PRESETS)],
    data: Annotated[Path, typer.Option(help="Folder that `dpsdata build` made, at the preset's resolution.")],
    out: Annotated[Path, typer.Option(help="Run folder; an interrupted run there goes on.")],
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[str, typer.Option(help="fp32 or bf16.")] = "fp32",
    images_scale: Annotated[float, typer.Option(help="Multiply all counts of images, for trials.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 0,
    continue_from: Annotated[
        Path | None, typer.Option(help="light.safetensors of another run, to go on from with a new optimiser.")
    ] = None,
    checkpoint_seconds: Annotated[float, typer.Option(help="Save the whole state this often.")] = 600.0,
    tensorboard: Annotated[bool, typer.Option(help="Also write event files for TensorBoard.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be trained, and stop.")] = False,
) -> None:
    """Train F, then G from coarse to fine, and export weights for `dps edit --weights`."""
    from dataclasses import replace

    from models.training.loop import Trainer
    from models.training.presets import find_train_preset

    config = replace(find_train_preset(preset).scaled(images_scale), seed=seed)
    if dry_run:
        _describe(config, data)
        return
    trainer = Trainer(
        config,
        data,
        out,
        device=device,
        precision=precision,
        continue_from=continue_from,
        tensorboard=tensorboard,
        checkpoint_seconds=checkpoint_seconds,
    )
    if trainer.accelerator.is_main_process:
        done = trainer.position
        typer.echo(
            f"{config.name}: {len(trainer.store)} photos on {trainer.device.type}, {precision}, perceptual loss by "
            f"{trainer.perceptual.name}, into {out}"
        )
        if done.stage or done.step:
            typer.echo(f"going on at stage {done.stage + 1} of {len(trainer.stages)}, step {done.step}")
    weights = trainer.run()
    if trainer.accelerator.is_main_process:
        for name, value in trainer.results.items():
            typer.echo(f"{name}: {value:.2f} dB")
        typer.echo(f"weights: {weights}")
        typer.echo(f"next: dps edit PHOTO --mask MASK --sketch SKETCH --weights {weights} -o OUT")


def _describe(config: TrainConfig, data: Path) -> None:
    from models.checkpoints import make_network
    from models.training.batches import PhotoStore
    from models.training.losses import choose_perceptual
    from models.training.reporting import list_differences
    from models.training.schedule import plan_stages

    store = PhotoStore(data, "all", config.resolution)
    perceptual = choose_perceptual()
    typer.echo(f"{config.name}: {config.task} at {config.resolution} px, {len(store)} photos, perceptual: {perceptual}")
    for stage in plan_stages(config):
        sizes = config.networks.inpainter if stage.part == "F" else config.networks.refiner
        parameters = sum(value.numel() for value in make_network(stage.name, sizes).parameters())
        typer.echo(
            f"  {stage.name} ({parameters / 1e6:.2f} M weights): {stage.step_count:,} steps of {stage.batch_size}, "
            f"{stage.fixed_images:,} images at level 1, then {stage.random_images:,}"
        )
    for sentence in list_differences(config, perceptual):
        typer.echo(f"  differs: {sentence}")
