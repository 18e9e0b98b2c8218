from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import pytest
import typer

from dpsdata.contracts import MissingError
from dpsdata.runtime.command_line import run_app
from models.app.server import Studio, explain, make_server
from models.cli.app import app_command


def cli() -> typer.Typer:
    app = typer.Typer(no_args_is_help=True)
    app.callback()(lambda: None)
    app.command("app")(app_command)
    return app


def test_without_starlette_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("models.app.serving.find_spec", lambda name: None)
    assert run_app(cli(), ["app"]) == 1
    assert "pip install 'deep-plastic-surgery[app]'" in capsys.readouterr().err


def test_a_taken_port_is_told_with_the_next_command(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("starlette")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert run_app(cli(), ["app", "--port", str(port), "--no-browser"]) == 1
    assert f"port {port}" in capsys.readouterr().err


def test_named_weights_that_are_not_there_end_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = ["app", "--weights", str(tmp_path / "none"), "--no-browser", "--port", str(port)]
    assert run_app(cli(), words) == 5
    assert "no such folder of weights" in capsys.readouterr().err


def refuse() -> Any:
    raise MissingError("no <weights> here")


def test_the_page_without_weights_says_which_files_and_how() -> None:
    studio = Studio(refuse)
    assert studio.describe()["state"] == "loading"
    studio.start()
    told = studio.describe()
    assert told["message"] == "no <weights> here"
    text = " ".join(told["help"])
    for name in ("G64", "G128", "G256", "F256"):
        assert f"ECCV-EDT-celebaHQ-{name}.ckpt" in text
    assert "D64" not in text
    assert "https://github.com/VITA-Group/DeepPS" in text
    assert "dps weights import" in text


def ask(path: str, headers: dict[str, str], method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    """One request to the application, without a socket."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    studio = Studio(refuse)
    studio.start()
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": b"", "headers": raw, "root_path": "",
    }  # fmt: skip
    asyncio.run(make_server(studio)(scope, receive, send))
    told = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], told, b"".join(part.get("body", b"") for part in sent[1:])


def test_the_page_answers_to_this_machine_and_to_its_own_requests_alone() -> None:
    host = {"host": "127.0.0.1:7860"}
    status, headers, body = ask("/", host)
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "default-src 'self'" in headers["content-security-policy"]
    assert b"http" not in body
    assert ask("/web/main.js", host)[0] == 200
    assert ask("/web/..%2fserver.py", host)[0] == 404
    assert ask("/", {"host": "elsewhere.example"})[0] == 400
    status, _, body = ask("/api/sample", host, "POST")
    assert (status, b"did not come from the page" in body) == (400, True)
    status, _, body = ask("/api/sample", {**host, "x-dps-tab": "a" * 16}, "POST")
    assert (status, json.loads(body)) == (400, {"error": "no <weights> here"})


def test_every_failure_is_a_sentence() -> None:
    assert "not enough memory" in explain(MemoryError())
    assert "No space left" in explain(OSError(28, "No space left on device"))
    assert "KeyError" in explain(KeyError("x"))
