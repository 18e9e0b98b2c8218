"""The commands `dpseval report` and `dpseval vote`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dpsdata.contracts import UsageError, parse_levels, split_words


def report_command(
    report: Annotated[Path, typer.Argument(metavar="REPORT", help="A folder that `dpseval score` wrote.")],
) -> None:
    """Draw a report again from its CSV files.

    Needs no outputs and no dataset.
    """
    from dpseval.report.page import draw_report

    path = draw_report(report)
    typer.echo(f"{path} ({path.stat().st_size / 1e6:.2f} MB), table.md and table.tex beside it")


def vote_command(
    paths: Annotated[
        list[Path], typer.Argument(metavar="REPORT|VOTES...", help="A report; with --count, files of voters.")
    ],
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="DIR", help="Folder for the ballot.")] = None,
    count: Annotated[bool, typer.Option("--count", help="Count votes, and add them to their report.")] = False,
    pairs: Annotated[int, typer.Option(metavar="N", help="Pairs that each voter sees.")] = 40,
    methods: Annotated[str, typer.Option(help="Only these, comma-separated. [default: all]")] = "",
    levels: Annotated[str, typer.Option(help="Only these, besides methods without a level. [default: all]")] = "",
    seed: Annotated[int, typer.Option(help="Seed of photos, pairs and intervals.")] = 0,
) -> None:
    """Make blind pairs of pictures for people to vote on.

    The ballot is one page that works offline: send DIR/index.html, keep DIR/key.json. Put the files that voters send
    back beside key.json, then: dpseval vote --count DIR.
    """
    if count:
        if out is not None:
            raise UsageError("--out: with --count, results go into the report of the ballot; leave it out")
        _count(paths, seed)
        return
    if out is None or len(paths) != 1:
        raise UsageError("vote: expected one REPORT and -o DIR for the ballot, or --count and files of voters")
    from dpseval.votes.ballot import BallotConfig, make_ballot

    config = BallotConfig(
        pairs=pairs, methods=split_words(methods), levels=parse_levels(levels) if levels else (), seed=seed
    )
    ballot = make_ballot(paths[0], out, config)
    matches = len(ballot.sets) * (len(ballot.sets) - 1) // 2
    typer.echo(f"{ballot.pair_count} pairs of {len(ballot.sets)} sets on {ballot.photo_count} photos")
    if ballot.pair_count < pairs:
        typer.echo(f"note: {pairs} pairs were asked for; no more differ", err=True)
    if ballot.pair_count < matches:
        typer.echo(
            f"note: only {ballot.pair_count} of {matches} combinations of sets meet; choose fewer --methods or "
            "--levels, or more --pairs",
            err=True,
        )
    typer.echo(f"send {ballot.page.resolve()} to voters, keep {ballot.key.name} from them")
    typer.echo(f"next: put their files into {out}, then dpseval vote --count {out}")


def _count(paths: list[Path], seed: int) -> None:
    from dpseval.report.sections import vote_rows
    from dpseval.votes.count import count_votes

    result = count_votes(paths, seed)
    page = Path(result["page"])
    told, rows = vote_rows(page.parent)
    typer.echo(told)
    for name, strength, interval, wins, votes in rows:
        typer.echo(f"{name}: strength {strength} ({interval}), wins {wins} of its pairs, {votes} votes")
    typer.echo(f"open {page.resolve()}")
