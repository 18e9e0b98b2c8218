"""The command `dps predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dpsdata.contracts import FindingsError, UsageError
from dpsdata.runtime.arguments import parse_levels
from models.methods.registry import METHODS, default_weights, find_method
from models.weights.typed import typed_weights

_LEVELS = "0,0.25,0.5,0.75,1"
_MOST_REASONS = 5


def register_predict(app: typer.Typer) -> None:
    """Add `predict` to the app of the room."""
    app.command("predict")(predict_command)


def predict_command(
    built: Annotated[Path, typer.Argument(metavar="BUILT", help="Folder that `dpsdata build` made.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of outputs; an interrupted run there goes on.")],
    masks: Annotated[str, typer.Option(metavar="FAMILY", help="Mask family, such as dps or center.")],
    method: Annotated[str, typer.Option(metavar="NAME", help=f"One of {', '.join(METHODS)}.")] = "dps",
    sketches: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of ID.png. [default: the stored sketches]")
    ] = None,
    levels: Annotated[
        str, typer.Option(help="Refinement levels in [0, 1], for methods that have them: 1 corrects the drawing most.")
    ] = _LEVELS,
    split: Annotated[str, typer.Option(help="Name of a split, or all.")] = "test",
    weights: Annotated[
        str | None,
        typer.Option(
            help="bundled, official (imported by `dps weights import`), a file, or a folder. [default: what there is]"
        ),
    ] = None,
    batch: Annotated[int, typer.Option(metavar="N", help="Photos in one pass.")] = 8,
    limit: Annotated[int | None, typer.Option(metavar="N", help="Only the first N photos.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be predicted, and stop.")] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "cpu",
    precision: Annotated[str, typer.Option(help="fp32, or bf16 where the hardware has it; rivals: fp32.")] = "fp32",
    seed: Annotated[int, typer.Option(help="Of noise that a method reads.")] = 0,
    engine: Annotated[str, typer.Option(help="local, or ray: the actors of a Ray cluster.")] = "local",
    workers: Annotated[int, typer.Option(help="Actors of --engine ray; 0 for one a core of the cluster.")] = 0,
    address: Annotated[str | None, typer.Option(help="Of a running Ray cluster; without it one is started.")] = None,
) -> None:
    """Fill the hole of every photo of a built folder, by a method and at one or several refinement levels.

    No pixel outside of a mask changes. The same command goes on where an interrupted one stopped, and other methods
    may write into the same OUT.
    """
    wanted = parse_levels(levels)
    chosen = choose_method_weights(method, weights)

    from models.methods.predictor import say_method
    from models.prediction.folder import FolderPrediction
    from models.prediction.settings import PredictConfig

    config = PredictConfig(
        built, out, masks, wanted, sketches, split, chosen, batch, limit, device, precision, method, seed, engine,
        workers, address
    )  # fmt: skip
    job = FolderPrediction(config)
    typer.echo(say_method(job.predictor))
    has_level = job.predictor.method.has_level
    counts = f"{len(job.ids)} photos of {split} x {f'{len(wanted)} levels' if has_level else 'no level'}"
    if dry_run:
        kept_count = len(job.ids) - len(job.pending)
        typer.echo(f"{counts}: {len(job.pending)} photos to predict, {kept_count} are there; nothing was written")
        return
    result = job.run()
    failed_count = len(result.failures)
    typer.echo(f"{counts}: {result.done_count} photos predicted, {result.kept_count} were there, {failed_count} failed")
    for name, reason in result.failures[:_MOST_REASONS]:
        typer.echo(f"failed: {name}: {reason}", err=True)
    typer.echo(f"open {out / method}")
    if result.failures:
        advice = f"`dpsdata verify {built}` checks the dataset; then run the same command again"
        if sketches is not None:
            advice = f"correct {sketches} and run it again into another OUT, since the sketches are part of a run"
        raise FindingsError(f"{failed_count} of {len(job.ids)} photos failed, the others are done; {advice}")


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
