"""The command `dps doctor`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from dpsdata.contracts import MissingError


def doctor_command(
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Look at this too: photos (folder or zip), or a built folder.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check what works here and what is missing.

    Python, libraries, processor, GPU, Ray, disk, weights and data; exit 5 if something prevents work.

    Each finding comes with the command that fixes it. Nothing is changed or downloaded.
    """
    from models.doctor import diagnose, to_dict

    findings, weights = diagnose(data)
    if as_json:
        typer.echo(json.dumps(to_dict(findings, weights), indent=2))
    else:
        for finding in findings:
            typer.echo(f"{finding.state:<8} {finding.name}: {finding.sentence}")
            if finding.command:
                typer.echo(f"         -> {finding.command}")
    problems = [finding for finding in findings if finding.state == "problem"]
    if problems:
        names = ", ".join(problem.name for problem in problems)
        raise MissingError(f"work stops at: {names}; start with `{problems[0].command}`")
