"""A script may call the library at its top level, without a main guard."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
from functools import partial
from dpsdata.engines import Job, open_engine
print("began")
job = Job(prepare=partial(partial, pow, 2), is_ordered=True)
print(list(open_engine("local", 2).run(job, [1, 2, 3])))
"""


def test_workers_do_not_run_the_script_again(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, tmp_path / "script.py"], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout.split("\n")[:2]) == (0, ["began", "[2, 4, 8]"]), done.stderr
