"""The command `dps app`."""

from __future__ import annotations

from typing import Annotated

import typer


def register_app(app: typer.Typer) -> None:
    """Add `app` to an app."""
    app.command("app")(app_command)


def app_command(
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port on 127.0.0.1.")] = 7860,
    weights: Annotated[
        str | None,
        typer.Option(
            help="bundled, official (imported by `dps weights import`), or a folder, which may hold other methods too. "
            "[default: what there is]"
        ),
    ] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")] = True,
) -> None:
    """Edit photos in the browser; nothing leaves this machine.

    Needs the extra `app`.
    """
    from models.app.serving import serve

    serve(port, weights, browser)
