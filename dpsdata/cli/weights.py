"""The commands `dps weights ...` and `dpsdata weights ...`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from dpsdata.contracts import MissingError
from dpsdata.weights import known as _metric_weights  # noqa: F401  registers their names

weights_app = typer.Typer(no_args_is_help=True, help="Weight files: what exists, what is installed, how to get it.")

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Name = Annotated[str, typer.Argument(help="A name of `weights list`.")]


@weights_app.command("list")
def list_command(as_json: _Json = False) -> None:
    """List all known weight files.

    With licences, and whether each is installed.
    """
    from dpsdata import weights

    files = weights.list_weights()
    if as_json:
        rows = [
            {
                "name": file.name,
                "installed": weights.installed(file.name),
                "filename": file.filename,
                "url": file.url,
                "page": file.page,
                "size": file.size,
                "sha256": file.sha256,
                "licence": file.licence,
                "purpose": file.purpose,
                "room": file.room,
            }
            for file in files
        ]
        typer.echo(json.dumps(rows, indent=2))
        return
    for file in files:
        bundled = file.bundled_folder is not None
        state = "installed" if weights.installed(file.name) else "missing" if bundled else "not installed"
        typer.echo(f"{file.name}  [{'bundled' if bundled and state == 'installed' else state}]  {file.purpose}")
        typer.echo(f"    licence: {file.licence}")
        if not bundled:
            size = f", {file.size:,} bytes" if file.size else ""
            typer.echo(f"    file: {file.filename}{size}, from {file.page}")
            typer.echo(f"    SHA-256: {file.sha256 or 'not published'}")


@weights_app.command("get")
def get_command(
    names: Annotated[list[str], typer.Argument(help="Names of `weights list`.")],
    offline: Annotated[bool, typer.Option("--offline", help="Open no socket; as DPS_OFFLINE=1.")] = False,
) -> None:
    """Download, check and convert weight files.

    Prints the path of each.
    """
    from dpsdata import weights

    for name in names:
        path = weights.get_weights(name, offline, lambda line: typer.echo(line, err=True))
        typer.echo(str(path))


@weights_app.command("import")
def import_command(
    paths: Annotated[list[Path], typer.Argument(help="Weight files, or folders, zips and tars that hold some.")],
    name: Annotated[str | None, typer.Option(help="A name of `weights list`, where the content fits several.")] = None,
    as_json: _Json = False,
) -> None:
    """Import weight files that you have.

    They are recognised by their content, checked, and converted to safetensors.
    """
    from dpsdata import weights

    rows: list[dict[str, object]] = []
    for path in paths:
        report = weights.import_weights(path, name)
        for label, reason in report.skipped:
            typer.echo(f"passed over {label}: {reason}", err=True)
        for done in report.installed:
            file = weights.find_weights(done.name)
            note = "verified" if done.verified else "not the published file" if file.sha256 else "no published SHA-256"
            rows.append({"name": done.name, "path": str(done.path), "source": done.source, "verified": done.verified})
            if not as_json:
                typer.echo(f"{done.name}: {done.source} -> {done.path} ({note})")
                typer.echo(f"    licence: {file.licence}")
    if as_json:
        typer.echo(json.dumps(rows, indent=2))


@weights_app.command("verify")
def verify_command(as_json: _Json = False) -> None:
    """Hash every installed weight file.

    Exit 5 if one is wrong, or a bundled one is missing.
    """
    from dpsdata import weights

    found = weights.verify_weights()
    if as_json:
        rows = [
            {
                "name": status.name,
                "status": status.status,
                "path": str(status.path),
                "expected_sha256": status.expected_sha256,
                "actual_sha256": status.actual_sha256,
                "verified": status.verified,
            }
            for status in found
        ]
        typer.echo(json.dumps(rows, indent=2))
    else:
        for status in found:
            note = {True: "the published file", False: "not the published file", None: ""}[status.verified]
            typer.echo(f"{status.name}: {status.status}{f' ({note})' if note else ''}")
    wrong = [status for status in found if status.status == "wrong hash"]
    missing = [
        status.name
        for status in found
        if status.status == "missing" and weights.find_weights(status.name).bundled_folder is not None
    ]
    if wrong:
        first = wrong[0]
        raise MissingError(
            f"{first.path}: SHA-256 {first.actual_sha256}, but {first.expected_sha256} was expected "
            f"({len(wrong)} wrong in all); run `dps weights path {first.name}`, which sets it aside"
        )
    if missing:
        raise MissingError(f"{', '.join(missing)}: missing from the package; run `{weights.REINSTALL}`")


@weights_app.command("path")
def path_command(name: _Name) -> None:
    """Check a weight file, and print its path."""
    from dpsdata import weights

    typer.echo(str(weights.weights_path(name)))
