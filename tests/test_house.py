"""The rules of the house: import directions, quick command lines, and what product code never names."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable
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


# A room is a folder or a module of a floor. It may import those of the lines before its own, and none of its line.
ORDER = {
    "dpsdata": (
        "contracts",
        "runtime",
        "start",
        "engines images weights",
        "masks sketch sources",
        "hed",
        "weights.known",
        "dataset",
        "samples",
        "cli",
    ),
    "models": (
        "networks",
        "weights",
        "editing",
        "baselines",
        "methods",
        "prediction",
        "training.engine training.config_files",
        "training.editing training.baselines",
        "training.catalogue training.export",
        "recipes app doctor",
        "cli",
    ),
    "dpseval": ("metrics", "pairing statistics", "report", "scoring", "sweep", "study votes", "cli"),
}
MAX_MODULES, MAX_LINES = 13, 500
# Folders that hold more, and why.
LARGER = {
    "dpsdata/dataset": 20,  # every step of a build
    "dpsdata/masks": 16,  # one file a family
    "dpseval/metrics": 30,  # one file a metric
    "dpseval/report": 15,  # every part of the page
    "dpseval/scoring": 18,  # every part of a report
    "models/training/engine": 14,
    "models/app": 16,
}


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def find_imports(text: str, known: set[str]) -> set[str]:
    """Modules of this project that a source imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in known else node.module)
    return found & known


def ranks(floor: str) -> dict[str, int]:
    return {f"{floor}.{room}": rank for rank, line in enumerate(ORDER[floor]) for room in line.split()}


def room_of(module: str, rooms: Iterable[str]) -> str | None:
    """The longest room that holds a module; None for the `__init__` of a floor."""
    holding = [room for room in rooms if module == room or module.startswith(f"{room}.")]
    return max(holding, key=len) if holding else None


def find_upward(graph: dict[str, set[str]]) -> list[str]:
    """Imports that break the order: upwards, or between rooms of one line."""
    broken = []
    for module, wanted in graph.items():
        rooms = ranks(module.split(".")[0])
        own = room_of(module, rooms)
        for other in sorted(wanted):
            theirs = room_of(other, rooms)
            if own is None or theirs is None or own == theirs:
                continue
            if rooms[theirs] >= rooms[own]:
                broken.append(f"{module} -> {other}")
    return broken


def find_circle(graph: dict[str, set[str]]) -> list[str]:
    """One circle of imports; empty where there is none."""
    done: set[str] = set()

    def walk(module: str, way: list[str]) -> list[str]:
        if module in way:
            return way[way.index(module) :]
        if module in done:
            return []
        for other in sorted(graph.get(module, ())):
            circle = walk(other, [*way, module])
            if circle:
                return circle
        done.add(module)
        return []

    for module in sorted(graph):
        circle = walk(module, [])
        if circle:
            return circle
    return []


MODULES = {module_name(path): path for path in FILES}
GRAPH = {name: find_imports(path.read_text(encoding="utf-8"), set(MODULES)) - {name} for name, path in MODULES.items()}


def test_every_room_has_its_place_in_the_order() -> None:
    for floor in ROOMS:
        rooms = ranks(floor)
        lost = {name for name in MODULES if name.startswith(f"{floor}.") and room_of(name, rooms) is None}
        assert lost <= {"models.training"}, "add the room to ORDER"


def test_no_room_imports_a_later_one() -> None:
    assert find_upward(GRAPH) == []


def test_no_circles() -> None:
    assert find_circle(GRAPH) == []


def test_the_order_and_the_circles_can_fail() -> None:
    known = {"dpsdata.masks.registry", "dpsdata.dataset.build"}
    text = "def late():\n    from dpsdata.dataset import build\n"
    broken = {"dpsdata.masks.registry": find_imports(text, known)}
    assert find_upward(broken) == ["dpsdata.masks.registry -> dpsdata.dataset.build"]
    assert find_circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c"]
    assert find_circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_folders_are_small_and_roots_are_almost_empty() -> None:
    counts = Counter(path.parent.relative_to(ROOT).as_posix() for path in FILES)
    for floor in ROOMS:
        assert counts[floor] <= 4, floor
    for folder, count in counts.items():
        assert count <= LARGER.get(folder, MAX_MODULES), folder


# One home for each fact: what is written in the house only once, as a pattern of its text.
HOMES = {
    r"94\.8, 120\.1": "eye centres of the CelebA-HQ frame",
    r"^RUN_FILE = ": "file of what a run says of itself",
    r"^NO_LEVEL = ": "folder of a method without a level",
    r"^CARD_FILE = ": "card of a training",
    r"os\.sched_getaffinity": "how many cores there are",
    r"cpu\.max": "quota of a container",
    r"def hash_ids\b": "hash of ids",
    r"^_?SCHEMA_VERSION = ": "version of JSON files",
    r"0\.25, ?0\.5, ?0\.75, ?1": "default levels",
    r"\.jpeg.*\.tiff?\b|^IMAGE_SUFFIXES = ": "names of images",
    r"def read_varint\b|& 0x7F": "varints",
    r"def default_weights\b": "default weights of a method",
    r"def serve_parent\b": "start-up of worker processes",
}


def count_homes(pattern: str, texts: Iterable[str]) -> int:
    return sum(bool(re.search(pattern, text, re.MULTILINE)) for text in texts)


@pytest.mark.parametrize("pattern", HOMES, ids=HOMES.values())
def test_each_fact_has_one_home(pattern: str) -> None:
    homes = [path for path in FILES if re.search(pattern, path.read_text(encoding="utf-8"), re.MULTILINE)]
    assert len(homes) == 1, homes


def test_a_second_home_is_found() -> None:
    assert count_homes(r"^RUN_FILE = ", ["RUN_FILE = 1\n", "x = 2\nRUN_FILE = 1\n", "from a import RUN_FILE\n"]) == 2


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_never_point_up(path: Path) -> None:
    relative = path.relative_to(ROOT).as_posix()
    room = relative.split("/")[0]
    allowed = ALLOWED[room] | {room} | ({"models"} if relative == BRIDGE else set())
    assert imported_rooms(path.read_text(encoding="utf-8")) <= allowed


def test_the_rule_can_fail() -> None:
    assert imported_rooms("def f():\n    from models.networks.editing_net import Refiner\n") == {"models"}


def test_no_file_is_too_long_or_a_drawer() -> None:
    for path in FILES:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES, path
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
