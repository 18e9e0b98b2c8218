"""The command `dpseval study`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dpsdata.runtime.arguments import parse_levels, split_words
from dpseval.cli import options as options
from dpseval.cli.run import parse_weights

_CELL_HELP = (
    "Mask family and kinds of sketches, such as dps:own,displaced-8,deformed-4,dropped-0.33 (distances in px of a "
    "256 px photo); give it once for each family."
)


def register_study(app: typer.Typer) -> None:
    """Add `study` to the app of the room."""
    app.command("study")(study_command)


def study_command(
    built: Annotated[Path, typer.Argument(metavar="BUILT", help="Folder that `dpsdata build` made.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the report.")],
    work: Annotated[Path, typer.Option(help="Folder of outputs, sketches and single reports; a study goes on there.")],
    cell: Annotated[list[str], typer.Option(metavar="MASKS:SKETCHES", help=_CELL_HELP)],
    methods: Annotated[
        str, typer.Option(help="With commas between, dps among them; see `dps predict --help`.")
    ] = "dps,dps-g,mean-color,telea,navier-stokes",
    levels: Annotated[str, typer.Option(help="Refinement levels in [0, 1], 0 and 1 among them.")] = "0,0.25,0.5,0.75,1",
    split: Annotated[str, typer.Option(help="Name of the split that is scored.")] = "test",
    choose_split: Annotated[str, typer.Option(help="Name of the split that levels are chosen on.")] = "val",
    weights: Annotated[
        list[str] | None,
        typer.Option(metavar="METHOD=PATH", help="Weights of a method, or official. [default: what there is]"),
    ] = None,
    show: Annotated[str, typer.Option(metavar="IDS", help="Photos that the report may show, with commas.")] = "",
    batch: Annotated[int, typer.Option(metavar="N", help="Photos in one pass.")] = 16,
    lpips: options.LpipsNets = "alex",
    device: options.Device = "auto",
    workers: options.Workers = 0,
    jobs: Annotated[
        int, typer.Option(metavar="N", help="Cells in so many processes at once, which share the cores; 0: one a core.")
    ] = 1,
    seed: Annotated[int, typer.Option(help="Of faults, noise and intervals.")] = 0,
    cache: options.Cache = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run, and stop.")] = False,
) -> None:
    """Compare methods over mask families and over good and poor sketches, and test the claims of the field.

    Levels are chosen on one split and scored on another. What is done is kept; the same command goes on.
    """
    from dpseval.scoring.config import ScoreConfig
    from dpseval.study.config import StudyConfig, parse_cells
    from dpseval.study.running import check_study, run_study

    config = StudyConfig(
        built,
        out,
        work,
        split_words(methods),
        parse_cells(tuple(cell)),
        parse_levels(levels),
        split,
        choose_split,
        dict(parse_weights(text) for text in weights or ()),
        batch,
        seed,
        split_words(show),
        jobs,
        ScoreConfig(lpips_nets=split_words(lpips), device=device, workers=workers, seed=seed, cache=cache),
    )
    if dry_run:
        check_study(config)
        for item in config.cells:
            typer.echo(f"{config.split}: {item.name}: {', '.join(config.methods)}")
        typer.echo(f"levels are chosen on {config.choose_split}; nothing was written")
        return
    study = run_study(config, typer.echo)
    for name, level in study.chosen.items():
        typer.echo(f"level chosen for {name}: {level:g}")
    typer.echo(f"open {(out / 'README.md').resolve()}")
