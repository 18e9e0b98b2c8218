"""Two processes train together: killed and resumed, they give the weights of an uninterrupted run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
SHORT = ("--images-scale", "0.02", "--set", "validation_count=2")


def launch(data: Path, out: Path) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "models.cli"]
    words += ["train", "tiny", "--data", str(data), "--out", str(out), "--device", "cpu", *SHORT]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*words, "--checkpoint-seconds", "0"], env=environment, start_new_session=True, stdout=subprocess.DEVNULL
    )


def test_two_processes_are_killed_and_resumed(built: Path, tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    first = launch(built, killed)
    begun = time.monotonic()
    while not (killed / "state.pt").exists():
        assert first.poll() is None, "the first run ended by itself"
        assert time.monotonic() - begun < 240
        time.sleep(0.05)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    assert not (killed / "weights").exists()
    for out in (killed, whole):
        assert launch(built, out).wait(240) == 0
    names = sorted(path.name for path in (whole / "weights").glob("*.safetensors"))
    assert names
    for name in names:
        assert (killed / "weights" / name).read_bytes() == (whole / "weights" / name).read_bytes(), name
