from __future__ import annotations

import socket
from pathlib import Path

import pytest
import typer

from dpsdata.runtime.command_line import run_app
from models.app import fragments
from models.app.events import explain
from models.app.serving import serve
from models.cli.app import register_app


def cli() -> typer.Typer:
    app = typer.Typer(no_args_is_help=True)
    app.callback()(lambda: None)
    register_app(app)
    return app


def test_without_gradio_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("models.app.serving.find_spec", lambda name: None)
    assert run_app(cli(), ["app"]) == 1
    assert "pip install 'deep-plastic-surgery[app]'" in capsys.readouterr().err


def test_a_taken_port_is_told_with_the_next_command(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gradio")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert run_app(cli(), ["app", "--port", str(port), "--no-browser"]) == 1
    assert f"port {port}" in capsys.readouterr().err


def test_named_weights_that_are_not_there_end_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("gradio")
    monkeypatch.setattr("models.app.serving.quiet_gradio", lambda folder: None)
    monkeypatch.setattr("models.app.serving._check_port", lambda port: None)
    assert run_app(cli(), ["app", "--weights", str(tmp_path / "none"), "--no-browser"]) == 5
    assert "no such folder of weights" in capsys.readouterr().err
    with pytest.raises(Exception, match="no such folder"):
        serve(7860, str(tmp_path / "none"), False)


def test_the_page_without_weights_says_which_files_and_how() -> None:
    page = fragments.show_missing("no <weights> here")
    for name in ("G64", "G128", "G256", "F256"):
        assert f"ECCV-EDT-celebaHQ-{name}.ckpt" in page
    assert "D64" not in page
    assert "https://github.com/VITA-Group/DeepPS" in page
    assert "dps weights import" in page
    assert "No &lt;weights&gt; here" in page


def test_every_failure_is_a_sentence() -> None:
    assert "not enough memory" in explain(MemoryError())
    assert "No space left" in explain(OSError(28, "No space left on device"))
    assert "KeyError" in explain(KeyError("x"))
    assert "<b>" not in fragments.show_error("<b>bold</b>")
