"""`dpseval`: score, run, compare, study, report, vote."""

from __future__ import annotations

import typer

from dpsdata import __version__
from dpsdata.runtime.command_line import describe_room, run_and_exit
from dpseval.cli.report import report_command, vote_command
from dpseval.cli.run import run_command
from dpseval.cli.score import compare_command, score_command
from dpseval.cli.study import study_command

# Plain help: the coloured one loads half a second of libraries.
app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.command("score")(score_command)
app.command("run")(run_command)
app.command("compare")(compare_command)
app.command("study")(study_command)
app.command("report")(report_command)
app.command("vote")(vote_command)
describe_room(app, __version__, "Score methods and refinement levels, and write a page that compares them.")


def main() -> None:
    """Entry point of `dpseval`."""
    run_and_exit(app)
