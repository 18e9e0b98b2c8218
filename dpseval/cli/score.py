"""The commands `dpseval score` and `dpseval compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dpsdata.contracts import MissingError, ToleranceError, UsageError, parse_levels, split_words
from dpsdata.runtime.command_line import echo_detail
from dpseval.cli import options as options

if TYPE_CHECKING:
    from dpseval.scoring.config import ScoreConfig


def score_command(
    outputs: Annotated[Path, typer.Argument(metavar="OUTPUTS", help="Folder of METHOD/l0.25/ID.png, or METHOD/none/.")],
    data: Annotated[Path, typer.Option("--data", metavar="BUILT", help="Folder that `dpsdata build` made.")],
    out: options.Report,
    masks: Annotated[
        str | None, typer.Option(metavar="FAMILY", help="Mask family, or folder of ID.png. [default: from run.json]")
    ] = None,
    sketches: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of ID.png. [default: from run.json, or the stored ones]")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="A split, or all. [default: from run.json, or the split of the outputs]")
    ] = None,
    methods: Annotated[str, typer.Option(help="Only these, comma-separated. [default: all]")] = "",
    levels: Annotated[str, typer.Option(help="Only these, besides methods without a level. [default: all]")] = "",
    prep: options.Prep = "pytorch-fid",
    lpips: options.LpipsNets = "alex",
    require: options.Require = "",
    allow: options.Allow = None,
    device: options.Device = "auto",
    workers: options.Workers = 0,
    engine: options.Engine = "local",
    address: options.Address = None,
    seed: Annotated[int, typer.Option(help="Seed of intervals and samples.")] = 0,
    cache: options.Cache = None,
    no_cache: options.NoCache = False,
    as_: Annotated[
        str,
        typer.Option("--as", metavar="PAPERS", help="Add the scores as computed in these papers: zits, lama, mat."),
    ] = "",
    group_by: Annotated[
        Path | None,
        typer.Option(metavar="FILE.csv", help="Score groups of photos: each column besides id is a grouping."),
    ] = None,
    train: Annotated[
        Path | None, typer.Option(metavar="BUILT", help="Check whether any scored photo is in this training set.")
    ] = None,
    identity: Annotated[
        str, typer.Option(metavar="NETWORK", help="Network of identity: face-api or mobilefacenet.")
    ] = "face-api",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Pair and check all files; write nothing.")] = False,
) -> None:
    """Score outputs of any methods, and write one page.

    Everything is paired by id. Files that do not match are listed, and the exit code is then 3.
    """
    from dpseval.scoring.config import ScoreConfig

    config = ScoreConfig(
        out=out,
        methods=split_words(methods),
        levels=parse_levels(levels) if levels else (),
        masks=masks,
        sketches=sketches,
        split=split,
        prep=prep,
        require=split_words(require),
        lpips_nets=split_words(lpips),
        device=device,
        workers=workers,
        engine=engine,
        address=address,
        seed=seed,
        cache=cache,
        use_cache=not no_cache,
        identity=identity,
        allow=options.split_kinds(allow),
        protocols=split_words(as_),
        group_by=group_by,
        train=train,
    )
    from dpseval.pairing.files import PairingError

    try:
        _score(outputs, data, config, dry_run)
    except PairingError as error:
        options.list_findings(error.findings)
        raise


def _score(outputs: Path, data: Path, config: ScoreConfig, dry_run: bool) -> None:
    from dpseval.pairing.pairs import find_sets

    if outputs.is_dir():  # a mistyped name shows before torch is loaded, which takes seconds
        find_sets(outputs, config.methods, config.levels)
    if not dry_run:
        typer.echo(f"scoring {outputs} by {data}")
    from dpseval.scoring.score import plan_score, score

    if dry_run:
        plan = plan_score(outputs, data, config)
        options.list_findings(plan.findings)
        for key in plan.pairing.keys:
            count = sum(item.key == key for photo in plan.pairing.photos for item in photo.outputs)
            typer.echo(f"{key}: {count:,} photos")
        for metric, note in plan.missing.items():
            typer.echo(f"{metric}: {note}")
        pairing = plan.pairing
        typer.echo(
            f"would score {len(pairing.photos):,} photos of {pairing.split} with the masks {pairing.masks}; "
            "nothing was written"
        )
        return
    scores = score(outputs, data, config, announce=typer.echo)
    options.print_scores(scores)
    forwards = ", ".join(f"{name} {count:,}" for name, count in scores.run["forwards"].items())
    echo_detail(f"{scores.run['seconds']:.1f} s; photos forwarded: {forwards}")
    if config.out is not None:
        typer.echo(f"open {(config.out / 'index.html').resolve()}")


def compare_command(
    first: Annotated[Path, typer.Argument(metavar="A.json", help="scores.json of a report, or the report.")],
    second: Annotated[Path, typer.Argument(metavar="B.json", help="Likewise; deltas are B minus A.")],
    tolerance: Annotated[
        list[str] | None, typer.Option(metavar="METRIC=VALUE", help="Exit 4 if a delta is larger.")
    ] = None,
    pair: Annotated[
        list[str] | None, typer.Option(metavar="'SET=SET'", help="Sets of A and B, such as 'dps 0.5=lama'.")
    ] = None,
    region: Annotated[str, typer.Option(help="Show only full, hole or ring. [default: all]")] = "",
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the intervals.")] = 0,
) -> None:
    """Print paired deltas of two reports with 95 % intervals.

    Refuses, with exit 2, reports of other photos, masks, sketches, preprocessing or weights.
    """
    limits = dict(_limit(text) for text in tolerance or ())
    pairs = [_pair(text) for text in pair or ()]
    if region not in ("", "full", "hole", "ring"):
        raise UsageError(f"region: expected full, hole or ring, got {region!r}")
    for path in (first, second):
        if not path.exists():
            raise MissingError(f"{path}: there is no such file; `dpseval score` writes scores.json into its report")
    from dpseval.scoring.compare import compare_reports

    found = compare_reports(first, second, limits, pairs, seed)
    table = found.table()
    table = table[table["region"] == region] if region else table
    if as_csv:
        typer.echo(table.to_csv(index=False), nl=False)
    else:
        typer.echo(table.to_string(index=False, float_format=lambda value: f"{value:.5g}", na_rep=""))
    for note in found.notes:
        typer.echo(f"note: {note}", err=True)
    if found.outside:
        raise ToleranceError(f"{len(found.outside)} deltas are outside their tolerance: {'; '.join(found.outside)}")


def _limit(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name.strip(), float(value)
    except ValueError:
        raise UsageError(f"tolerance: expected METRIC=VALUE, such as psnr=0.1, got {text!r}") from None


def _pair(text: str) -> tuple[str, str]:
    first, _, second = text.partition("=")
    if not first.strip() or not second.strip():
        raise UsageError(f"pair: expected two sets, such as 'dps 0.5=lama', got {text!r}")
    return first, second
