"""`dpseval`: score, run, compare, study, report, vote."""

from __future__ import annotations

import typer

from dpsdata import __version__
from dpsdata.runtime.command_line import describe_room, run_and_exit
from dpseval.cli.report import register_report
from dpseval.cli.run import register_run
from dpseval.cli.score import register_compare, register_score
from dpseval.cli.study import register_study
from dpseval.cli.vote import register_vote

# Plain help: the coloured one loads half a second of libraries.
app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
register_score(app)
register_run(app)
register_compare(app)
register_study(app)
register_report(app)
register_vote(app)
describe_room(app, __version__, "Scores over refinement levels and methods, and the page that shows them.")


def main() -> None:
    """Entry point of `dpseval`."""
    run_and_exit(app)
