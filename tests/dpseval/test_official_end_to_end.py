"""Both official checkpoints at full size, by formula weights: imported, predicted and scored."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from dpsdata import weights
from dpseval.scoring.config import ScoreConfig
from dpseval.sweep import SweepConfig, run_sweep
from models.baselines import DeepFillv2, ScFegan
from models.baselines.tensorflow.names import tf_tensors

TESTS = Path(__file__).resolve().parents[1]
samples = SimpleNamespace(**runpy.run_path(str(TESTS / "models/method_samples.py")))
bundles = SimpleNamespace(**runpy.run_path(str(TESTS / "parity/write_bundle.py")))


def formula_weights(build: type[nn.Module]) -> dict[str, np.ndarray]:
    """Every official variable, scaled so that photos are neither flat nor saturated."""
    with torch.device("meta"):
        entries = tf_tensors(build()).values()
    arrays = {}
    for index, entry in enumerate(entries):
        # A sine is quick for 93 million numbers, and gives the same ones everywhere.
        ramp = np.arange(int(np.prod(entry.shape)), dtype=np.float32)
        scale = (3 / np.prod(entry.shape[:-1])) ** 0.5 if len(entry.shape) == 4 else 0.05
        arrays[entry.name] = (np.sin(ramp * 12.9898 + index) * scale).astype(np.float32).reshape(entry.shape)
    return arrays


@pytest.mark.slow
def test_official_bundles_are_imported_predicted_and_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DPS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("models.methods.weights.has_bundled_baseline", lambda stem: False)
    for prefix, build in (
        (tmp_path / "release_celeba_hq_256_deepfill_v2/snap-0", DeepFillv2),
        (tmp_path / "SC-FEGAN/SC-FEGAN.ckpt", ScFegan),
    ):
        bundles.write_bundle(prefix, formula_weights(build))
        assert len(weights.import_weights(prefix).installed) == 1
        for path in prefix.parent.iterdir():
            path.unlink()
    config = SweepConfig(
        built=samples.make_built(tmp_path / "built", 64, samples.IDS[:2]),
        report=tmp_path / "report",
        methods=("deepfillv2", "deepfillv2-guided", "scfegan"),
        masks="dps",
        levels=(0.0,),
        batch_size=1,
        score=ScoreConfig(device="cpu", use_cache=False),
    )
    lines: list[str] = []
    done = run_sweep(config, lines.append)
    # Said before the first photo is predicted, that is before the line that counts them.
    for title in ("DeepFillv2", "SC-FEGAN"):
        said = next(index for index, line in enumerate(lines) if line.startswith(f"{title}: official weights"))
        assert "CC BY-NC 4.0" in lines[said]
        assert "2 photos predicted" in lines[said + 1]
    assert set(done.missing) == {"deepfillv2-guided"}
    methods = json.loads((config.report / "scores.json").read_text())["methods"]
    assert methods["scfegan"]["parameter_count"] == 92_886_100
    assert methods["deepfillv2"]["parameter_count"] == 4_052_478
    assert methods["scfegan"]["network_px"] == 512
    table = pd.read_csv(config.report / "scores.csv")
    psnr = table[(table["metric"] == "psnr") & (table["region"] == "hole") & (table["bin"] == "all")]
    values = dict(zip(psnr["method"], psnr["value"], strict=True))
    assert 0 < values["deepfillv2"] < 40
    assert 0 < values["scfegan"] < 40
