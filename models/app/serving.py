"""Starts the page on 127.0.0.1, and keeps Gradio from asking anything of the network."""

from __future__ import annotations

import os
import socket
import tempfile
import webbrowser
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import typer

from dpsdata.contracts import EnvironmentFailure, MissingError, UsageError
from dpsdata.images.header import MAX_FILE_BYTES

HOST = "127.0.0.1"
_SETTINGS = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
}


def serve(port: int, weights: str | None, opens_browser: bool) -> None:
    """Load the weights and serve the page until Ctrl-C.

    Args:
        port: on 127.0.0.1.
        weights: a folder, `bundled` or `official`; None for what there is.
        opens_browser: show the page in the default browser.

    Raises:
        EnvironmentFailure: Gradio is not installed, or the port is taken.
        MissingError: the weights that were named are not there, or damaged.
    """
    if find_spec("gradio") is None:
        raise EnvironmentFailure(
            "dps app needs Gradio, which is not installed; run `pip install 'deep-plastic-surgery[app]'`"
        )
    _check_port(port)
    with tempfile.TemporaryDirectory(prefix="dps-app-") as folder:
        quiet_gradio(Path(folder))
        launch_page(make_page(weights, Path(folder) / "downloads"), port)
        address = f"http://{HOST}:{port}"
        typer.echo(f"{address}  (nothing leaves this machine; stop with Ctrl-C)")
        if opens_browser:
            webbrowser.open(address)
        _wait()


def make_page(weights: str | None, downloads: Path) -> Any:
    """The editor, or without weights the page that says how to get them.

    Args:
        weights: as in `serve`.
        downloads: a folder for files on their way to the browser.

    Raises:
        MissingError: the weights that were named are not there, or damaged.
    """
    from models.app.baselines import find_rivals
    from models.app.engine import Engine
    from models.app.events import PageEvents
    from models.app.page import EditPage, build_missing_page
    from models.cli.edit import choose_weights

    if weights is not None:
        name = choose_weights(weights, "edit")
        return EditPage(PageEvents({name: Engine(name)}, find_rivals(name), downloads)).build()
    first = choose_weights(None, "edit")
    engines, reasons = {}, []
    for name in dict.fromkeys((first, "official", "bundled")):
        try:
            engines[name] = Engine(name)
        except (MissingError, UsageError) as error:
            reasons.append(str(error))
    if not engines:
        return build_missing_page(reasons[0])
    return EditPage(PageEvents(engines, find_rivals(None), downloads)).build()


def launch_page(page: Any, port: int) -> None:
    """Serve a page in the background.

    Raises:
        EnvironmentFailure: the port is taken.
    """
    from models.app.page import page_assets, plain_theme

    head, style = page_assets()
    page.queue(default_concurrency_limit=4)
    try:
        page.launch(
            server_name=HOST,
            server_port=port,
            share=False,
            inbrowser=False,
            prevent_thread_lock=True,
            show_error=False,
            quiet=True,
            footer_links=[],
            max_file_size=MAX_FILE_BYTES,
            ssr_mode=False,
            mcp_server=False,
            pwa=False,
            enable_monitoring=False,
            theme=plain_theme(),
            css=style,
            head=head,
        )
    except OSError as error:
        raise _port_taken(port) from error


def quiet_gradio(folder: Path) -> None:
    """Before Gradio is imported: no analytics, no look at the hub, its files in a folder that goes at the end."""
    os.environ.update(_SETTINGS)
    os.environ["GRADIO_TEMP_DIR"] = str(folder / "uploads")
    # Gradio asks its own address whether it is up, which a proxy would not find.
    known = [name for name in os.environ.get("NO_PROXY", os.environ.get("no_proxy", "")).split(",") if name]
    for variable in ("NO_PROXY", "no_proxy"):
        os.environ[variable] = ",".join(dict.fromkeys([*known, HOST, "localhost"]))
    import_module("gradio")


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise _port_taken(port) from error


def _port_taken(port: int) -> EnvironmentFailure:
    other = port + 1 if port < 65_535 else 7860
    return EnvironmentFailure(
        f"port {port} of {HOST} cannot be used, perhaps by another dps app; run `dps app --port {other}`"
    )


def _wait() -> None:
    import threading

    threading.Event().wait()
