"""The command `dpseval run`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dpsdata.contracts import LEVELS_TEXT, FindingsError, UsageError, parse_levels, split_words
from dpsdata.runtime.command_line import echo_detail
from dpseval.cli import options as options


def run_command(
    built: Annotated[Path, typer.Argument(metavar="BUILT", help="Folder that `dpsdata build` made.")],
    report: options.Report,
    masks: Annotated[str, typer.Option(metavar="FAMILY", help="Mask family, such as dps or center.")],
    methods: Annotated[
        str, typer.Option(help="Comma-separated, such as dps,deepfillv2,scfegan,telea; see `dps predict --help`.")
    ] = "dps",
    method: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=exec:CMD",
            help="Another method, repeatable: NAME=exec:'CMD {photo} {mask} {sketch} {level} {out}', with {photos} "
            "{masks} {sketches} {outs} for one call per folder; or one of an installed package.",
        ),
    ] = None,
    levels: Annotated[
        str, typer.Option(help="Refinement levels in [0, 1], of the methods that have them.")
    ] = LEVELS_TEXT,
    sketches: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of ID.png. [default: the stored sketches]")
    ] = None,
    split: Annotated[str, typer.Option(help="Name of a split, or all.")] = "test",
    weights: options.Weights = None,
    outputs: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder of outputs; an interrupted run there is resumed. [default: REPORT/../outputs]"
        ),
    ] = None,
    require_methods: Annotated[
        bool, typer.Option("--require-methods", help="Exit 5 if a method has no weights.")
    ] = False,
    time_limit: Annotated[
        float, typer.Option(metavar="SECONDS", help="Time that an exec: method may take for a photo.")
    ] = 600.0,
    batch: options.Batch = 8,
    prep: options.Prep = "pytorch-fid",
    lpips: options.LpipsNets = "alex",
    require: options.Require = "",
    allow: options.Allow = None,
    device: options.Device = "auto",
    workers: options.Workers = 0,
    seed: Annotated[int, typer.Option(help="Seed of the noise that a method reads, of intervals and of samples.")] = 0,
    cache: options.Cache = None,
    no_cache: options.NoCache = False,
) -> None:
    """Run methods and score their outputs in one report.

    A method without weights is named in the report with the reason; the others are compared. The same command
    resumes an interrupted run.
    """
    from dpseval.pairing.files import PairingError
    from dpseval.scoring.config import ScoreConfig
    from dpseval.sweep import SweepConfig, run_sweep

    config = SweepConfig(
        built=built,
        report=report,
        methods=(*split_words(methods), *(method or ())),
        masks=masks,
        levels=parse_levels(levels),
        outputs=outputs,
        sketches=sketches,
        split=split,
        weights=dict(parse_weights(text) for text in weights or ()),
        batch_size=batch,
        seed=seed,
        time_limit_s=time_limit,
        require_methods=require_methods,
        cost=True,
        score=ScoreConfig(
            prep=prep,
            require=split_words(require),
            lpips_nets=split_words(lpips),
            device=device,
            workers=workers,
            seed=seed,
            cache=cache,
            use_cache=not no_cache,
            allow=options.split_kinds(allow),
        ),
    )
    try:
        result = run_sweep(config, typer.echo, echo_detail)
    except PairingError as error:
        options.list_findings(error.findings)
        raise
    options.print_scores(result.scores)
    typer.echo(f"open {(report / 'index.html').resolve()}")
    if result.failures:
        method_name, photo, reason = result.failures[0]
        raise FindingsError(
            f"{len(result.failures)} outputs are missing, and their photos were left out for all methods; the first is "
            f"{photo} of {method_name}: {reason}. Correct it and run the same command again"
        )


def parse_weights(text: str) -> tuple[str, str]:
    """Read METHOD=PATH; raise UsageError for anything else."""
    name, _, path = text.partition("=")
    if not name.strip() or not path.strip():
        raise UsageError(f"weights: expected METHOD=PATH, such as scfegan=run/weights, got {text!r}")
    return name.strip(), path.strip()
