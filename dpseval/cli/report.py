"""The command `dpseval report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report_command(
    report: Annotated[Path, typer.Argument(metavar="REPORT", help="A folder that `dpseval score` wrote.")],
) -> None:
    """Draw a report again from its CSV files.

    Needs no outputs and no dataset.
    """
    from dpseval.report.page import draw_report

    path = draw_report(report)
    typer.echo(f"{path} ({path.stat().st_size / 1e6:.2f} MB), table.md and table.tex beside it")
