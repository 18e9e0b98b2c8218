from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from dpsdata import weights
from dpsdata.cli.weights import weights_app
from dpsdata.contracts import MissingError, UsageError

T = runpy.run_path(str(Path(__file__).with_name("toy_weights.py")))
TOY, TOY_BYTES = T["TOY"], T["TOY_BYTES"]
make_zip = T["make_zip"]


def run(*arguments: str) -> Any:
    return CliRunner().invoke(weights_app, arguments)


def test_commands(tmp_path: Path, home: Path, downloads: dict[str, Any], bundle: Path) -> None:
    downloads[TOY.url] = TOY_BYTES
    rows = json.loads(run("list", "--json").stdout)
    assert {row["name"]: row["installed"] for row in rows}["toy"] is False
    text = run("list").stdout
    assert "toy  [not installed]" in text
    assert "bundled-toy  [bundled]" in text
    refused = run("get", "toy", "--offline")
    assert isinstance(refused.exception, MissingError)
    got = run("get", "toy")
    assert got.stdout.strip() == str(home / "weights" / "toy.safetensors")
    assert "toy licence" in got.stderr
    assert run("path", "toy").stdout == got.stdout
    assert {row["name"]: row["status"] for row in json.loads(run("verify", "--json").stdout)}["toy"] == "ok"
    (tmp_path / "toy").write_bytes(TOY_BYTES)
    assert "verified" in run("import", str(tmp_path / "toy")).stdout
    archive = make_zip(tmp_path / "a.zip", {"toy": TOY_BYTES, "x": b"x"})
    taken = run("import", "--json", str(archive))
    assert [row["name"] for row in json.loads(taken.stdout)] == ["toy"]
    assert "passed over x" in taken.stderr
    (home / "weights" / "toy.safetensors").write_bytes(b"x")
    wrong = run("verify")
    assert isinstance(wrong.exception, MissingError)
    assert "toy: wrong hash" in wrong.stdout
    assert isinstance(run("path", "nothing").exception, UsageError)


def test_listing_imports_neither_torch_nor_cv2() -> None:
    code = (
        "import sys; from dpsdata.cli.weights import weights_app; from dpsdata import weights; weights.list_weights();"
        "weights.installed('hed-caffe'); print([m for m in ('torch', 'cv2', 'pooch', 'requests') if m in sys.modules])"
    )
    root = Path(weights.__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": str(root)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == "[]"
