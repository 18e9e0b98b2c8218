"""The commands `dps train` and `dps export`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dpsdata.contracts import UsageError
from dpsdata.runtime.command_line import echo_detail

if TYPE_CHECKING:
    from models.training.catalogue import AnyTrainConfig


_CONFIGS = (
    "A TOML file, or a config of the package: tiny (minutes on two CPU cores), lite-edit-256 and lite-synthesis-256 "
    "(hours of a CPU), paper-edit-256 and paper-synthesis-256 (as published); the baselines: tiny-METHOD, "
    "lite-METHOD-256 and paper-METHOD-256, METHOD being deepfillv2, deepfillv2-guided or scfegan."
)


def train_command(
    config: Annotated[str, typer.Argument(help=_CONFIGS)],
    data: Annotated[
        Path,
        typer.Option(
            help="Folder that `dpsdata build` made, at the config's resolution. Its masks are not used: a training "
            "draws its own, of the families in the config."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Run folder; an interrupted run there is resumed.")],
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[str, typer.Option(help="fp32, bf16, or fp16 on a GPU without bf16.")] = "fp32",
    images_scale: Annotated[float, typer.Option(help="Multiply all image counts, for trials.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Seed of all random draws.")] = 0,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change a value of the config, such as losses.hole=20 or stage.0.images=500. May be repeated.",
        ),
    ] = None,
    init_from: Annotated[
        str | None,
        typer.Option(
            help="Begin with networks of the same sizes, or for half the side: another run (its folder or its "
            "light.safetensors), a folder of exported weights, bundled or official."
        ),
    ] = None,
    stop_after: Annotated[
        int | None,
        typer.Option(
            metavar="IMAGES",
            help="Stop after this many images; the same command resumes later. A decaying learning rate still follows "
            "the whole stage.",
        ),
    ] = None,
    checkpoint_seconds: Annotated[float, typer.Option(help="Save the whole state this often.")] = 600.0,
    tensorboard: Annotated[bool, typer.Option(help="Also write event files for TensorBoard.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be trained, and stop.")] = False,
) -> None:
    """Train the networks or a baseline, and export weights.

    Deep Plastic Surgery trains F, then G from coarse to fine.

    All trainings share data, masks, checkpoints and reports.
    """
    from dataclasses import replace

    from models.training.config_files import find_config

    find_config(config)  # a wrong name shows before torch is loaded, which takes seconds
    from models.training.catalogue import make_trainer, read_training

    training = replace(read_training(config, settings or ()).scaled(images_scale), seed=seed)
    if dry_run:
        _describe(training, data, out, init_from)
        return
    trainer = make_trainer(
        training,
        data,
        out,
        device=device,
        precision=precision,
        init_from=init_from,
        stop_after=stop_after,
        tensorboard=tensorboard,
        checkpoint_seconds=checkpoint_seconds,
    )
    if trainer.accelerator.is_main_process:
        done = trainer.position
        typer.echo(
            f"{training.name}: {len(trainer.store)} photos on {trainer.device.type}, {precision}, perceptual loss by "
            f"{trainer.algorithm.perceptual_name}, into {out}"
        )
        if trainer.begun_with:
            typer.echo(_say_begun(trainer.begun_with, training))
        if done.stage >= len(trainer.stages):
            typer.echo("it was finished before, so nothing is trained")
        elif done.stage or done.step:
            typer.echo(f"resumed at stage {done.stage + 1} of {len(trainer.stages)}, step {done.step}")
    weights = trainer.run()
    if trainer.accelerator.is_main_process:
        for line in _result_lines(trainer.results):
            typer.echo(line)
        for name, value in trainer.results.items():
            echo_detail(f"{name}: {value:.3f}")
        typer.echo(f"weights: {weights}")
        typer.echo(f"next: {trainer.algorithm.next_command(weights)}")


def _result_lines(results: Mapping[str, float]) -> list[str]:
    """A line a stage with what a reader asks first; `-v` prints all."""
    stages: dict[str, list[str]] = {}
    for name, value in results.items():
        stage, _, metric = name.partition("_")
        if metric.startswith(("hedps", "hole_psnr")):
            stages.setdefault(stage, []).append(f"{metric} {value:.3f}")
    return [f"{stage}: {', '.join(values)}" for stage, values in stages.items()]


def _say_begun(begun: dict[str, Any], config: AnyTrainConfig) -> str:
    from dpsdata.sketch.dilate import PUBLISHED_DIAMETER_PX

    seen = begun["images_seen"]
    told = "an unknown number of images" if seen is None else f"{seen:,} images"
    grown = ", grown from half the side" if begun.get("grown") else ""
    stopped = f", of a run that is not at its end (stage {begun['stopped_in']})" if begun.get("stopped_in") else ""
    own_pen = getattr(config, "dilation_diameter", PUBLISHED_DIAMETER_PX)  # baselines have none
    pen = begun.get("dilation_diameter", begun.get("pen_diameter", PUBLISHED_DIAMETER_PX))
    changed = "" if pen == own_pen else f", with a pen of {pen} px of 256 at level 1 so far and {own_pen} from here on"
    return f"begun with networks of {begun['preset'] or 'an unknown training'} that saw {told}{grown}{stopped}{changed}"


def _describe(config: AnyTrainConfig, data: Path, out: Path, init_from: str | None) -> None:
    import torch

    from models.training.catalogue import make_algorithm
    from models.training.engine.batches import open_training_photos
    from models.training.engine.losses import choose_perceptual
    from models.training.engine.restoring import restore_run

    store, _ = open_training_photos(data, config)
    algorithm = make_algorithm(config, torch.device("cpu"))
    begun = restore_run(out, config, store.root_hash, algorithm, init_from)
    algorithm.use_perceptual(begun.perceptual or config.features or choose_perceptual())
    typer.echo(f"{config.name}: {config.resolution} px, {len(store)} photos, perceptual: {algorithm.perceptual_name}")
    if begun.begun_with:
        typer.echo(f"  {_say_begun(begun.begun_with, config)}")
    if begun.position.stage or begun.position.step:
        typer.echo(f"  resumes at stage {begun.position.stage + 1}, step {begun.position.step}")
    for line in algorithm.describe_stages():
        typer.echo(f"  {line}")
    for sentence in algorithm.list_differences():
        typer.echo(f"  differs: {sentence}")


def export_command(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="Run of `dps train`; with --onnx bundled, official or a folder.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write; `--weights` reads it.")],
    licence: Annotated[str, typer.Option(help="Terms of the weights, for their cards.")] = "",
    onnx: Annotated[bool, typer.Option("--onnx", help="Write edit.onnx and edit.json, for ONNX runtimes.")] = False,
    precision: Annotated[str, typer.Option(help="With --onnx: fp32, or fp16 for half the size.")] = "fp32",
) -> None:
    """Write the networks of a run in half precision.

    With their hashes and the run's own description, small enough to share.
    """
    if onnx:
        _export_onnx(run, out, precision)
        return
    if precision != "fp32":
        raise UsageError("--precision applies to --onnx only; without it weights are always written in half precision")
    from models.methods.registry import METHODS
    from models.training.export import RESULTS_FILE, export_run

    sizes = export_run(Path(run), out, licence)
    for network, size in sizes.items():
        typer.echo(f"{network}: {size / 1e6:.2f} MB")
    typer.echo(f"{len(sizes)} networks, {sum(sizes.values()) / 1e6:.2f} MB, in {out}")
    baseline = next((name for name in sizes if name in METHODS), None)
    if baseline is not None:
        typer.echo(f"next: dps predict BUILT OUT --masks dps --method {baseline} --weights {out}")
    elif json.loads((out / RESULTS_FILE).read_text("utf-8"))["config"].get("task") == "synthesis":
        typer.echo(f"next: dps synthesize SKETCH --weights {out} -o OUT")
    else:
        typer.echo(f"next: dps edit PHOTO --mask MASK --sketch SKETCH --weights {out} -o OUT")


def _export_onnx(weights: str, out: Path, precision: str) -> None:
    from models.editing.loading import load_editing_net
    from models.editing.run import hash_weights
    from models.weights.onnx import ONNX_FILE, export_onnx

    # A run keeps its networks in a folder of its own.
    place = str(Path(weights) / "weights") if (Path(weights) / "weights").is_dir() else weights
    size = export_onnx(load_editing_net(place, "edit"), out, precision, hash_weights(place, "edit"))
    typer.echo(f"{out / ONNX_FILE}: {size / 1e6:.2f} MB, {precision}; edit.json beside it describes its inputs")
