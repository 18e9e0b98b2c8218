"""The options that `dpseval score`, `dpseval run` and `dpseval study` share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dpsdata.runtime.arguments import split_words

if TYPE_CHECKING:
    from dpseval.pairing.files import PairingIssue

_MAX_LINES = 200

Report = Annotated[Path, typer.Option("--out", "-o", metavar="REPORT", help="Folder to write the report into.")]
Prep = Annotated[str, typer.Option(help="Of FID and KID: pytorch-fid, torch-fidelity, torchmetrics or clean.")]
LpipsNets = Annotated[str, typer.Option(metavar="NETS", help="Of alex, vgg and squeeze.")]
Require = Annotated[
    str, typer.Option(metavar="METRICS", help="Exit 5 where one is missing: fid, kid, lpips, lpips_alex ...")
]
Allow = Annotated[
    list[str] | None, typer.Option(metavar="KIND", help="Tolerate a kind of finding: such items are left out.")
]
Weights = Annotated[
    list[str] | None,
    typer.Option(metavar="METHOD=PATH", help="Weights of a method, or official. [default: what there is]"),
]
Batch = Annotated[int, typer.Option(metavar="N", help="Photos in one pass.")]
Device = Annotated[str, typer.Option(help="Of the networks: auto, cpu or cuda.")]
Workers = Annotated[int, typer.Option(help="Processes that decode and measure; 0 for one a core.")]
Engine = Annotated[str, typer.Option(help="local, or ray: pixels are measured by the actors of a Ray cluster.")]
Address = Annotated[str | None, typer.Option(help="Of a running Ray cluster; without it one is started.")]
Cache = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Features of earlier runs. [default: beside the weights]")
]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Neither read nor write features on disk.")]


def split_kinds(allow: list[str] | None) -> tuple[str, ...]:
    """The kinds of findings to tolerate; the option may stand several times, with commas between kinds."""
    return split_words(",".join(allow or ()))


def list_findings(findings: tuple[PairingIssue, ...]) -> None:
    """Print findings, a line each."""
    for finding in findings[:_MAX_LINES]:
        typer.echo(str(finding))
    if len(findings) > _MAX_LINES:
        typer.echo(f"... and {len(findings) - _MAX_LINES:,} more")
