from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import dpseval
from dpsdata.contracts import MissingError, UsageError
from dpsdata.images.codec import write_photo
from dpsdata.runtime.command_line import run_app
from dpseval import ScoreConfig
from dpseval.cli import app
from dpseval.report.stored import read_report

samples = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("score_samples.py"))))
LEVELS = ("l0", "l0.25", "l0.5", "l0.75", "l1")
METHODS = ("one", "three", "two")
REPORT_FILES = {"per_image.csv", "scores.csv", "scores.json", "run.json", "table.md", "table.tex", "index.html"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return samples.make_built(tmp_path_factory.mktemp("data") / "built")


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """Two methods over five levels, one of which ignores the level, and one without a level."""
    folder = samples.make_outputs(tmp_path / "out", methods=("one",), levels=LEVELS)
    for level in LEVELS:
        (folder / "two" / level).mkdir(parents=True)
        for name in samples.IDS:
            (folder / f"two/{level}/{name}.png").write_bytes((folder / f"one/l1/{name}.png").read_bytes())
    (folder / "three/none").mkdir(parents=True)
    for index, name in enumerate(samples.IDS):
        write_photo(folder / f"three/none/{name}.png", samples.make_output(index, 99))
    return folder


@pytest.fixture
def networks(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The scorer and LPIPS as networks that count, and an Inception of a few pixels."""
    found = SimpleNamespace(scorer=samples.FakeNetwork(), lpips=samples.FakeNetwork("lpips_alex", "2" * 64, False))
    load = samples.fake_readers(found.scorer, (found.lpips,), counting_inception=True)
    monkeypatch.setattr("dpseval.scoring.score.load_readers", load)
    return found


def config(tmp_path: Path, **options: object) -> ScoreConfig:
    return ScoreConfig(**{"masks": "dps", "cache": tmp_path / "cache", "device": "cpu", **options})


def test_each_distinct_picture_is_forwarded_once_ever(
    built: Path, outputs: Path, tmp_path: Path, networks: SimpleNamespace
) -> None:
    count = len(samples.IDS)
    distinct = 6 * count + count  # five levels of `one`, the only picture of `three`, and the photos; `two` repeats
    first = dpseval.score(outputs, built, config(tmp_path, out=tmp_path / "first"))
    assert first.run["forwards"] == {"hedps": distinct, "lpips_alex": distinct, "inception-fid": distinct}
    assert len(set(networks.scorer.seen)) == len(networks.scorer.seen) == distinct
    assert (first.run["distinct_composites"], first.run["distinct_truths"]) == (6 * count, count)
    # Equal files of one photo are decoded once: photo, mask, sketch and six outputs.
    assert first.run["decoded_files"] == count * 9
    again = dpseval.score(outputs, built, config(tmp_path, out=tmp_path / "again"))
    assert set(again.run["forwards"].values()) == {0}
    for name in ("scores.json", "scores.csv", "per_image.csv", "table.md", "table.tex"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "first" / name).read_bytes()
    write_photo(outputs / "one/l0.5/d.png", samples.make_output(2, 1234))
    changed = dpseval.score(outputs, built, config(tmp_path))
    assert changed.run["forwards"] == {"hedps": 1, "lpips_alex": 1, "inception-fid": 1}
    fresh = dpseval.score(outputs, built, config(tmp_path, use_cache=False))
    assert set(fresh.run["forwards"].values()) == {distinct}
    assert fresh.results == changed.results


def test_workers_and_batches_change_nothing(
    built: Path, outputs: Path, tmp_path: Path, networks: SimpleNamespace
) -> None:
    alone = dpseval.score(outputs, built, config(tmp_path, use_cache=False))
    pooled = dpseval.score(outputs, built, config(tmp_path, use_cache=False, workers=2, batch_size=4))
    assert pooled.results == alone.results
    pd.testing.assert_frame_equal(pooled.per_image, alone.per_image)


def test_a_method_that_fills_with_one_colour_is_forwarded_once(
    built: Path, tmp_path: Path, networks: SimpleNamespace
) -> None:
    outputs = tmp_path / "out"
    (outputs / "flat/none").mkdir(parents=True)
    (outputs / "truth/none").mkdir(parents=True)
    for index, name in enumerate(samples.IDS):
        write_photo(outputs / f"flat/none/{name}.png", np.full((samples.SIZE, samples.SIZE, 3), 90, np.uint8))
        write_photo(outputs / f"truth/none/{name}.png", samples.make_truth(index))
    scores = dpseval.score(outputs, built, config(tmp_path, masks="full", use_cache=False))
    assert set(scores.run["forwards"].values()) == {len(samples.IDS) + 1}
    perfect = scores.per_image[scores.per_image["method"] == "truth"].query("region == 'full'")
    assert (perfect["hedps"] == 0).all()
    assert np.isposinf(perfect["psnr"]).all()
    distances = scores.summary.query("method == 'truth' and metric in ('fd_hed', 'fid')")["value"]
    assert (distances.abs() < 1e-6).all()


def test_a_damaged_cache_entry_is_noticed(
    built: Path, outputs: Path, tmp_path: Path, networks: SimpleNamespace
) -> None:
    first = dpseval.score(outputs, built, config(tmp_path))
    entries = sorted((tmp_path / "cache/values").rglob("*.features"))
    data = bytearray(entries[0].read_bytes())
    data[-1] ^= 1
    entries[0].write_bytes(data)
    again = dpseval.score(outputs, built, config(tmp_path))
    assert again.results == first.results
    assert again.run["caches"]["values"]["corrupt"] == 1
    assert any("1 damaged entries" in note for note in again.run["warnings"])
    assert sum(again.run["forwards"].values()) <= 1 + 1


@pytest.mark.parametrize("part", ["prep", "weights"])
def test_other_preprocessing_or_weights_miss_the_cache(
    part: str, built: Path, outputs: Path, tmp_path: Path, networks: SimpleNamespace
) -> None:
    dpseval.score(outputs, built, config(tmp_path))
    if part == "prep":
        again = dpseval.score(outputs, built, config(tmp_path, prep="clean"))
        assert {name for name, count in again.run["forwards"].items() if count} == {"inception-fid"}
    else:
        networks.scorer.weights_id = "9" * 64
        again = dpseval.score(outputs, built, config(tmp_path))
        assert {name for name, count in again.run["forwards"].items() if count} == {"hedps"}


def test_the_report_and_its_columns(built: Path, outputs: Path, tmp_path: Path, networks: SimpleNamespace) -> None:
    report = tmp_path / "report"
    before = samples.list_files(outputs), samples.list_files(built)
    scores = dpseval.score(outputs, built, config(tmp_path, out=report))
    assert (samples.list_files(outputs), samples.list_files(built)) == before
    assert {path.name for path in report.iterdir()} == REPORT_FILES | {"gallery"}
    table = read_report(report).per_image
    assert list(table)[:14] == [
        "id", "method", "level", "region", "hole_ratio", "psnr", "ssim", "l1", "lpips_alex", "hedps", "known_drift",
        "edge_f_drawn", "edge_f_refined", "chamfer_px",
    ]  # fmt: skip
    assert len(table) == 11 * len(samples.IDS) * 3
    assert table["level"].isna().sum() == len(samples.IDS) * 3
    numbers = [name for name in table if name not in ("id", "method", "region")]
    assert (table[numbers].to_numpy() == scores.per_image[numbers].to_numpy())[~table[numbers].isna().to_numpy()].all()
    summary = read_report(report).scores
    whole = summary[summary["bin"] == "all"]
    one = table.query("method == 'one' and level == 0.25 and region == 'hole'")
    value = whole.query("method == 'one' and level == 0.25 and region == 'hole' and metric == 'psnr'")["value"]
    assert abs(value.item() - one["psnr"].mean()) < 1e-9
    results = json.loads((report / "scores.json").read_text())
    assert results["count"] == len(samples.IDS)
    assert str(tmp_path) not in json.dumps(results)
    run = json.loads((report / "run.json").read_text())
    assert run["caches"]["truth_maps"]["limit_bytes"] > 0
    gallery = json.loads((report / "gallery/gallery.json").read_text())
    assert [item["reason"] for item in gallery].count("sample") == len(samples.IDS)
    labels = [panel["label"] for panel in gallery[0]["panels"]]
    assert labels[:3] == ["input", "sketch", "mask"]
    assert labels[3:5] == ["one 0", "one 0.25"]
    assert labels[-2] == "truth"
    assert labels[-1].startswith("error ")


def test_the_mean_of_known_numbers(built: Path, tmp_path: Path, networks: SimpleNamespace) -> None:
    """Every value of the hole is 10 levels off: L1 is 10 / 255, PSNR 20 log10(25.5)."""
    outputs = tmp_path / "out"
    (outputs / "off/none").mkdir(parents=True)
    for index, name in enumerate(samples.IDS):
        truth, hole = samples.make_truth(index).astype(int), samples.make_mask_pixels(index)[..., None] == 1
        moved = np.where(truth > 127, truth - 10, truth + 10)
        write_photo(outputs / f"off/none/{name}.png", np.where(hole, moved, truth).astype(np.uint8))
    scores = dpseval.score(outputs, built, config(tmp_path))
    hole = scores.summary.query("region == 'hole' and bin == 'all'").set_index("metric")["value"]
    assert hole["l1"] == pytest.approx(10 / 255, abs=1e-12)
    assert hole["psnr"] == pytest.approx(28.130803608679102, abs=1e-9)
    assert hole["psnr_pooled"] == pytest.approx(28.130803608679102, abs=1e-9)
    full = scores.summary.query("region == 'full' and bin == 'all'").set_index("metric")["value"]
    assert full["known_drift"] == 0


def test_refined_sketches_are_scored(built: Path, tmp_path: Path, networks: SimpleNamespace) -> None:
    outputs = samples.make_outputs(tmp_path / "out", levels=("l0",))
    (outputs / "ours/l0/refined").mkdir()
    for name in samples.IDS:
        (outputs / f"ours/l0/refined/{name}.png").write_bytes((built / f"sketches/{name}.png").read_bytes())
    table = dpseval.score(outputs, built, config(tmp_path)).per_image.query("region == 'hole'")
    assert (table["edge_f_refined"] == table["edge_f_drawn"]).all()
    assert table["edge_f_drawn"].between(0, 1).all()


def test_missing_weights_are_said_and_can_be_required(
    built: Path, outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DPS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("dpseval.scoring.score.load_readers", samples.fake_readers(samples.FakeNetwork()))
    scores = dpseval.score(outputs, built, config(tmp_path, lpips_nets=("alex", "vgg")))
    notes = scores.summary.set_index("metric")["note"]
    assert set(notes[["fid", "kid"]]) == {"weights missing: dps weights get inception-fid"}
    assert set(notes["lpips_vgg"]) == {"weights missing: dps weights get lpips-vgg"}
    assert scores.summary.query("metric == 'fid'")["value"].isna().all()
    assert scores.summary.query("metric == 'fd_hed'")["value"].notna().all()
    with pytest.raises(MissingError, match="`dps weights get inception-fid` and `dps weights get lpips-alex`"):
        dpseval.score(outputs, built, config(tmp_path, require=("fid", "lpips")))
    words = ["score", str(outputs), "--data", str(built), "-o", str(tmp_path / "r"), "--require", "fid,lpips"]
    assert run_app(app, words) == 5
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prep": "other"}, "expected pytorch-fid"),
        ({"lpips_nets": ("resnet",)}, "expected alex, vgg or squeeze"),
        ({"require": ("beauty",)}, "expected fid, kid, fd_efflite, lpips"),
        ({"require": ("lpips_vgg",)}, "add --lpips vgg"),
        ({"levels": (2.0,)}, r"level: expected a number in \[0, 1\]"),
        ({"workers": -1}, "workers: expected a whole number"),
        ({"methods": "ours"}, "methods: expected a tuple"),
    ],
)
def test_options_are_checked(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ScoreConfig(**options)


def test_a_dry_run_writes_nothing(
    built: Path, outputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["score", str(outputs), "--data", str(built), "-o", str(tmp_path / "report"), "--masks", "dps", "--dry-run"]
    assert run_app(app, [*words, "--cache", str(tmp_path / "cache")]) == 0
    said = capsys.readouterr().out
    assert "one 0.25: 4 photos" in said
    assert "would score 4 photos of all with the masks dps; nothing was written" in said
    assert not (tmp_path / "report").exists()
    assert not (tmp_path / "cache").exists()


def test_workers_start_without_torch() -> None:
    heavy = "{'torch', 'pandas', 'matplotlib'}"
    code = f"import sys, dpseval.scoring.pixel_workers; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False).returncode == 0


def test_the_names_of_the_package() -> None:
    assert callable(dpseval.score)
    assert callable(dpseval.score)  # also after its module was imported
    assert {"score", "ScoreConfig", "Scores"} <= set(dir(dpseval))
    with pytest.raises(AttributeError):
        _ = dpseval.nothing


def test_the_real_judge_end_to_end(built: Path, outputs: Path, tmp_path: Path) -> None:
    words = ["score", str(outputs), "--data", str(built), "--masks", "dps", "--cache", str(tmp_path / "cache")]
    words += ["--device", "cpu", "--methods", "one,three", "--levels", "0,1"]
    assert run_app(app, [*words, "-o", str(tmp_path / "first"), "--workers", "1"]) == 0
    assert run_app(app, [*words, "-o", str(tmp_path / "again"), "--workers", "2"]) == 0
    assert run_app(app, [*words, "-o", str(tmp_path / "fresh"), "--workers", "1", "--no-cache"]) == 0
    runs = [json.loads((tmp_path / name / "run.json").read_text()) for name in ("first", "again", "fresh")]
    assert [run["forwards"]["hedps"] for run in runs] == [16, 0, 16]
    texts = {(tmp_path / name / "scores.json").read_bytes() for name in ("first", "again", "fresh")}
    assert len(texts) == 1
    page = (tmp_path / "first/index.html").read_text()
    assert "dps weights get inception-fid" in page
    assert len(page) < 5_000_000
