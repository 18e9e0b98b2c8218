"""A mistyped name is said, with the nearest one, before torch is loaded; long jobs tell how far they are."""

from __future__ import annotations

import io
import itertools
import subprocess
import sys
from pathlib import Path

import pytest

from dpsdata.runtime import progress

_SLIPS = {
    "method of dpseval run": ("dpseval", ["run", "{here}", "--masks", "dps", "--methods", "tela", "-o", "r"], "telea"),
    "weights of dpseval run": (
        "dpseval",
        ["run", "{here}", "--masks", "dps", "--methods", "scfegan", "--weights", "scfgan=x", "-o", "r"],
        "scfegan",
    ),
    "metric": ("dpseval", ["score", "{here}", "--data", "{here}", "--require", "hedsp", "-o", "r"], "hedps"),
    "method of dpseval score": (
        "dpseval",
        ["score", "{here}", "--data", "{here}", "--methods", "mien", "-o", "r"],
        "mine",
    ),
    "masks": ("dpseval", ["score", "{here}", "--data", "{here}", "--masks", "centre", "-o", "r"], "center"),
    "method of dps predict": ("dps", ["predict", "{here}", "o", "--masks", "dps", "--method", "dsp"], "dps"),
    "weights of dps edit": (
        "dps",
        ["edit", "p.png", "--mask", "m.png", "--sketch", "s.png", "--weights", "bundeld", "-o", "o"],
        "bundled",
    ),
    "config": ("dps", ["train", "lite-edit", "--data", "{here}", "--out", "r"], "lite-edit-256"),
    "recipe": ("dps", ["recipes", "r", "--only", "nose"], "nose-surgery"),
    "masks of a build": ("dpsdata", ["build", "{here}", "b", "--masks", "lama-mediun"], "lama-medium"),
}
_PROGRAM = """
import sys
from {room} import main
sys.argv[1:] = {words}
try:
    main()
finally:
    print("torch" in sys.modules)
"""


@pytest.mark.parametrize("slip", _SLIPS)
def test_a_slip_is_told_before_torch_is_loaded(slip: str, tmp_path: Path) -> None:
    program, words, near = _SLIPS[slip]
    (tmp_path / "mine/none").mkdir(parents=True)
    (tmp_path / "mine/none/a.png").write_bytes(b"")
    room = {"dps": "models"}.get(program, program) + ".cli"
    words = [word.format(here=tmp_path) for word in words]
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(room=room, words=words)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert f"did you mean {near}?" in done.stderr
    assert done.stdout == "False\n"


def test_a_line_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(0.0, 25.0)
    monkeypatch.setattr("dpsdata.runtime.progress.time.monotonic", lambda: next(clock))
    monkeypatch.setattr("dpsdata.runtime.progress.sys.stderr", io.StringIO())
    lines: list[str] = []
    assert list(progress.track("abcdefgh", 8, "photo", lines.append)) == list("abcdefgh")
    assert 1 <= len(lines) <= 4
    assert lines[0] == "2 of 8 photos"
    assert list(progress.track("abc", 3, "photo", None)) == list("abc")
