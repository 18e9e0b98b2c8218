from __future__ import annotations

import hashlib
import json
import runpy
import socket
import sys
from pathlib import Path
from typing import Any

import pooch
import pytest

from dpsdata import weights
from dpsdata.weights import WeightFile
from dpsdata.weights import importing as weights_import
from dpsdata.weights import registry as weights_registry

T = runpy.run_path(str(Path(__file__).with_name("toy_weights.py")))
TOY, import_toy = T["TOY"], T["import_toy"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    monkeypatch.setenv("DPS_HOME", str(folder))
    monkeypatch.delenv("DPS_OFFLINE", raising=False)
    monkeypatch.setattr(weights_registry, "_FILES", dict(weights_registry._FILES))
    monkeypatch.setattr(weights_import, "_IMPORTERS", list(weights_import._IMPORTERS))
    weights.register(TOY)
    weights.register_importer(import_toy)
    return folder


@pytest.fixture(autouse=True)
def sockets(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """No test may reach the network; those that forbid sockets look into this list."""
    opened: list[Any] = []

    def refuse(*args: Any, **kwargs: Any) -> None:
        opened.append(args)
        raise OSError("the tests open no socket")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return opened


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A server made of a dict: URL -> bytes or the exception to raise half-way."""
    served: dict[str, Any] = {}

    class FakeDownloader:
        def __init__(self, progressbar: bool = False, **options: Any) -> None:
            assert progressbar is sys.stderr.isatty()
            assert options["timeout"] > 0

        def __call__(self, url: str, output_file: str, pooch: Any, check_only: bool = False) -> None:
            content = served[url]
            Path(output_file).write_bytes(b"half" if isinstance(content, BaseException) else content)
            if isinstance(content, BaseException):
                raise content

    monkeypatch.setattr(pooch, "HTTPDownloader", FakeDownloader)
    return served


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundled"
    folder.mkdir()
    (folder / "b.safetensors").write_bytes(b"bundled weights")
    entry = {"file": "b.safetensors", "sha256": hashlib.sha256(b"bundled weights").hexdigest(), "size": 15}
    (folder / "bundled.json").write_text(json.dumps({"bundled-toy": entry}))
    weights.register(
        WeightFile("bundled-toy", "b.safetensors", None, "bundled", None, None, "MIT", "x", "dpsdata", folder)
    )
    return folder
