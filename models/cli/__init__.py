"""`dps`: edit, synthesize, predict, train, export, app, page, inspect, recipes, doctor, weights."""

from __future__ import annotations

import typer

import models  # noqa: F401  registers the weights of this room
from dpsdata import __version__
from dpsdata.cli.weights import weights_app
from dpsdata.runtime.command_line import describe_room, run_and_exit
from models.cli.app import app_command, page_command
from models.cli.doctor import doctor_command
from models.cli.edit import edit_command, inspect_command, synthesize_command
from models.cli.predict import predict_command
from models.cli.recipes import recipes_command
from models.cli.train import export_command, train_command

# Plain help: the coloured one loads half a second of libraries.
app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
describe_room(app, __version__, "Deep Plastic Surgery: sketch-guided face editing.")
app.command("edit")(edit_command)
app.command("synthesize")(synthesize_command)
app.command("predict")(predict_command)
app.command("train")(train_command)
app.command("export")(export_command)
app.command("app")(app_command)
app.command("page")(page_command)
app.command("inspect")(inspect_command)
app.command("recipes")(recipes_command)
app.command("doctor")(doctor_command)
app.add_typer(weights_app, name="weights")


def main() -> None:
    """Entry point of `dps`."""
    run_and_exit(app)
