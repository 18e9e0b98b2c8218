"""The command `dps train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from models.training.catalogue import AnyTrainConfig

# Written out, since the presets themselves need torch, and `--help` should be quick.
_PRESETS = (
    "Deep Plastic Surgery: paper-edit-256, paper-synthesis-256, lite-edit-64, then with --begin-with "
    "lite-edit-64-polish, lite-edit-64-high, lite-edit-64-sharp, lite-edit-64-level-1, lite-edit-64-settle, "
    "lite-edit-128-grown, lite-edit-128-joint, lite-edit-128-unit, lite-edit-128-mirror (or lite-edit-128-average, for "
    "`dps average`), lite-edit-128-pen; lite-edit-128, lite-edit-256, "
    "lite-synthesis-64 (then lite-synthesis-64-polish), lite-synthesis-256, or tiny (minutes on two CPU cores). Its "
    "rivals, METHOD being deepfillv2, deepfillv2-guided or scfegan: METHOD (published sizes, 256 px), lite-METHOD-64, "
    "then with --begin-with lite-METHOD-64-polish, lite-METHOD-64-sharp, lite-METHOD-128-grown; lite-METHOD-128, "
    "lite-METHOD-256, tiny-METHOD."
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
    repeat: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN=N",
            help="Show photos whose ID matches N times in an epoch, such as 'real_*=6'; 0 for never. May be repeated.",
        ),
    ] = None,
    mirror: Annotated[
        bool | None,
        typer.Option(
            "--mirror/--no-mirror", help="Mirror half of the photos; else as the preset says.", show_default=False
        ),
    ] = None,
    continue_from: Annotated[
        Path | None, typer.Option(help="light.safetensors of another run, to go on from with a new optimiser.")
    ] = None,
    begin_with: Annotated[
        str | None,
        typer.Option(
            help="Begin with networks of the same sizes, or for half the side: a run of another preset (its folder or "
            "its light.safetensors), a folder of exported weights, bundled or official."
        ),
    ] = None,
    stop_after: Annotated[
        int | None,
        typer.Option(
            metavar="IMAGES",
            help="Stop once so many images were seen; the same command goes on later. A rate that falls does so "
            "towards the end of the whole stage.",
        ),
    ] = None,
    checkpoint_seconds: Annotated[float, typer.Option(help="Save the whole state this often.")] = 600.0,
    tensorboard: Annotated[bool, typer.Option(help="Also write event files for TensorBoard.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be trained, and stop.")] = False,
) -> None:
    """Train Deep Plastic Surgery (F, then G from coarse to fine) or one of its rivals, and export weights.

    All trainings share data, masks, checkpoints and reports.
    """
    from dataclasses import replace

    from models.training.catalogue import find_any_preset
    from models.training.engine.loop import Trainer
    from models.training.engine.sampling import parse_repeats

    config = replace(find_any_preset(preset).scaled(images_scale), seed=seed)
    sampling = replace(config.sampling, repeats=parse_repeats(repeat)) if repeat else config.sampling
    config = replace(config, sampling=sampling if mirror is None else replace(sampling, mirror=mirror))
    if dry_run:
        _describe(config, data, out, continue_from, begin_with)
        return
    trainer = Trainer(
        config,
        data,
        out,
        device=device,
        precision=precision,
        continue_from=continue_from,
        begin_with=begin_with,
        stop_after=stop_after,
        tensorboard=tensorboard,
        checkpoint_seconds=checkpoint_seconds,
    )
    if trainer.accelerator.is_main_process:
        done = trainer.position
        typer.echo(
            f"{config.name}: {len(trainer.store)} photos on {trainer.device.type}, {precision}, perceptual loss by "
            f"{trainer.algorithm.perceptual_name}, into {out}"
        )
        if trainer.begun_with:
            typer.echo(_say_begun(trainer.begun_with, config))
        if done.stage or done.step:
            typer.echo(f"going on at stage {done.stage + 1} of {len(trainer.stages)}, step {done.step}")
    weights = trainer.run()
    if trainer.accelerator.is_main_process:
        for name, value in trainer.results.items():
            typer.echo(f"{name}: {value:.2f} dB")
        typer.echo(f"weights: {weights}")
        typer.echo(f"next: {trainer.algorithm.next_command(weights)}")


def _say_begun(begun: dict[str, Any], config: AnyTrainConfig) -> str:
    from dpsdata.sketch.dilate import PUBLISHED_DIAMETER_PX

    seen = begun["images_seen"]
    told = "an unknown number of images" if seen is None else f"{seen:,} images"
    grown = ", grown from half the side" if begun.get("grown") else ""
    stopped = f", of a run that is not at its end (stage {begun['stopped_in']})" if begun.get("stopped_in") else ""
    own_pen = getattr(config, "pen_diameter", PUBLISHED_DIAMETER_PX)  # rivals have none
    pen = begun.get("pen_diameter", PUBLISHED_DIAMETER_PX)
    changed = "" if pen == own_pen else f", with a pen of {pen} px of 256 at level 1 so far and {own_pen} from here on"
    return f"begun with networks of {begun['preset'] or 'an unknown preset'} that saw {told}{grown}{stopped}{changed}"


def _describe(
    config: AnyTrainConfig, data: Path, out: Path, continue_from: Path | None, begin_with: str | None
) -> None:
    import torch

    from models.training.catalogue import make_algorithm
    from models.training.engine.batches import open_training_photos
    from models.training.engine.losses import choose_perceptual
    from models.training.engine.restoring import restore_run

    store, _ = open_training_photos(data, config)
    algorithm = make_algorithm(config, torch.device("cpu"))
    begun = restore_run(out, config, store.root_hash, algorithm, continue_from, begin_with)
    algorithm.use_perceptual(begun.perceptual or config.features or choose_perceptual())
    typer.echo(f"{config.name}: {config.resolution} px, {len(store)} photos, perceptual: {algorithm.perceptual_name}")
    if begun.begun_with:
        typer.echo(f"  {_say_begun(begun.begun_with, config)}")
    if begun.position.stage or begun.position.step:
        typer.echo(f"  goes on at stage {begun.position.stage + 1}, step {begun.position.step}")
    for line in algorithm.describe_stages():
        typer.echo(f"  {line}")
    for sentence in algorithm.list_differences():
        typer.echo(f"  differs: {sentence}")
