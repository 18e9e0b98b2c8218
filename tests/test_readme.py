"""Every command and every Python block of README runs, in order, in a fresh folder."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_BLOCKS: list[tuple[str, str]] = _BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


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
    assert len(lines) <= 150
    assert max(len(line) for line in lines if not line.startswith(("!", "|"))) <= 140


def test_every_block_runs(tmp_path: Path) -> None:
    for number, (kind, text) in enumerate(_BLOCKS):
        if kind == "sh":
            command = ["bash", "-euo", "pipefail", "-c", text]
        elif kind == "python":
            script = tmp_path / f"block_{number}.py"
            script.write_text(text, encoding="utf-8")
            command = [sys.executable, script.name]
        else:
            continue
        done = _run(command, tmp_path)
        if done.returncode:
            pytest.fail(f"{text}\nexit code {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}")
    for made in (
        "recipes/recipes.jpg",
        "recipes/nose-surgery/again/strip.png",
        "built/preview.html",
        "report/index.html",
    ):
        assert (tmp_path / made).is_file(), made


def test_the_notebook_runs(tmp_path: Path) -> None:
    cells = json.loads((ROOT / "reports/examples/tour.ipynb").read_text(encoding="utf-8"))["cells"]
    lines = ["import subprocess"]
    for cell in cells:
        assert not cell.get("outputs")
        for line in "".join(cell["source"]).splitlines() if cell["cell_type"] == "code" else ():
            is_shell = line.startswith("!")
            lines.append(f"subprocess.run(['bash', '-euc', {line[1:]!r}], check=True)" if is_shell else line)
    (tmp_path / "tour.py").write_text("\n".join(lines), encoding="utf-8")
    done = _run([sys.executable, "tour.py"], tmp_path)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    assert (tmp_path / "report/index.html").is_file()


@pytest.mark.parametrize(
    ("room", "words", "least"),
    [
        ("dpsdata.cli", [], 5),
        ("models.cli", [], 5),
        ("dpseval.cli", [], 5),
        ("models.cli", ["weights"], 5),
        ("dpsdata.cli", ["masks"], 2),
    ],
)
def test_no_line_of_help_is_cut(room: str, words: list[str], least: int) -> None:
    from importlib import import_module

    from typer.testing import CliRunner

    said = CliRunner().invoke(import_module(room).app, [*words, "-h"], env={"COLUMNS": "80"}).output
    commands = said.partition("Commands:")[2].splitlines()
    assert len(commands) > least
    assert not [line for line in commands if line.endswith("...")]
