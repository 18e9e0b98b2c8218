"""The command `dps page`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register_page(app: typer.Typer) -> None:
    """Add `page` to the app of the room."""
    app.command("page")(page_command)


def page_command(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write, for any web server.")],
    weights: Annotated[str | None, typer.Option(help="bundled, official or a folder. [default: what there is]")] = None,
) -> None:
    """Write the editor as a page that needs no server.

    A static folder; the networks run in the tab of the browser.

    Needs npm, and the extra `onnx`.
    """
    from models.app.static_page import build_page
    from models.weights.typed import choose_weights

    size = build_page(out, choose_weights(weights, "edit"))
    typer.echo(f"{out}: {size / 1e6:.1f} MB; try it: python -m http.server --directory {out} 8000")
