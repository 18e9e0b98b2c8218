"""The command `dpsdata perturb`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer

from dpsdata.contracts import FindingsError


def perturb_command(
    built: Annotated[Path, typer.Argument(metavar="BUILT", help="Folder that `dpsdata build` made.")],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="Folder of ID.png to write; an interrupted run there is resumed.")
    ],
    fault: Annotated[str, typer.Option(metavar="NAME", help="displaced, deformed, dropped or sketchrefiner.")],
    amount: Annotated[
        float,
        typer.Option(
            metavar="NUMBER",
            help="px of these sketches that they are moved by (deformed: root mean square; sketchrefiner: its "
            "max_move), or the share of the ink that is dropped.",
        ),
    ],
    split: Annotated[str, typer.Option(help="Name of a split, or all.")] = "all",
    seed: Annotated[int, typer.Option(help="Seed of the draws, which are keyed by the photo's id.")] = 0,
) -> None:
    """Degrade the sketches of a dataset in one chosen way."""
    from dpsdata.dataset.perturb import perturb_folder
    from dpsdata.sketch.perturb import Fault, Perturbation

    counts = perturb_folder(built, out, Perturbation(cast("Fault", fault), amount, seed), split)
    typer.echo(f"{counts.done_count} sketches {fault}, {counts.kept_count} already there")
    for name, reason in counts.failures:
        typer.echo(f"failed: {name}: {reason}", err=True)
    typer.echo(f"next: dpseval run {built} --masks dps --sketches {out} --split {split} -o REPORT")
    if counts.failures:
        raise FindingsError(f"{len(counts.failures)} sketches could not be read; they are named above")
