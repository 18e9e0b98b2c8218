"""The command `dps predict`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dpsdata.contracts import LEVELS_TEXT, FindingsError, UsageError, parse_levels
from models.methods.registry import METHODS, TIME_LIMIT_S, default_weights, find_method
from models.weights.bundled import typed_weights

if TYPE_CHECKING:
    from models.prediction.settings import PredictConfig

_MAX_REASONS = 20


def predict_command(
    built: Annotated[Path, typer.Argument(metavar="BUILT", help="Folder that `dpsdata build` made.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of outputs; an interrupted run there is resumed.")],
    masks: Annotated[str, typer.Option(metavar="FAMILY", help="Mask family, such as dps or center.")],
    method: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help=f"One of {', '.join(METHODS)}; one of an installed package; or NAME=exec:'CMD {{photo}} {{mask}} "
            "{sketch} {level} {out}', with {photos} {masks} {sketches} {outs} for one call per folder. Repeatable. "
            "[default: dps]",
        ),
    ] = None,
    sketches: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of ID.png. [default: the stored sketches]")
    ] = None,
    levels: Annotated[
        str,
        typer.Option(help="Refinement levels in [0, 1] of methods that have them: 1 corrects the drawing the most."),
    ] = LEVELS_TEXT,
    split: Annotated[str, typer.Option(help="Name of a split, or all.")] = "test",
    weights: Annotated[
        str | None,
        typer.Option(
            help="bundled, official (imported by `dps weights import`), a file, or a folder. "
            "[default: the best installed weights]"
        ),
    ] = None,
    batch: Annotated[int, typer.Option(metavar="N", help="Photos in one pass.")] = 8,
    limit: Annotated[int | None, typer.Option(metavar="N", help="Only the first N photos.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be predicted, and stop.")] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "cpu",
    precision: Annotated[str, typer.Option(help="fp32, or bf16 where the hardware has it; baselines: fp32.")] = "fp32",
    seed: Annotated[int, typer.Option(help="Seed of the noise that a method reads.")] = 0,
    engine: Annotated[str, typer.Option(help="local, or ray: the actors of a Ray cluster.")] = "local",
    workers: Annotated[int, typer.Option(help="Actors of --engine ray; 0 for one per core of the cluster.")] = 0,
    address: Annotated[
        str | None, typer.Option(help="Address of a running Ray cluster; without it one is started.")
    ] = None,
    time_limit: Annotated[
        float, typer.Option(metavar="SECONDS", help="Time that an exec: method may take for a photo.")
    ] = TIME_LIMIT_S,
) -> None:
    """Fill the hole of every photo of a built folder.

    No pixel outside a mask changes. The same command resumes an interrupted run, and other methods
    may write into the same OUT.
    """
    wanted = parse_levels(levels)
    names = list(dict.fromkeys(method or ["dps"]))
    if weights is not None and len(names) > 1:
        raise UsageError("--weights belongs to one --method; run the others in a command of their own")
    chosen = [choose_method_weights(name, weights) for name in names]

    from models.prediction.settings import PredictConfig

    failed = []
    for name, own in zip(names, chosen, strict=True):
        config = PredictConfig(
            built, out, masks, wanted, sketches, split, own, batch, limit, device, precision, name, seed, engine,
            workers, address, time_limit,
        )  # fmt: skip
        failed.append(_predict(config, dry_run))
    failed = [message for message in failed if message]
    if failed:
        raise FindingsError("; ".join(failed))


def _predict(config: PredictConfig, dry_run: bool) -> str:
    """Run one method; the advice where photos failed, else ""."""
    from dpsdata.masks import is_from_files
    from dpsdata.masks.reading import MASK_ERROR
    from models.methods.predictor import name_method
    from models.prediction.folder import FolderPrediction

    job = FolderPrediction(config)
    method = job.predictor.method
    typer.echo(name_method(job.predictor))
    level_words = f"{len(config.levels)} levels" if method.has_level else "no level"
    counts = f"{len(job.ids)} photos of {config.split} x {level_words}"
    if dry_run:
        kept_count = len(job.ids) - len(job.pending)
        typer.echo(f"{counts}: {len(job.pending)} photos to predict, {kept_count} are there; nothing was written")
        return ""
    result = job.run()
    failed_count = len(result.failures)
    typer.echo(
        f"{counts}: {result.done_count} photos predicted, {result.kept_count} already there, {failed_count} failed"
    )
    for name, reason in result.failures[:_MAX_REASONS]:
        typer.echo(f"failed: {name}: {reason}", err=True)
    if failed_count > _MAX_REASONS:
        typer.echo(f"... and {failed_count - _MAX_REASONS:,} more", err=True)
    typer.echo(f"open {config.out / method.name}")
    if not result.failures:
        return ""
    advice = f"`dpsdata verify {config.built}` checks the dataset; then run the same command again"
    if method.is_external:
        advice = f"correct {method.name} and run the same command again"
    elif is_from_files(config.masks) and any(MASK_ERROR in reason for _, reason in result.failures):
        advice = "correct these masks and run it again into another OUT, since the masks are part of a run"
    elif config.sketches is not None:
        advice = f"correct {config.sketches} and run it again into another OUT, since the sketches are part of a run"
    others = "" if failed_count == len(job.ids) else ", the others are done"
    return f"{failed_count} of {len(job.ids)} photos failed{others}; {advice}"


def choose_method_weights(name: str, weights: str | None) -> str:
    """The weights to load a method by; a path becomes absolute.

    Args:
        name: of the method.
        weights: what the person said; None for the official ones where they are installed, else the bundled ones.

    Raises:
        UsageError: no such method, or one that has no weights.
    """
    method = find_method(name)
    if weights is None:
        return default_weights(method)
    if not method.needs_weights and method.made_by is None:
        raise UsageError(f"{name} needs no weights; leave --weights out")
    return typed_weights(weights)
