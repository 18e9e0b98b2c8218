"""The rules of the house: import directions, quick command lines, and what product code never names."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("dpsdata", "models", "dpseval")
# Rooms that each room may import besides itself; only the sweep of dpseval may reach up to models.
ALLOWED = {"dpsdata": set(), "models": {"dpsdata"}, "dpseval": {"dpsdata"}}
BRIDGE = "dpseval/sweep.py"
FILES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def imported_rooms(text: str) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names.add((node.module or "").split(".")[0])
    return names & set(ROOMS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_never_point_up(path: Path) -> None:
    relative = path.relative_to(ROOT).as_posix()
    room = relative.split("/")[0]
    allowed = ALLOWED[room] | {room} | ({"models"} if relative == BRIDGE else set())
    assert imported_rooms(path.read_text(encoding="utf-8")) <= allowed


def test_the_rule_can_fail() -> None:
    assert imported_rooms("def f():\n    from models.networks.refiner import Refiner\n") == {"models"}


def test_no_file_is_too_long_or_a_drawer() -> None:
    for path in FILES:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 500, path
        assert path.stem not in ("utils", "util", "helpers", "common", "misc"), path


def test_product_code_names_no_machine_and_not_the_shared_folder() -> None:
    pattern = re.compile(r"\.\./shared|/work/|/root/")
    for path in FILES:
        assert not pattern.search(path.read_text(encoding="utf-8")), path


# Stands for every test module, so that collecting imports none of them.
COUNT_MODULES = """
import sys, pytest
class Names:
    @pytest.hookimpl(tryfirst=True)
    def pytest_pycollect_makemodule(self, module_path, parent):
        print("\\ncollected", module_path, file=sys.stderr)
        return Empty.from_parent(parent, path=module_path)
class Empty(pytest.Module):
    def collect(self):
        return []
sys.exit(pytest.main(["--collect-only", "-p", "no:cacheprovider"], plugins=[Names()]))
"""


def collected_modules(root: Path) -> set[Path]:
    command = [sys.executable, "-c", COUNT_MODULES]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, check=False)
    lines = done.stderr.splitlines()
    found = {Path(line.removeprefix("collected ")) for line in lines if line.startswith("collected ")}
    assert found, done.stderr
    return found


def test_every_test_on_disk_is_collected() -> None:
    assert collected_modules(ROOT) == set((ROOT / "tests").rglob("test_*.py"))


def test_an_uncollected_test_would_be_found(tmp_path: Path) -> None:
    for folder in ("seen", "build"):  # pytest passes over the second by itself
        (tmp_path / "tests" / folder).mkdir(parents=True)
        (tmp_path / "tests" / folder / f"test_{folder}.py").touch()
    (tmp_path / "pytest.ini").write_text("[pytest]\ntestpaths = tests\n")
    assert collected_modules(tmp_path) == {tmp_path / "tests" / "seen" / "test_seen.py"}


def test_every_package_is_listed() -> None:
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = {path.parent.relative_to(ROOT).as_posix().replace("/", ".") for path in FILES}
    assert listed == found


def test_images_are_decoded_in_one_file_only() -> None:
    decoders = re.compile(r"cv2\.(imread|imdecode|imwrite|imencode)|Image\.open|imageio|skimage\.io")
    allowed = {"dpsdata/images/codec.py", "dpsdata/images/header.py"}
    found = {path.relative_to(ROOT).as_posix() for path in FILES if decoders.search(path.read_text(encoding="utf-8"))}
    assert found <= allowed


@pytest.mark.parametrize(
    "command",
    [
        *("dpsdata", "dpsdata build", "dpsdata masks"),
        *("dps", "dps edit", "dps predict", "dps train", "dps export", "dps app", "dps recipes", "dps doctor"),
        "dps weights",
        *("dpseval", "dpseval score", "dpseval run", "dpseval compare", "dpseval report"),
    ],
)
def test_help_loads_no_heavy_library(command: str) -> None:
    room, *words = command.split()
    module = {"dpsdata": "dpsdata.cli", "dps": "models.cli", "dpseval": "dpseval.cli"}[room]
    code = (
        f"import sys; from {module} import app; from dpsdata.runtime.command_line import run_app; "
        f"code = run_app(app, {[*words, '--help']!r}); "
        "heavy = {'torch', 'cv2', 'numpy', 'pandas', 'matplotlib', 'skimage', 'pooch'} & set(sys.modules); "
        "print('heavy:', sorted(heavy)); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert "heavy: []" in done.stdout
