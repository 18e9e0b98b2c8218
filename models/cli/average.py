"""The command `dps average`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register_average(app: typer.Typer) -> None:
    """Add `average` to the app of the room."""
    app.command("average")(average_command)


def average_command(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write, as a run of `dps train`.")],
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN RUN...",
            help="Runs that began with the same networks; also those networks themselves, as a folder or `bundled`.",
        ),
    ],
) -> None:
    """Write the mean of the networks of several runs that began with the same ones, often better than each."""
    from models.training.averaging import average_runs

    networks = average_runs(sources, out)
    typer.echo(f"{', '.join(networks)}: the mean of {len(sources)}, in {out}")
    typer.echo(f"next: dps export {out} SMALL, or dps train ... --begin-with {out}")
