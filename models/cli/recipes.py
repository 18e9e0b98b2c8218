"""The command `dps recipes`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dpsdata.contracts import MissingError, UsageError, parse_levels, split_words
from models.weights.bundled import choose_weights


def recipes_command(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the recipes.")],
    only: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Only these: rejuvenation, hair-implant, chin-surgery, nose-surgery, face-from-a-sketch.",
        ),
    ] = None,
    levels: Annotated[
        str, typer.Option(help="Refinement levels in [0, 1]: 0 follows the drawing, 1 corrects it the most.")
    ] = "0,0.5,1",
    weights: Annotated[
        str | None,
        typer.Option(
            help="bundled, official (imported by `dps weights import`), or a folder. "
            "[default: the best installed weights]"
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be made, and stop.")] = False,
) -> None:
    """Make five edits to learn from.

    Each has its photo, hole, lines, results, and the command that repeats it by hand.

    A recipe without weights is named and left out; if --only asks for it, the command ends with exit code 5.
    """
    wanted = parse_levels(levels)
    names = split_words(only) if only is not None else ()
    if only is not None and not names:
        raise UsageError("--only: expected one or more comma-separated names, got none")
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; name a folder")

    from models.recipes.catalogue import find_recipes

    recipes = find_recipes(names)
    if not dry_run:
        typer.echo(f"making {len(recipes)} recipe{'s' if len(recipes) > 1 else ''} in {out}")
    from models.recipes.making import SHEET_FILE, make_recipes, plan_recipe

    if dry_run:
        for recipe in recipes:
            typer.echo(plan_recipe(recipe, wanted, choose_weights(weights, recipe.task)))
        typer.echo(f"{len(recipes)} recipes; nothing was written")
        return
    made = make_recipes(recipes, out, wanted, lambda task: choose_weights(weights, task), typer.echo)
    for note in made.notes:
        typer.echo(f"note: {note}", err=True)
    for name, reason in made.left_out.items():
        typer.echo(f"left out: {name}: {reason}", err=True)
    typer.echo(f"{len(made.done)} recipes in {out}, {len(made.left_out)} left out; open {out / SHEET_FILE}")
    if made.left_out and (names or not made.done):
        raise MissingError(f"{', '.join(made.left_out)}: no weights; get them as described above, then run it again")
