"""HED in batches, as on a GPU, on the CPU of the tests: no byte depends on who shared a batch."""

from __future__ import annotations

import runpy
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dpsdata import BuildConfig, build_dataset
from dpsdata.dataset import stages
from dpsdata.dataset.manifest import read_dataset, read_manifest
from dpsdata.dataset.verify import verify_dataset
from dpsdata.images.codec import read_edges


@pytest.fixture
def batched(config: BuildConfig, monkeypatch: pytest.MonkeyPatch) -> BuildConfig:
    monkeypatch.setattr(stages, "batch_size", lambda device: 4)
    return config


def test_no_byte_depends_on_who_shared_a_batch(batched: BuildConfig, tmp_path: Path) -> None:
    whole = build_dataset(batched)
    assert whole.count == 6
    assert read_dataset(batched.out)["stages"][1]["options"]["batch"] == 4
    rows = {row.id: row for row in read_manifest(batched.out)}
    few = tmp_path / "few"
    few.mkdir()
    for name in ("face_0002", "face_0005"):
        shutil.copy(batched.source / f"{name}.png", few)
    build_dataset(replace(batched, source=few, out=tmp_path / "part"))
    for row in read_manifest(tmp_path / "part"):
        assert (row.edges_sha256, row.sketch_sha256) == (rows[row.id].edges_sha256, rows[row.id].sketch_sha256)


def test_files_and_shards_have_one_root_hash(batched: BuildConfig, tmp_path: Path) -> None:
    files = build_dataset(batched)
    sharded = replace(batched, out=tmp_path / "sharded", format="webdataset", shard_size=3)
    assert build_dataset(sharded).root_hash == files.root_hash
    assert build_dataset(replace(batched, out=tmp_path / "two", workers=2)).root_hash == files.root_hash
    assert verify_dataset(batched.out).findings == verify_dataset(sharded.out).findings == ()
    assert build_dataset(batched).reused_count == build_dataset(sharded).reused_count == 6


def test_batches_change_edges_by_rounding_alone(
    config: BuildConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_dataset(config)
    monkeypatch.setattr(stages, "batch_size", lambda device: 4)
    build_dataset(replace(config, out=tmp_path / "batched"))
    for row in read_manifest(config.out):
        one, other = (
            read_edges(out / "edges" / f"{row.id}.png").astype(int) for out in (config.out, tmp_path / "batched")
        )
        assert np.abs(one - other).max() <= 2


def test_broken_photos_share_a_batch_too(batched: BuildConfig, tmp_path: Path) -> None:
    source = tmp_path / "faces"
    shutil.copytree(batched.source, source)
    (source / "face_0001.png").write_bytes(b"no image")
    for form in ("files", "webdataset"):
        result = build_dataset(replace(batched, source=source, out=tmp_path / form, format=form))
        assert (result.count, [path for path, _ in result.errors]) == (5, ["face_0001.png"])
        assert verify_dataset(tmp_path / form).findings == ()


def test_benchmark_of_a_gpu_runs_on_a_cpu(tiny_hed: Path) -> None:
    script = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "build_gpu.py"))
    found = script["measure"]("cpu", 5, 64, "fp32", str(tiny_hed), 1)
    assert (found["photos"], found["batch"]) == (5, 1)
    assert found["hed_images_a_second"] > 0 < found["build_images_a_second"]
