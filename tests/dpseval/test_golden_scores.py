"""Scores of fixed outputs, as 0.1.0 (commit 3e2235a) wrote them into `scores.json`."""

from __future__ import annotations

import hashlib
import json
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import dpseval
from dpseval import ScoreConfig

samples = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("score_samples.py"))))
HASHES = {
    "photos_sha256": "a29aaa1869edd64fb502115ddfac95bc0004dc345d0eebc0255c7e6e1708f79a",
    "masks_sha256": "17f19f6870c646cfded62a69b7589b340f47410064b1528b288438a80040472c",
    "sketches_sha256": "3a85261c52bc0a609e96276f13357e20bde64e8adc2065bff2117c6bfe02b322",
}
# The values of a metric added up over sets, regions and bins, and how many there are.
TOTALS = {
    "psnr": (1475.86072, 36),
    "psnr_pooled": (1475.81946, 36),
    "ssim": (13.5264569, 36),
    "l1": (4.68476631, 36),
    "hedps": (18.4573623, 36),
    "known_drift": (0, 12),
    "fd_hed": (36.4713542, 4),
    "kd_hed": (2.02837426, 4),
    "edge_f_drawn": (1.52982028, 12),
    "chamfer_px": (93.2003071, 12),
    "edge_density": (1.22812379, 12),
}


def score_fixture(folder: Path) -> dict[str, Any]:
    built = samples.make_built(folder / "built")
    outputs = samples.make_outputs(folder / "out", methods=("one",), levels=("l0", "l0.5", "l1"))
    samples.make_outputs(outputs, methods=("two",), levels=("none",))
    config = ScoreConfig(masks="dps", out=folder / "report", cache=folder / "cache", device="cpu", seed=3)
    dpseval.score(outputs, built, config)
    found: dict[str, Any] = json.loads((folder / "report" / "scores.json").read_text())
    return found


def add_up(scores: dict[str, Any]) -> dict[str, tuple[float, int]]:
    totals: dict[str, tuple[float, int]] = {}
    for row in scores["scores"]:
        total, count = totals.get(row["metric"], (0.0, 0))
        totals[row["metric"]] = (total + (row["value"] or 0.0), count + 1)
    return totals


def test_scores_are_those_of_0_1_0(tmp_path: Path) -> None:
    scores = score_fixture(tmp_path)
    assert {name: scores[name] for name in HASHES} == HASHES
    # The one field that changed: one hash of ids for datasets and scores, a line feed after each.
    assert scores["ids_sha256"] == hashlib.sha256("".join(f"{name}\n" for name in samples.IDS).encode()).hexdigest()
    totals = add_up(scores)
    for metric, (total, count) in TOTALS.items():
        found, values = totals[metric]
        assert values == count, metric
        assert found == pytest.approx(total, rel=1e-5), metric
