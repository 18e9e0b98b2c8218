"""`dps`: edit, synthesize, predict, train, export, app, page, inspect, recipes, doctor, weights."""

from __future__ import annotations

import typer

import models  # noqa: F401  registers the weights of this room
from dpsdata import __version__
from dpsdata.cli.weights import weights_app
from dpsdata.runtime.command_line import describe_room, run_and_exit
from models.cli.app import register_app
from models.cli.doctor import register_doctor
from models.cli.edit import register_edit_commands
from models.cli.export import register_export
from models.cli.inspect import register_inspect
from models.cli.page import register_page
from models.cli.predict import register_predict
from models.cli.recipes import register_recipes
from models.cli.train import register_train

# Plain help: the coloured one loads half a second of libraries.
app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
describe_room(app, __version__, "Deep Plastic Surgery: sketch-guided face editing.")
register_edit_commands(app)
register_predict(app)
register_train(app)
register_export(app)
register_app(app)
register_page(app)
register_inspect(app)
register_recipes(app)
register_doctor(app)
app.add_typer(weights_app, name="weights")


def main() -> None:
    """Entry point of `dps`."""
    run_and_exit(app)
