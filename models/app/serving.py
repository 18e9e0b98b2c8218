"""Starts the page on 127.0.0.1: it is up before torch is imported, and the networks load behind it."""

from __future__ import annotations

import socket
import threading
import webbrowser
from importlib.util import find_spec
from typing import TYPE_CHECKING

import typer

from dpsdata.contracts import EnvironmentFailure, MissingError, UsageError

if TYPE_CHECKING:
    from models.app.engine import AnyEngine

HOST = "127.0.0.1"


def serve(port: int, weights: str | None, opens_browser: bool) -> None:
    """Serve the page until Ctrl-C.

    Args:
        port: on 127.0.0.1.
        weights: a folder, `bundled` or `official`; None for what there is.
        opens_browser: show the page in the default browser.

    Raises:
        EnvironmentFailure: Starlette or uvicorn is not installed, or the port is taken.
        MissingError: the weights that were named are not there, or damaged.
        UsageError: the files that were named do not make a whole model.
    """
    if find_spec("starlette") is None or find_spec("uvicorn") is None:
        raise EnvironmentFailure(
            "dps app needs Starlette and uvicorn, which are not installed; "
            "run `pip install 'deep-plastic-surgery[app]'`"
        )
    import uvicorn

    from models.app.server import Studio, make_server

    studio = Studio(lambda: load_engines(weights))
    with _listen(port) as listener:
        config = uvicorn.Config(make_server(studio), log_level="warning", ws="none", lifespan="off")
        server = uvicorn.Server(config)

        def load() -> None:
            studio.start()
            if studio.error is not None and weights is not None:
                server.should_exit = True

        threading.Thread(target=load, name="load", daemon=True).start()
        address = f"http://{HOST}:{port}"
        typer.echo(f"open {address}  (nothing leaves this machine; stop with Ctrl-C)")
        if opens_browser:
            webbrowser.open(address)
        server.run(sockets=[listener])
    if studio.error is not None and weights is not None:
        raise studio.error


def load_engines(weights: str | None) -> dict[str, AnyEngine]:
    """The methods by the names that a person chooses by; Deep Plastic Surgery is first.

    Args:
        weights: as in `serve`.

    Raises:
        MissingError: the weights that were named, or all, are not there or damaged.
        UsageError: the files that were named do not make a whole model.
    """
    from models.app.engine import Engine, find_baselines, name_baseline, name_editors
    from models.weights.bundled import choose_weights

    first = choose_weights(weights, "edit")
    editors, errors = {}, []
    for name in dict.fromkeys((first,) if weights is not None else (first, "official", "bundled")):
        try:
            editors[name] = Engine(name)
        except (MissingError, UsageError) as error:
            errors.append(error)
    if not editors:
        raise errors[0]
    engines: dict[str, AnyEngine] = dict(zip(name_editors(editors), editors.values(), strict=True))
    engines |= {
        name_baseline(baseline.method): baseline for baseline in find_baselines(None if weights is None else first)
    }
    return engines


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen()
    except OSError as error:
        listener.close()
        other = port + 1 if port < 65_535 else 7860
        raise EnvironmentFailure(
            f"port {port} of {HOST} cannot be used, perhaps by another dps app; run `dps app --port {other}`"
        ) from error
    return listener
