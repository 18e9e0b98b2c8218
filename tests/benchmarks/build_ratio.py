"""How fast `dpsdata build` of this tree is against another commit's: interleaved rounds, CPU seconds of the fastest.

git worktree add OLD COMMIT; python tests/benchmarks/build_ratio.py OLD PHOTOS [ROUNDS]

CPU time and not the clock, so that a machine with other work to do gives the same ratio.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

RUN = """
import sys
sys.path.insert(0, sys.argv[1])
from dpsdata.cli import app
try:
    from dpsdata.runtime.command_line import run_app
except ImportError:  # 0.1.0
    from dpsdata.command import run_app
sys.exit(run_app(app, sys.argv[2:]))
"""


def build_seconds(tree: Path, photos: Path) -> tuple[float, str]:
    """CPU seconds of one build with one worker, and the root hash."""
    with tempfile.TemporaryDirectory() as made:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        words = ["build", str(photos), f"{made}/out", "--size", "256", "--masks", "dps", "--workers", "1"]
        done = subprocess.run(
            [sys.executable, "-c", RUN, str(tree), *words],
            cwd=made,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(tree)},
            capture_output=True,
            text=True,
            check=True,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        shutil.rmtree(f"{made}/out")
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return spent, done.stdout.split("root hash ")[1].split()[0]


def main() -> None:
    old, photos = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 5
    trees = {"before": old, "now": Path(__file__).resolve().parents[2]}
    seconds: dict[str, list[float]] = {name: [] for name in trees}
    hashes = set()
    for number in range(rounds):
        for name in sorted(trees, reverse=number % 2 == 1):
            spent, root = build_seconds(trees[name], photos)
            seconds[name].append(spent)
            hashes.add(root)
            print(f"{name}: {spent:.2f} s of CPU, {root[:12]}", flush=True)
    before, now = (min(seconds[name]) for name in ("before", "now"))
    print(
        f"fastest {before:.2f} s before, {now:.2f} s now: speed {before / now:.3f} of before; {len(hashes)} root hash"
    )


if __name__ == "__main__":
    main()
