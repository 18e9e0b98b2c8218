"""The command `dps export`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def register_export(app: typer.Typer) -> None:
    """Add `export` to the app of the room."""
    app.command("export")(export_command)


def export_command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run of `dps train`, finished or stopped.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write; `--weights` reads it.")],
    licence: Annotated[str, typer.Option(help="Terms of the weights, for their cards.")] = "",
) -> None:
    """Write the networks of a run in half precision.

    With their hashes and what the run says of itself, small enough to hand on.
    """
    from models.methods.registry import METHODS
    from models.training.export import RESULTS_FILE, export_run

    sizes = export_run(run, out, licence)
    for network, size in sizes.items():
        typer.echo(f"{network}: {size / 1e6:.2f} MB")
    typer.echo(f"{len(sizes)} networks, {sum(sizes.values()) / 1e6:.2f} MB, in {out}")
    rival = next((name for name in sizes if name in METHODS), None)
    if rival is not None:
        typer.echo(f"next: dps predict BUILT OUT --masks dps --method {rival} --weights {out}")
    elif json.loads((out / RESULTS_FILE).read_text("utf-8"))["config"].get("task") == "synthesis":
        typer.echo(f"next: dps synthesize SKETCH --weights {out} -o OUT")
    else:
        typer.echo(f"next: dps edit PHOTO --mask MASK --sketch SKETCH --weights {out} -o OUT")
