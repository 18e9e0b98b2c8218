"""`dpseval run`: methods x levels from weights to one report, missing ones named and never made up."""

from __future__ import annotations

import json
import runpy
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import typer

from dpsdata.contracts import MissingError, UsageError
from dpsdata.runtime.command_line import run_app
from dpseval.cli.run import run_command
from dpseval.report import page
from dpseval.report.page import draw_report
from dpseval.scoring.compare import compare_reports
from dpseval.scoring.config import ScoreConfig
from dpseval.sweep import SweepConfig, SweepResult, run_sweep

TESTS = Path(__file__).resolve().parents[1]
samples = SimpleNamespace(**runpy.run_path(str(TESTS / "models/method_samples.py")))
SIZE = 128
METHODS = ("dps", "deepfillv2", "deepfillv2-guided", "scfegan", "mean-color", "telea", "navier-stokes")
LEVELS = (0.0, 1.0)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep")
    samples.make_built(folder / "built", SIZE, samples.IDS[:2])
    samples.write_dps(folder / "dps", SIZE)
    samples.write_baselines(folder / "run")
    return folder


@pytest.fixture(scope="module")
def config(place: Path) -> SweepConfig:
    weights = {name: str(place / "run") for name in ("deepfillv2-guided", "scfegan")}
    return SweepConfig(
        built=place / "built",
        report=place / "report",
        methods=METHODS,
        masks="dps",
        levels=LEVELS,
        weights={"dps": str(place / "dps"), **weights},
        score=ScoreConfig(device="cpu", use_cache=False),
    )


@pytest.fixture(scope="module")
def done(config: SweepConfig, tmp_path_factory: pytest.TempPathFactory) -> SweepResult:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DPS_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setattr("models.methods.weights.has_bundled_baseline", lambda stem: False)
        return run_sweep(config)


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DPS_HOME", str(tmp_path / "home"))
    # As in a package without them, so that there are methods to be missed.
    monkeypatch.setattr("models.methods.weights.has_bundled_baseline", lambda stem: False)


def make_app() -> typer.Typer:
    app = typer.Typer()
    app.command("run")(run_command)
    app.command("other")(lambda: None)
    return app


def test_one_report_has_all_methods(done: SweepResult, config: SweepConfig) -> None:
    table = pd.read_csv(config.report / "scores.csv")
    scored = table[(table["metric"] == "psnr") & (table["region"] == "hole") & (table["bin"] == "all")]
    found = {(row.method, "none" if pd.isna(row.level) else row.level): row for row in scored.itertuples()}
    assert set(found) == {
        *(("dps", level) for level in LEVELS),
        *((name, "none") for name in METHODS[1:]),
    }
    for (name, _), row in found.items():
        assert row.n == (0 if name == "deepfillv2" else 2), name
        assert pd.isna(row.value) == (name == "deepfillv2")
    assert (config.report.parent / "outputs/scfegan/none/a.png").is_file()


def test_a_missing_method_is_a_row_with_its_reason(done: SweepResult, config: SweepConfig) -> None:
    assert set(done.missing) == {"deepfillv2"}
    assert "dps weights import" in done.missing["deepfillv2"]
    results = json.loads((config.report / "scores.json").read_text())
    assert results["missing_methods"] == done.missing
    page = (config.report / "index.html").read_text()
    markdown = (config.report / "table.md").read_text()
    assert page.count("<b>deepfillv2</b>: weights missing: ") == 1
    assert "| deepfillv2 | – | 0 | weights missing |" in markdown
    assert not (config.report.parent / "outputs/deepfillv2").exists()


def test_the_report_states_what_was_scored(done: SweepResult, config: SweepConfig) -> None:
    methods = json.loads((config.report / "scores.json").read_text())["methods"]
    assert set(methods) == set(METHODS) - {"deepfillv2"}
    assert methods["scfegan"]["origin"] == "retrained"
    assert methods["scfegan"]["images_seen"] == 1234
    assert methods["deepfillv2-guided"]["guided"] is True
    page = (config.report / "index.html").read_text()
    assert "a reduced network of width 4, where 64 is published; images seen: 1,234" in page
    before = page
    draw_report(config.report)
    assert (config.report / "index.html").read_text() == before


def test_a_second_run_predicts_nothing_and_gives_the_same_scores(done: SweepResult, config: SweepConfig) -> None:
    first = (config.report / "scores.json").read_bytes()
    lines: list[str] = []
    outputs = config.report.parent / "outputs"
    times = {path: path.stat().st_mtime_ns for path in outputs.rglob("*.png")}
    run_sweep(replace(config, report=config.report.parent / "second"), lines.append)
    assert (config.report.parent / "second/scores.json").read_bytes() == first
    assert {path: path.stat().st_mtime_ns for path in outputs.rglob("*.png")} == times
    assert "scfegan: 0 photos predicted, 2 already there" in lines
    assert any(line.startswith("missing: deepfillv2: ") for line in lines)
    same = compare_reports(config.report, config.report.parent / "second", {}, [], 0).table()
    assert not same.empty


def test_nothing_but_missing_methods_ends_with_the_commands(config: SweepConfig, tmp_path: Path) -> None:
    alone = replace(config, report=tmp_path / "report", methods=("deepfillv2",), weights={})
    with pytest.raises(MissingError, match="dps train lite-deepfillv2-256"):
        run_sweep(alone)
    with pytest.raises(MissingError, match="dps train lite-deepfillv2-256"):
        run_sweep(replace(alone, methods=("telea", "deepfillv2"), require_methods=True))
    assert list(tmp_path.iterdir()) == []


def test_damaged_weights_are_a_missing_row_too(config: SweepConfig, tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/scfegan.safetensors").write_bytes(b"nothing")
    weights = {"scfegan": str(tmp_path / "weights")}
    found = run_sweep(replace(config, report=tmp_path / "report", methods=("scfegan", "telea"), weights=weights))
    assert "scfegan.safetensors" in found.missing["scfegan"]
    assert str(tmp_path) in found.missing["scfegan"]  # a person is told where; the results are the same anywhere
    results = (tmp_path / "report/scores.json").read_text()
    assert "weights/scfegan.safetensors" in results
    assert str(tmp_path) not in results
    with pytest.raises(MissingError, match=r"scfegan\.safetensors"):
        run_sweep(replace(config, report=tmp_path / "report", methods=("scfegan",), weights=weights))


def test_sources_of_refined_sketches_run_first(config: SweepConfig, place: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not one of the methods that run here: dps, scfegan-refined"):
        replace(config, methods=("scfegan-refined",))
    weights = {"dps": str(place / "dps"), "scfegan-refined": str(place / "run")}
    wanted = replace(config, methods=("scfegan-refined", "dps-g"), report=tmp_path / "report", weights=weights)
    assert wanted.makers == ("dps", "scfegan-refined")
    table = run_sweep(replace(wanted, levels=(0.5,))).scores.summary
    assert set(zip(table["method"], table["level"], strict=True)) == {("scfegan-refined", 0.5), ("dps-g", 0.5)}
    missing = replace(wanted, methods=("scfegan-refined", "telea"), weights={**weights, "dps": str(tmp_path / "none")})
    found = run_sweep(replace(missing, report=tmp_path / "other" / "report"))
    assert "reads the refined sketches of dps, and" in found.missing["scfegan-refined"]


def test_command(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head = ["run", str(place / "built"), "--masks", "dps", "--workers", "1", "--device", "cpu", "--no-cache"]
    report = ["-o", str(tmp_path / "report"), "--outputs", str(tmp_path / "made")]
    assert run_app(make_app(), [*head, *report, "--methods", "telea,scfegan"]) == 0
    said = capsys.readouterr()
    assert "missing: scfegan: no weights of SC-FEGAN come with the package" in said.out
    assert f"open {tmp_path / 'report/index.html'}" in said.out
    assert (tmp_path / "made/telea/none/a.png").is_file()
    for more, code, reason in (
        (["--methods", "telea,scfegan", "--require-methods"], 5, "dps train lite-scfegan-256"),
        (["--methods", "scfegan"], 5, "dps train lite-scfegan-256"),
        (["--methods", "lama"], 2, "expected one of dps"),
        (["--methods", ""], 2, "expected names"),
        (["--methods", "telea", "--levels", "2"], 2, "[0, 1]"),
        (["--methods", "telea", "--weights", "scfegan"], 2, "METHOD=PATH"),
        (["--methods", "telea", "--weights", "scfegan=x"], 2, "not one of the methods"),
        (["--methods", "telea", "--weights", "telea=x"], 2, "telea needs none"),
        (["--methods", "telea", "--require", "fid"], 5, "fid"),
        (["--methods", "telea", "--split", "nope"], 2, "expected all or one of"),
    ):
        assert run_app(make_app(), [*head, *report, *more]) == code, (more, capsys.readouterr().err)
        assert reason in capsys.readouterr().err, more
    missing = [*head[:1], str(tmp_path / "none"), *head[2:], *report, "--methods", "telea"]
    assert run_app(make_app(), missing) == 5
    assert "no built dataset" in capsys.readouterr().err


def test_outputs_of_other_weights_are_refused_and_made_again_once_they_are_deleted(
    config: SweepConfig, place: Path, tmp_path: Path
) -> None:
    samples.write_dps(tmp_path / "new", SIZE, 1)
    few = replace(config, report=tmp_path / "report", methods=("dps", "telea"), weights={"dps": str(place / "dps")})
    run_sweep(few)
    new, outputs = replace(few, weights={"dps": str(tmp_path / "new")}), tmp_path / "outputs"
    name = next(iter((outputs / "dps/l1").glob("*.png"))).name
    before = (outputs / "dps/l1" / name).read_bytes()
    with pytest.raises(UsageError, match=r"other settings \(weights\); choose another .* delete .*outputs/dps-g"):
        run_sweep(new)
    assert (outputs / "dps/l1" / name).read_bytes() == before
    for method in ("dps", "dps-g"):
        shutil.rmtree(outputs / method)
    lines: list[str] = []
    run_sweep(new, lines.append)
    assert "telea: 0 photos predicted, 2 already there" in lines
    assert (outputs / "dps/l1" / name).read_bytes() != before


def test_the_report_is_drawn_once(config: SweepConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Path] = []
    write = page._write

    def count(folder: Path, *rest: Any) -> Path:
        drawn.append(folder)
        return write(folder, *rest)

    monkeypatch.setattr(page, "_write", count)
    run_sweep(replace(config, report=tmp_path / "report", methods=("telea",), weights={}))
    assert drawn == [tmp_path / "report"]
    assert (tmp_path / "report/table.md").is_file()
