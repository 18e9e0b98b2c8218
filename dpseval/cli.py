"""`dpseval`: score, run, compare, report."""

from __future__ import annotations

from typing import Annotated

import typer

from dpsdata.command import run_and_exit
from dpseval import __version__
from dpseval.report_cli import register_report
from dpseval.run_cli import register_run
from dpseval.score_cli import register_compare, register_score

# Plain help: the coloured one loads half a second of libraries.
app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
register_score(app)
register_run(app)
register_compare(app)
register_report(app)


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _room(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_say_version, is_eager=True)
    ] = False,
) -> None:
    """Scores over refinement levels and methods, and the page that shows them. Any command takes --debug."""


def main() -> None:
    """Entry point of `dpseval`."""
    run_and_exit(app)
