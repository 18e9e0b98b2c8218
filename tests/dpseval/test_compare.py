from __future__ import annotations

import json
import runpy
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import dpseval
from dpsdata.contracts import MissingError, UsageError
from dpsdata.images.codec import write_photo
from dpsdata.runtime.command_line import run_app
from dpseval import ScoreConfig, compare_reports
from dpseval.cli import app

samples = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("score_samples.py"))))
IDS = tuple("abcdefghij")
PREPARED = ("size", "ids_sha256", "photos_sha256", "masks_sha256", "sketches_sha256", "composite", "prep")


def write_outputs(folder: Path, method: str, off: int) -> None:
    """Every value of the hole lies `off` levels from the truth, and one more for odd photos."""
    (folder / method / "none").mkdir(parents=True)
    for index, name in enumerate(IDS):
        truth, hole = samples.make_truth(index).astype(int), samples.make_mask_pixels(index)[..., None] == 1
        step = off + index % 2
        moved = np.where(truth > 127, truth - step, truth + step)
        write_photo(folder / method / "none" / f"{name}.png", np.where(hole, moved, truth).astype(np.uint8))


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reports of the method `m`: A is 10 levels off, B is 6."""
    root = tmp_path_factory.mktemp("compare")
    built = samples.make_built(root / "built", IDS)
    patch = pytest.MonkeyPatch()
    patch.setattr("dpseval.scoring.score.load_readers", samples.fake_readers(samples.FakeNetwork()))
    for name, method, off in (("A", "m", 10), ("B", "m", 6), ("C", "other", 6)):
        write_outputs(root / f"out{name}", method, off)
        config = ScoreConfig(out=root / name, masks="dps", device="cpu", use_cache=False)
        dpseval.score(root / f"out{name}", built, config)
    patch.undo()
    return root


def test_deltas_are_paired_and_signed(reports: Path) -> None:
    found = compare_reports(reports / "A/scores.json", reports / "B")
    table = found.table().set_index(["region", "metric"])
    row = table.loc["hole", "l1"]
    assert row["n"] == 10
    assert row["a"] == pytest.approx(10.5 / 255, abs=1e-12)
    assert row["b"] == pytest.approx(6.5 / 255, abs=1e-12)
    # The same 4 levels in every photo: the interval of the difference has no width.
    assert row["delta"] == pytest.approx(-4 / 255, abs=1e-12)
    assert row["ci_low"] == pytest.approx(-4 / 255, abs=1e-9)
    assert row["ci_high"] == pytest.approx(-4 / 255, abs=1e-9)
    assert row["verdict"] == "better"
    psnr = table.loc["hole", "psnr"]
    assert psnr["delta"] > 0
    assert psnr["verdict"] == "better"
    assert psnr["ci_low"] < psnr["delta"] < psnr["ci_high"]
    whole = table.loc["full", "fd_hed"]
    assert whole["delta"] == pytest.approx(whole["b"] - whole["a"])
    assert np.isnan(whole["ci_low"])
    assert whole["verdict"] == ""
    assert "fid" not in table.index.get_level_values("metric")


def test_a_verdict_needs_the_test_too(reports: Path, tmp_path: Path) -> None:
    """Five photos cannot make Wilcoxon's p smaller than 2 / 2**5, however clear the interval is."""
    for name in ("A", "B"):
        shutil.copytree(reports / name, tmp_path / name)
        lines = (tmp_path / name / "per_image.csv").read_text().splitlines(keepends=True)
        kept = [line for line in lines[1:] if line.split(",")[0] in "abcde"]
        (tmp_path / name / "per_image.csv").write_text("".join([lines[0], *kept]))
    row = compare_reports(tmp_path / "A", tmp_path / "B").table().set_index(["region", "metric"]).loc["hole", "psnr"]
    assert row["n"] == 5
    assert row["ci_low"] > 0
    assert row["p_holm"] == pytest.approx(2 / 2**5)
    assert row["verdict"] == "unclear"


def test_a_report_against_itself_is_the_same(reports: Path) -> None:
    found = compare_reports(reports / "A", reports / "A", {"psnr": 0.0, "hedps": 0.0, "fd_hed": 0.0})
    assert found.outside == ()
    assert set(found.table()["verdict"]) <= {"same", ""}
    assert (found.table()["delta"] == 0).all()


@pytest.mark.parametrize("field", PREPARED)
def test_other_measurements_are_refused_by_name(field: str, reports: Path, tmp_path: Path) -> None:
    shutil.copytree(reports / "B", tmp_path / "B")
    results = json.loads((tmp_path / "B/scores.json").read_text())
    results[field] = "f" * 64
    (tmp_path / "B/scores.json").write_text(json.dumps(results))
    with pytest.raises(UsageError, match=rf"differ in .*\({field}\)"):
        compare_reports(reports / "A", tmp_path / "B")
    assert run_app(app, ["compare", str(reports / "A/scores.json"), str(tmp_path / "B/scores.json")]) == 2


def test_other_weights_are_refused_and_absent_ones_are_skipped(reports: Path, tmp_path: Path) -> None:
    shutil.copytree(reports / "B", tmp_path / "B")
    path = tmp_path / "B/scores.json"
    results = json.loads(path.read_text())
    path.write_text(json.dumps({**results, "weights": {**results["weights"], "hedps": "e" * 64}}))
    with pytest.raises(UsageError, match=r"differ in weights \(hedps\)"):
        compare_reports(reports / "A", tmp_path / "B")
    fewer = {name: value for name, value in results["weights"].items() if name != "hedps"}
    path.write_text(json.dumps({**results, "weights": fewer}))
    found = compare_reports(reports / "A", tmp_path / "B")
    assert "hedps" not in set(found.table()["metric"])
    assert found.notes == (f"hedps is not compared: {path} has none",)


def test_really_other_masks_and_photos_are_refused(reports: Path, tmp_path: Path) -> None:
    patch = pytest.MonkeyPatch()
    patch.setattr("dpseval.scoring.score.load_readers", samples.fake_readers(samples.FakeNetwork()))
    base = {"device": "cpu", "use_cache": False, "out": tmp_path / "X"}
    dpseval.score(reports / "outB", reports / "built", ScoreConfig(**base, masks="center", allow=("inverted-mask",)))
    with pytest.raises(UsageError, match="differ in masks"):
        compare_reports(reports / "A", tmp_path / "X")
    shutil.copytree(reports / "outB", tmp_path / "fewer")
    (tmp_path / "fewer/m/none/a.png").unlink()
    dpseval.score(tmp_path / "fewer", reports / "built", ScoreConfig(**base, masks="dps", allow=("missing",)))
    with pytest.raises(UsageError, match="differ in ids"):
        compare_reports(reports / "A", tmp_path / "X")
    patch.undo()


def test_tolerances_and_exit_codes(reports: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["compare", str(reports / "A/scores.json"), str(reports / "B/scores.json")]
    assert run_app(app, words) == 0
    assert "psnr" in capsys.readouterr().out
    assert run_app(app, [*words, "--tolerance", "l1=0.02"]) == 0
    assert run_app(app, [*words, "--tolerance", "l1=0.015"]) == 4  # the hole moved by 4 / 255 = 0.0157
    assert "l1 (hole, m)" in capsys.readouterr().err
    assert run_app(app, [*words, "--tolerance", "fid=1"]) == 2
    assert run_app(app, [*words, "--tolerance", "beauty=1"]) == 2
    assert run_app(app, [*words, "--tolerance", "l1"]) == 2
    assert run_app(app, [*words, "--region", "middle"]) == 2
    assert run_app(app, [*words[:2], str(reports / "nothing.json")]) == 5
    assert run_app(app, [*words, "--region", "hole", "--csv"]) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[0].startswith("first,second,region,metric,n,a,b,delta")
    assert all(",hole," in line for line in lines[1:])


def test_sets_can_be_named(reports: Path, tmp_path: Path) -> None:
    only = compare_reports(reports / "A", reports / "C").table()
    assert set(only["second"]) == {"other"}
    named = compare_reports(reports / "A", reports / "C", pairs=[("m", "other")]).table()
    assert named.equals(only)
    with pytest.raises(UsageError, match="holds other, got 'x'"):
        compare_reports(reports / "A", reports / "C", pairs=[("m", "x")])


def test_damaged_files(reports: Path, tmp_path: Path) -> None:
    shutil.copytree(reports / "B", tmp_path / "B")
    (tmp_path / "B/per_image.csv").unlink()
    with pytest.raises(MissingError, match=r"per_image\.csv"):
        compare_reports(reports / "A", tmp_path / "B")
    (tmp_path / "B/scores.json").write_text("{}")
    with pytest.raises(MissingError, match="has no 'size'"):
        compare_reports(reports / "A", tmp_path / "B")
