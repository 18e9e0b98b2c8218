"""The metric classes give what `score` writes, and halves of the data on two processes give the whole."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.distributed as dist

import dpseval.metrics as metrics
from dpsdata.contracts import UsageError
from dpsdata.weights.known.lpips_backbones import trunk_shapes
from dpseval.metrics.lpips import Lpips
from dpseval.scoring.config import ScoreConfig
from dpseval.scoring.score import score

samples = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("score_samples.py"))))
COUNT = len(samples.IDS)


def make_tensors() -> tuple[torch.Tensor, ...]:
    def photo(pixels: list[np.ndarray]) -> torch.Tensor:
        return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1

    sketch = np.zeros((COUNT, 1, samples.SIZE, samples.SIZE), np.float32)
    for index in range(COUNT):
        sketch[index, 0, 16 + index % 8, 10:60] = 1
    mask = np.stack([samples.make_mask_pixels(index) for index in range(COUNT)])[:, None].astype(np.float32)
    made = photo([samples.make_output(index, 1) for index in range(COUNT)])
    return made, photo([samples.make_truth(i) for i in range(COUNT)]), torch.from_numpy(mask), torch.from_numpy(sketch)


def make_metrics() -> dict[str, object]:
    names = ("RegionPSNR", "RegionSSIM", "HedPS", "SketchFaithfulness", "FrechetDistance")
    found = {name: getattr(metrics, name)() for name in names}
    # Of a backbone with drawn weights: the published ones are a download.
    return {**found, "RegionLPIPS": metrics.RegionLPIPS(network=Lpips("squeeze", draw_backbone()))}


def draw_backbone() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = trunk_shapes("squeeze").items()
    return {key: torch.randn(shape, generator=generator) / max(1, np.prod(shape[1:])) ** 0.5 for key, shape in shapes}


def values_of(metric: object) -> dict[str, float]:
    found = metric.compute()
    return {key: float(value) for key, value in (found if isinstance(found, dict) else {"": found}).items()}


def test_they_give_what_score_writes(tmp_path: Path) -> None:
    built = samples.make_built(tmp_path / "built")
    outputs = samples.make_outputs(tmp_path / "out")
    config = ScoreConfig(device="cpu", masks="dps", use_cache=False)
    table = score(outputs, built, config).summary.query("bin == 'all'").set_index(["metric", "region"])["value"]
    found = {}
    for name, metric in make_metrics().items():
        for start in range(0, COUNT, 3):  # parts of unequal size
            metric.update(*(value[start : start + 3] for value in make_tensors()))
        found[name] = values_of(metric)
    for name, column in (("RegionPSNR", "psnr"), ("RegionSSIM", "ssim"), ("HedPS", "hedps")):
        for region in ("full", "hole"):
            assert found[name][region] == pytest.approx(table[column, region], rel=1e-9)
    for name, column in (("edge_f", "edge_f_drawn"), ("chamfer_px", "chamfer_px"), ("edge_density", "edge_density")):
        assert found["SketchFaithfulness"][name] == pytest.approx(table[column, "hole"], rel=1e-9)
    assert found["FrechetDistance"][""] == pytest.approx(table["fd_hed", "full"], rel=1e-6)


def test_reset_begins_anew_and_wrong_input_is_named() -> None:
    made, truth, mask, _ = make_tensors()
    metric = metrics.RegionPSNR()
    metric.update(made, truth, mask)
    metric.reset()
    metric.update(made[:1], truth[:1], mask[:1])
    again = metrics.RegionPSNR()
    again.update(made[:1], truth[:1], mask[:1])
    assert values_of(metric) == values_of(again)
    with pytest.raises(UsageError, match="needs a sketch"):
        metrics.SketchFaithfulness().update(made, truth, mask)
    with pytest.raises(UsageError, match="expected the shape"):
        metric.update(made, truth[:1])


def _half(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    found = {}
    for name, metric in make_metrics().items():
        metric.update(*(value[rank::2] for value in make_tensors()))
        found[name] = values_of(metric)
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_with_half_of_the_data_each_give_what_one_gives(tmp_path: Path) -> None:
    halves = [subprocess.Popen([sys.executable, __file__, str(rank), str(tmp_path)]) for rank in range(2)]
    assert [half.wait(500) for half in halves] == [0, 0]
    for name, metric in make_metrics().items():
        metric.update(*make_tensors())
        for rank in range(2):
            found = torch.load(tmp_path / f"{rank}.pt")[name]
            assert found == pytest.approx(values_of(metric), rel=1e-6, nan_ok=True)


if __name__ == "__main__":
    _half(int(sys.argv[1]), sys.argv[2])
