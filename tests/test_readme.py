"""Every command and every Python block of README runs, in order, in a fresh folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_BLOCKS: list[tuple[str, str]] = _BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))


def test_few_blocks_are_left_out() -> None:
    kinds = [kind for kind, _ in _BLOCKS]
    assert kinds.count("console") <= 3
    assert set(kinds) <= {"console", "sh", "python"}
    assert {"sh", "python"} <= set(kinds)


def test_links_lead_somewhere() -> None:
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "reports/README.md"):
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            assert target.startswith("https://") or (page.parent / target).exists(), f"{page.name}: {target}"


def test_readme_is_short() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 160
    assert max(len(line) for line in lines if not line.startswith(("!", "|"))) <= 140


def test_every_block_runs(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}
    for number, (kind, text) in enumerate(_BLOCKS):
        if kind == "sh":
            command = ["bash", "-euo", "pipefail", "-c", text]
        elif kind == "python":
            script = tmp_path / f"block_{number}.py"
            script.write_text(text, encoding="utf-8")
            command = [sys.executable, script.name]
        else:
            continue
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.fail(f"{text}\nexit code {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}")
    for made in (
        "recipes/recipes.jpg",
        "recipes/nose-surgery/again/strip.png",
        "built/preview.html",
        "report/index.html",
    ):
        assert (tmp_path / made).is_file(), made


@pytest.mark.parametrize("room", ["dpsdata.cli", "models.cli", "dpseval.cli"])
def test_no_line_of_help_is_cut(room: str) -> None:
    from importlib import import_module

    from typer.testing import CliRunner

    said = CliRunner().invoke(import_module(room).app, ["-h"], env={"COLUMNS": "80"}).output
    commands = said.partition("Commands:")[2].splitlines()
    assert len(commands) > 4
    assert not [line for line in commands if line.endswith("...")]
