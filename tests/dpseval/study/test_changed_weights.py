"""A study whose work folder was made with other weights, or is in use."""

from __future__ import annotations

import runpy
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from dpsdata.contracts import EnvironmentFailure
from dpsdata.runtime.lock_file import lock_folder
from dpseval.scoring.config import ScoreConfig
from dpseval.study.config import StudyConfig, parse_cells
from dpseval.study.running import run_study

TESTS = Path(__file__).resolve().parents[2]
samples = SimpleNamespace(**runpy.run_path(str(TESTS / "models/method_samples.py")))
SIZE = 64


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> StudyConfig:
    place = tmp_path_factory.mktemp("changed")
    built = samples.make_split_built(place / "built", SIZE)
    samples.write_dps(place / "dps", SIZE)
    samples.write_rivals(place / "run")
    return StudyConfig(
        built,
        place / "report",
        place / "work",
        ("dps", "dps-g", "deepfillv2-guided", "mean-color"),
        parse_cells(("dps:own",)),
        levels=(0.0, 1.0),
        weights={"dps": str(place / "dps"), "deepfillv2-guided": str(place / "run")},
        score=ScoreConfig(device="cpu", use_cache=False),
    )


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_changed_weights_run_their_methods_again_and_no_other(config: StudyConfig, tmp_path: Path) -> None:
    samples.write_dps(tmp_path / "new", SIZE, 1)
    methods = ("dps", "dps-g", "scfegan", "scfegan-refined", "mean-color")
    run = str(Path(config.weights["deepfillv2-guided"]))
    few = replace(
        config, out=tmp_path / "out", work=tmp_path / "work",
        methods=methods, weights={"dps": config.weights["dps"], "scfegan": run},
    )  # fmt: skip
    new = replace(few, weights={**few.weights, "dps": str(tmp_path / "new")})
    run_study(few)
    before, old = files(few.out), files(few.work / "outputs/test/dps/own/dps-g/l1")
    lines: list[str] = []
    run_study(new, lines.append)
    moved = few.work / "set-aside/test/dps/own"
    names = "dps, dps-g, scfegan-refined"
    assert any(line.startswith(f"weights have changed: outputs of {names} were moved to {moved}") for line in lines)
    assert "dps: 3 photos predicted, 0 were there" in lines
    assert "scfegan-refined: 3 photos predicted, 0 were there" in lines
    assert "scfegan: 0 photos predicted, 3 were there" in lines
    assert files(next(moved.iterdir()) / "dps-g/l1") == old, "nothing that was made is lost"
    fresh = replace(new, out=tmp_path / "fresh", work=tmp_path / "fresh-work")
    run_study(fresh)
    assert files(new.out) == files(fresh.out) != before
    lines.clear()
    run_study(new, lines.append)
    assert all(line.endswith("was there") for line in lines)
    run_study(few, lines.append)
    assert "outputs of scfegan-refined with these weights were moved back" in lines
    assert "dps: 0 photos predicted, 3 were there" in lines
    assert files(few.out) == before


def test_weights_that_cannot_be_loaded_move_nothing(config: StudyConfig, tmp_path: Path) -> None:
    few = replace(
        config, out=tmp_path / "out", work=tmp_path / "work",
        methods=("dps", "deepfillv2-guided"),
    )  # fmt: skip
    run_study(few)
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "deepfillv2-guided.safetensors").write_bytes(b"none")
    lines: list[str] = []
    run_study(replace(few, weights={**few.weights, "deepfillv2-guided": str(broken)}), lines.append)
    assert any(line.startswith("missing: deepfillv2-guided") for line in lines)
    assert not (few.work / "set-aside").exists()


def test_weights_that_are_replaced_while_a_cell_runs_leave_no_stamp(config: StudyConfig, tmp_path: Path) -> None:
    shutil.copytree(config.weights["dps"], tmp_path / "dps")
    few = replace(
        config, out=tmp_path / "out", work=tmp_path / "work",
        methods=("dps",), weights={"dps": str(tmp_path / "dps")},
    )  # fmt: skip

    def replace_weights(line: str) -> None:
        if line.startswith("dps: 3 photos predicted"):
            shutil.rmtree(tmp_path / "dps")
            samples.write_dps(tmp_path / "dps", SIZE, 1)

    run_study(few, replace_weights)
    lines: list[str] = []
    run_study(few, lines.append)
    assert "test: dps/own" in lines, "the scores are not those of the weights of now"
    assert "dps: 3 photos predicted, 0 were there" in lines


def test_two_studies_do_not_share_a_work_folder(config: StudyConfig, tmp_path: Path) -> None:
    few = replace(config, out=tmp_path / "out", work=tmp_path / "work")
    with (
        lock_folder(few.work, few.work / ".lock", "study"),
        pytest.raises(EnvironmentFailure, match=r"another study .* is writing here"),
    ):
        run_study(few)
