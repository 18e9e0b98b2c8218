"""What stops a build: another build, a full disk, a kill, Ctrl-C. Nothing that was made is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from dpsdata import BuildConfig, build_dataset
from dpsdata.contracts import EnvironmentFailure, UsageError
from dpsdata.dataset.journal import build_lock
from dpsdata.dataset.manifest import read_dataset
from dpsdata.dataset.verify import verify_dataset
from dpsdata.images.codec import read_photo


def test_two_builds_into_one_folder(config: BuildConfig) -> None:
    build_dataset(config)
    with build_lock(config.out), pytest.raises(EnvironmentFailure, match="another build"):
        build_dataset(config)


def test_refuses_a_folder_with_other_files(config: BuildConfig) -> None:
    config.out.mkdir()
    (config.out / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="files that no build made"):
        build_dataset(config)
    assert (config.out / "thesis.txt").read_text() == "mine"


def test_disk_full_is_one_sentence_and_nothing_is_lost(config: BuildConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    from dpsdata.dataset import stages

    written = 0
    real = stages.write_bytes_atomic

    def fill_up(path: Path, data: bytes) -> None:
        nonlocal written
        written += 1
        if written > 12:
            raise EnvironmentFailure(f"{path}: cannot write this file: the disk is full")
        real(path, data)

    monkeypatch.setattr(stages, "write_bytes_atomic", fill_up)
    with pytest.raises(EnvironmentFailure, match="disk is full"):
        build_dataset(config)
    monkeypatch.undo()
    result = build_dataset(config)
    assert result.count == 6
    assert result.reused_count == 1  # 7 files a sample: the first was complete
    assert verify_dataset(config.out).findings == ()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_target(config: BuildConfig, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(EnvironmentFailure, match="permission"):
            build_dataset(config)
    finally:
        tmp_path.chmod(0o700)


def test_kill_and_resume_gives_the_uninterrupted_bytes(config: BuildConfig, tmp_path: Path) -> None:
    """Three SIGKILLs at different times; `tests/benchmarks/kill_resume.py` does twenty."""
    whole = build_dataset(replace(config, out=tmp_path / "whole"))
    out = tmp_path / "killed"
    command = [sys.executable, "-c", "from dpsdata.cli import main; main()", "build", str(config.source), str(out)]
    command += ["--size", "64", "--edges", config.edges, "--workers", "1", "--levels", "0,0.5"]
    for seen in (1, 3, 5):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while len(list(out.glob("sketches/*.png"))) < seen and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
        for path in out.rglob("*.png"):
            if not path.name.startswith("."):
                read_photo(path)  # every file under a final name is whole
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert read_dataset(out)["root_hash"] == whole.root_hash
    assert verify_dataset(out).findings == ()


def test_ctrl_c_exits_130_and_the_next_run_goes_on(config: BuildConfig) -> None:
    command = [sys.executable, "-c", "from dpsdata.cli import main; main()", "build", str(config.source)]
    command += [str(config.out), "--size", "512", "--edges", config.edges, "--workers", "1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while not list(config.out.glob("sketches/*.png")) and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "run the same command again" in said
    assert "Traceback" not in said
    assert build_dataset(replace(config, size=512, levels=())).count == 6
