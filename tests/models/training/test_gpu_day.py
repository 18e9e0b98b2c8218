"""The prepared run for a GPU, from packing to its files, on a CPU."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

from dpsdata.dataset import BuildConfig, build_dataset
from dpsdata.samples import write_sample_faces

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu_day.py"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


def test_photos_are_packed_and_trained_on(script: dict[str, Any], tmp_path: Path) -> None:
    write_sample_faces(tmp_path / "faces" / "train", 4, 0)
    write_sample_faces(tmp_path / "faces" / "val", 2, 1)
    (tmp_path / "faces" / "train" / "face_0001.jpg").rename(tmp_path / "faces" / "train" / "x__syn-1.jpg")
    build_dataset(BuildConfig(source=tmp_path / "faces", out=tmp_path / "built", size=64, masks=("dps",), workers=1))
    counts = script["pack"](tmp_path / "built", tmp_path / "pack", ("*__x__syn-*", "*_0004"), 1.0)
    assert counts == {"val": 2, "train": 4}
    few = script["pack"](tmp_path / "built", tmp_path / "few", ("*_0004",), 2.5 * 2**-10)
    kept = {each.stem for each in (tmp_path / "few" / "train").iterdir()}
    assert few["train"] == len(kept) < 4
    assert "train__face_0004" in kept, "it was asked for first"

    script["main"].__globals__["PROBES"] = (1, 2)
    out = tmp_path / "out"
    options = "--seconds 5 --device cpu --batch 2 --size 64"
    command = ["run", str(tmp_path / "pack"), str(out), *options.split()]
    script["main"](command)
    names = {each.name for each in out.iterdir()}
    assert {"F64.safetensors", "G64.safetensors", "bundled.json", "training.json", "stats.jsonl"} < names
    assert all(each.stat().st_size < 16 * 2**20 for each in out.iterdir())
    assert "2" in {line.split('"images": ')[1][0] for line in (out / "stats.jsonl").read_text().splitlines()}
