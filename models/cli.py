"""`dps`: the weights of everything that the product can load."""

from __future__ import annotations

import typer

import models  # noqa: F401  registers the weights of this room
from dpsdata.command import run_and_exit
from dpsdata.weights_cli import weights_app

app = typer.Typer(no_args_is_help=True, help="Deep Plastic Surgery: sketch-guided face editing.")
app.add_typer(weights_app, name="weights")


@app.callback()
def _room() -> None:
    """Keep `weights` a command of its own, also while it is the only one."""


def main() -> None:
    """Entry point of `dps`."""
    run_and_exit(app)
