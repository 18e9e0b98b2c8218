"""The command `dps inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dpsdata.contracts import FindingsError


def register_inspect(app: typer.Typer) -> None:
    """Add `inspect` to the app of the room."""
    app.command("inspect")(inspect_command)


def inspect_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A PNG or JPEG that may have been edited.")],
) -> None:
    """Show the mark of an edited picture.

    Hole, level and weights too where its run.json lies beside it.

    Exit code 3 where there is no mark.
    """
    from models.editing.provenance import inspect_file

    mark, lines = inspect_file(file)
    if mark is None:
        raise FindingsError(
            f"{file}: no mark of an edit; it was not made here, or the mark was left out or lost on the way"
        )
    for line in lines:
        typer.echo(line)
