"""A script may call the library at its top level, without a main guard."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
from functools import partial
from dpsdata.engines import Job, open_engine
print("began")
job = Job(prepare=partial(partial, pow, 2), is_ordered=True)
print(list(open_engine("local", 2).run(job, [1, 2, 3])))
"""


@pytest.mark.parametrize("way", ["a file", "standard input", "-c", "a file without a suffix"])
def test_workers_do_not_run_the_script_again(way: str, tmp_path: Path) -> None:
    script = tmp_path / ("script.py" if way == "a file" else "script")
    script.write_text(SCRIPT)
    words = {"standard input": ["-"], "-c": ["-c", SCRIPT]}.get(way, [str(script)])
    done = subprocess.run(
        [sys.executable, *words], input=SCRIPT, capture_output=True, text=True, timeout=240, check=False
    )
    assert (done.returncode, done.stdout.split("\n")[:2]) == (0, ["began", "[2, 4, 8]"]), done.stderr


def test_a_build_at_the_top_level_of_a_script(faces: Path, tiny_hed: Path, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        "from pathlib import Path\nfrom dpsdata import BuildConfig, build_dataset\n"
        f"config = BuildConfig(Path({str(faces)!r}), Path('built'), size=64, limit=2, workers=2, masks=('center',),\n"
        f"                     edges={str(tiny_hed)!r})\n"
        "print(build_dataset(config).count)\n"
    )
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr
