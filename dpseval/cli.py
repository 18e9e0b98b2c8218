"""`dpseval`: the room of scores; its commands come with the evaluation issue."""

from __future__ import annotations

from typing import Annotated

import typer

from dpsdata.command import run_and_exit
from dpseval import __version__

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Scores and reports. This version has no scores yet: see CHANGELOG.md.",
)


@app.callback(invoke_without_command=True)
def room(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Print the version."""
    if version:
        typer.echo(__version__)


def main() -> None:
    """Entry point of `dpseval`."""
    run_and_exit(app)
