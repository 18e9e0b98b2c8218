"""The commands `dps app` and `dps page`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def app_command(
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port on 127.0.0.1.")] = 7860,
    weights: Annotated[
        str | None,
        typer.Option(
            help="bundled, official (imported by `dps weights import`), or a folder, which may hold other methods too. "
            "[default: the best installed weights]"
        ),
    ] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")] = True,
) -> None:
    """Edit photos in the browser; nothing leaves this machine.

    Needs the extra `app`.
    """
    from models.app.serving import serve

    serve(port, weights, browser)


def page_command(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write, for any web server.")],
    weights: Annotated[
        str | None, typer.Option(help="bundled, official or a folder. [default: the best installed weights]")
    ] = None,
) -> None:
    """Write the editor as a page that needs no server.

    A static folder; the networks run in the tab of the browser.

    Needs npm, and the extra `onnx`.
    """
    from models.app.static_page import build_page
    from models.weights.bundled import choose_weights

    size = build_page(out, choose_weights(weights, "edit"))
    typer.echo(f"{out}: {size / 1e6:.1f} MB; try it: python -m http.server --directory {out} 8000")
