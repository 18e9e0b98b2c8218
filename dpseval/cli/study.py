"""The command `dpseval study`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dpsdata.contracts import split_words
from dpseval.cli import options as options
from dpseval.cli.run import parse_weights


def study_command(
    built: Annotated[Path, typer.Argument(metavar="BUILT", help="Folder that `dpsdata build` made.")],
    study: Annotated[
        Path,
        typer.Argument(
            metavar="STUDY.toml", help="Methods, conditions and questions; see reports/comparison/study.toml."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the report.")],
    work: Annotated[
        Path,
        typer.Option(help="Folder of outputs, sketches and single reports; an interrupted study there is resumed."),
    ],
    weights: options.Weights = None,
    show: Annotated[str, typer.Option(metavar="IDS", help="Photos that the report may show, comma-separated.")] = "",
    batch: options.Batch = 16,
    lpips: options.LpipsNets = "alex",
    device: options.Device = "auto",
    workers: options.Workers = 0,
    jobs: Annotated[
        int,
        typer.Option(
            metavar="N", help="Conditions to run at once, in N processes that share the cores; 0: one per core."
        ),
    ] = 1,
    cache: options.Cache = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would run, and stop.")] = False,
) -> None:
    """Compare methods over masks and poor sketches.

    The claims of the field are tested.

    Levels are chosen on one split and scored on another. The same command resumes an interrupted study.
    """
    from dpseval.scoring.config import ScoreConfig
    from dpseval.study.config import StudyConfig, read_study
    from dpseval.study.running import check_study, run_study

    config = StudyConfig(
        built,
        out,
        work,
        **read_study(study),
        weights=dict(parse_weights(text) for text in weights or ()),
        batch_size=batch,
        shown=split_words(show),
        jobs=jobs,
        score=ScoreConfig(lpips_nets=split_words(lpips), device=device, workers=workers, cache=cache),
    )
    if dry_run:
        check_study(config)
        for item in config.conditions:
            typer.echo(f"{config.split}: {item.name}: {', '.join(config.methods)}")
        typer.echo(f"levels are chosen on {config.choose_split}; nothing was written")
        return
    found = run_study(config, typer.echo)
    for name, level in found.chosen.items():
        typer.echo(f"level chosen for {name}: {level:g}")
    typer.echo(f"open {(out / 'README.md').resolve()}")
