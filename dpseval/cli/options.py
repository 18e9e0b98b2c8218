"""The options that `dpseval score`, `dpseval run` and `dpseval study` share."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dpsdata.contracts import split_words
from dpsdata.runtime.command_line import is_verbose

if TYPE_CHECKING:
    from dpseval.pairing.files import PairingIssue
    from dpseval.scoring.score import Scores

_MAX_LINES = 200
# What the notes of metrics without weights say.
_MISSING = "weights missing"

Report = Annotated[Path, typer.Option("--out", "-o", metavar="REPORT", help="Folder to write the report into.")]
Prep = Annotated[
    str, typer.Option(help="Preprocessing for FID and KID: pytorch-fid, torch-fidelity, torchmetrics or clean.")
]
LpipsNets = Annotated[str, typer.Option(metavar="NETS", help="Networks of LPIPS: alex, vgg, squeeze.")]
Require = Annotated[
    str, typer.Option(metavar="METRICS", help="Exit 5 if any of these is missing: fid, kid, lpips, lpips_alex ...")
]
Allow = Annotated[
    list[str] | None, typer.Option(metavar="KIND", help="Tolerate this kind of finding; such items are left out.")
]
Weights = Annotated[
    list[str] | None,
    typer.Option(metavar="METHOD=PATH", help="Weights of a method, or official. [default: the best installed weights]"),
]
Batch = Annotated[int, typer.Option(metavar="N", help="Photos in one pass.")]
Device = Annotated[str, typer.Option(help="Where the networks run: auto, cpu or cuda.")]
Workers = Annotated[int, typer.Option(help="Processes that decode and measure; 0 for one per core.")]
Engine = Annotated[str, typer.Option(help="local, or ray: pixels are measured by the actors of a Ray cluster.")]
Address = Annotated[str | None, typer.Option(help="Address of a running Ray cluster; without it one is started.")]
Cache = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Features of earlier runs. [default: beside the weights]")
]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Neither read nor write features on disk.")]


def split_kinds(allow: list[str] | None) -> tuple[str, ...]:
    """The kinds of findings to tolerate; the option may stand several times, and hold several kinds."""
    return split_words(",".join(allow or ()))


def print_scores(scores: Scores) -> None:
    """Print the notes, the head of the table and the answer of a report; the whole notes where details are wanted."""
    from dpseval.metrics.names import METRICS
    from dpseval.report.answer import answer_question
    from dpseval.report.head_table import SHORT
    from dpseval.report.tables import format_head
    from dpseval.report.verdicts import gather_verdicts

    named = scores.results.get("methods", {})  # those were named as they ran
    for warning in scores.run["warnings"]:
        if is_verbose() or not (_MISSING in warning or warning.partition(": ")[0] in named):
            typer.echo(f"note: {warning}", err=True)
    absent = scores.results.get("missing_weights", ())
    missing = [SHORT.get(name, metric.title) for name, metric in METRICS.items() if name in absent]
    if missing and not is_verbose():
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        typer.echo(f"not measured, weights missing: {', '.join(missing[:3])}{more} (-v says how to get them)", err=True)
    verdicts = gather_verdicts(scores.comparisons)
    for line in (*format_head(scores.summary, verdicts), *textwrap.wrap(answer_question(verdicts), 100)):
        typer.echo(line)


def list_findings(findings: tuple[PairingIssue, ...]) -> None:
    """Print findings, a line each."""
    for finding in findings[:_MAX_LINES]:
        typer.echo(str(finding))
    if len(findings) > _MAX_LINES:
        typer.echo(f"... and {len(findings) - _MAX_LINES:,} more")
