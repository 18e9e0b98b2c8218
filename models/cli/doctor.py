"""The command `dps doctor`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from dpsdata.contracts import MissingError


def register_doctor(app: typer.Typer) -> None:
    """Add `doctor` to the app of the room."""
    app.command("doctor")(doctor_command)


def doctor_command(
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Look at this too: photos (folder or zip), a built folder, or outputs."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check Python, torch, device, threads, disk, weights and data; exit 5 where something stops work.

    Each finding comes with the command that mends it. Nothing is changed or downloaded.
    """
    from models.doctor.checks import describe, diagnose, to_dict

    diagnosis = diagnose(data)
    if as_json:
        typer.echo(json.dumps(to_dict(diagnosis), indent=2))
    else:
        for line in describe(diagnosis):
            typer.echo(line)
    problems = diagnosis.problems
    if problems:
        names = ", ".join(problem.name for problem in problems)
        raise MissingError(f"work stops at: {names}; start with `{problems[0].command}`")
