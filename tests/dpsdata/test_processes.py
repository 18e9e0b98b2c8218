"""How many cores there are for this process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dpsdata.runtime import processes


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Empty control groups and an affinity of eight cores."""
    monkeypatch.setattr(processes, "_CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(processes, "_OWN_CGROUPS", tmp_path / "own")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    (tmp_path / "cgroup").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("quota", "count"),
    [("150000 100000", 1), ("50000 100000", 1), ("300000 100000", 3), ("900000 100000", 8), ("max 100000", 8), ("", 8)],
)
def test_quota_of_a_container(groups: Path, quota: str, count: int) -> None:
    (groups / "cgroup" / "cpu.max").write_text(quota)
    assert processes.core_count() == count


def test_quota_of_a_group_above_counts_too(groups: Path) -> None:
    below = groups / "cgroup" / "user.slice" / "job"
    below.mkdir(parents=True)
    (groups / "own").write_text("0::/user.slice/job\n")
    (below / "cpu.max").write_text("max 100000\n")
    (below.parent / "cpu.max").write_text("400000 100000\n")
    assert processes.core_count() == 4
    (below / "cpu.max").write_text("200000 100000\n")
    assert processes.core_count() == 2


def test_quota_of_the_first_version(groups: Path) -> None:
    folder = groups / "cgroup" / "cpu" / "docker" / "abc"
    folder.mkdir(parents=True)
    (groups / "own").write_text("4:memory:/docker/other\n3:cpu,cpuacct:/docker/abc\n")
    (folder / "cpu.cfs_quota_us").write_text("500000\n")
    (folder / "cpu.cfs_period_us").write_text("100000\n")
    assert processes.core_count() == 5
    (folder / "cpu.cfs_quota_us").write_text("-1\n")
    assert processes.core_count() == 8


def test_without_control_groups_or_affinity(groups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert processes.core_count() == 8
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert processes.core_count() == 1
