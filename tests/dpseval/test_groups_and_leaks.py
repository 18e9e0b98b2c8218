"""`--group-by`, `--train` and the cost table."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import dpseval
from dpsdata.contracts import MissingError, UsageError
from dpsdata.images.codec import read_photo, write_photo
from dpseval.report.page import draw_report
from dpseval.report.sections import cost_rows
from dpseval.scoring.config import ScoreConfig

samples = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("score_samples.py"))))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DPS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("dpseval.scoring.score.load_readers", samples.fake_readers(samples.FakeNetwork()))
    samples.make_built(tmp_path / "built")
    samples.make_outputs(tmp_path / "outputs", methods=("ours", "theirs"))
    return tmp_path


def run(place: Path, **options: object) -> dpseval.Scores:
    config = ScoreConfig(out=place / "report", masks="dps", use_cache=False, **options)  # type: ignore[arg-type]
    return dpseval.score(place / "outputs", place / "built", config)


def test_groups_have_every_metric_and_the_worst_comes_first(place: Path) -> None:
    (place / "groups.csv").write_text("id,glasses,age\na,yes,old\nb__c,yes,\nd,no,young\nelse,no,old\n")
    scores = run(place, group_by=place / "groups.csv")
    table = pd.read_csv(place / "report" / "groups.csv")
    assert set(table["column"]) == {"glasses", "age"}
    rows = table.query("column == 'glasses' and metric == 'l1' and region == 'hole' and method == 'ours'")
    assert rows["value"].is_monotonic_decreasing  # of L1, the largest is the worst
    images = scores.per_image.query("method == 'ours' and region == 'hole'").set_index("id")["l1"]
    by_group = rows.set_index("group")
    assert by_group.loc["yes", "value"] == pytest.approx(images[["a", "b__c"]].mean())
    assert by_group.loc["yes", "n"] == 2
    assert by_group.loc["(none)", "value"] == pytest.approx(images["e"])
    rows = table.query("column == 'age' and metric == 'psnr' and region == 'hole' and method == 'theirs'")
    assert rows["value"].is_monotonic_increasing
    page = (place / "report" / "index.html").read_text()
    assert "Each row lists the worst group first" in page
    assert set(table["metric"]) >= {"psnr", "ssim", "l1", "hedps", "edge_f_drawn", "psnr_pooled"}
    draw_report(place / "report")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,age\na,1\n", "column id"),
        ("id\na\n", "others"),
        ("id,age\na,1\na,2\n", "comes twice"),
        ("id,age\nx,1\n", "none of the scored photos"),
        ("id,age\n" + "".join(f"{n},{n}\n" for n in range(60)), "over 50 groups"),
    ],
)
def test_a_file_that_groups_nothing_is_refused(place: Path, text: str, message: str) -> None:
    (place / "groups.csv").write_text(text)
    with pytest.raises(UsageError, match=message):
        run(place, group_by=place / "groups.csv")
    assert not (place / "report").exists()
    with pytest.raises(MissingError, match="no such file"):
        run(place, group_by=place / "nothing.csv")


def test_near_copies_in_the_training_set_are_listed(place: Path) -> None:
    train = samples.make_built(place / "train", ids=("one", "two", "three"))
    face = np.kron(np.random.default_rng(9).integers(0, 256, (16, 16, 3)), np.ones((4, 4, 1))).astype(np.uint8)
    others = np.random.default_rng(10).integers(0, 256, (2, 16, 16, 3))
    truth = read_photo(place / "built/images/a.png")
    write_photo(place / "built/images/d.png", face)
    noisy = np.clip(truth.astype(int) + np.random.default_rng(0).integers(-2, 3, truth.shape), 0, 255).astype(np.uint8)
    write_photo(train / "images/one.png", noisy)
    write_photo(train / "images/two.png", np.ascontiguousarray(face[:, ::-1]))
    write_photo(train / "images/three.png", np.kron(others[0], np.ones((4, 4, 1))).astype(np.uint8))
    leaks = run(place, train=train).results["leaks"]
    found = {item["id"]: (item["train_id"], item["mirrored"]) for item in leaks["copies"]}
    assert found["d"] == ("two", True)
    assert found["a"] == ("one", False)
    assert leaks["copy_share"] == len(found) / 4
    assert leaks["person_count"] is None
    assert "near-copies among the" in (place / "report" / "index.html").read_text()
    with pytest.raises(MissingError):
        run(place, train=place / "nowhere")


@pytest.mark.parametrize("workers", [1, 2])
def test_scores_as_papers_compute_them_are_columns_of_their_own(place: Path, workers: int) -> None:
    before = run(place)
    scores = run(place, protocols=("zits", "lama", "mat"), workers=workers)
    whole = scores.per_image[scores.per_image["region"] == "full"]
    np.testing.assert_allclose(whole["ssim_as_mat"], whole["ssim"], rtol=1e-12)
    np.testing.assert_allclose(whole["psnr_as_zits"], whole["psnr"] + 1, atol=0.01)
    assert whole["ssim_as_lama"].notna().all()
    assert scores.per_image.loc[scores.per_image["region"] != "full", "ssim_as_lama"].isna().all()
    pd.testing.assert_frame_equal(scores.per_image[before.per_image.columns], before.per_image)
    assert "PSNR as ZITS" in (place / "report" / "index.html").read_text()


def test_without_these_options_the_results_are_as_before(place: Path) -> None:
    assert {"groups", "leaks"} & set(run(place).results) == set()
    assert not (place / "report" / "groups.csv").exists()


def cost_of_a_toy() -> dict[str, Any]:
    """What a convolution of 3 to 8 channels that also fills 40 MB costs."""
    import torch
    from torch import nn

    from dpsdata.dataset.torch_dataset import EditSample
    from models.methods.predictor import MethodProvenance, Painting
    from models.methods.registry import find_method
    from models.prediction.cost import measure_cost

    class Predictor:
        method = find_method("telea")
        device = torch.device("cpu")
        resolution = None
        provenance = MethodProvenance("bundled", {}, "", "", parameter_count=27 * 8 + 8)
        net = nn.Conv2d(3, 8, 3, padding=1)

        def predict(self, photo, sketch, mask, ids, level):  # type: ignore[no-untyped-def]
            with torch.inference_mode():
                self.net(photo)
            held = torch.ones(40 * 2**20 // 4)
            return Painting(photo * held[0])

    sample = EditSample(id="a", photo=torch.zeros(3, 64, 64), sketch=torch.zeros(1, 64, 64), mask=torch.ones(1, 64, 64))
    return measure_cost(Predictor(), sample)


def test_the_cost_of_a_method_is_counted() -> None:
    cost = cost_of_a_toy()
    assert cost["multiply_adds"] == 64 * 64 * 27 * 8
    assert cost["parameter_count"] == 224
    assert cost["seconds"] > 0
    # In a process of its own: one that has lived long takes memory that it freed before, and need not grow.
    code = f"import runpy; print(runpy.run_path({__file__!r})['cost_of_a_toy']()['peak_bytes'])"
    peak = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert peak == "None" or 20 * 2**20 < int(peak) < 400 * 2**20
    rows = cost_rows({"cost": {"net": cost, "foreign": {"seconds": 2.5}, "idle": {"seconds": None}}})
    assert rows[0][:3] == ("net", "0.000224 M", "0.000885 G")
    assert rows[1] == ("foreign", "–", "–", "–", "2.5", "whole folder, files included")
    assert rows[2][4] == "–"
