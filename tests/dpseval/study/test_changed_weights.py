"""A study whose work folder was made with other weights, or is in use."""

from __future__ import annotations

import runpy
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from dpsdata.contracts import EnvironmentFailure, UsageError
from dpsdata.runtime.files import lock_folder
from dpseval.scoring.config import ScoreConfig
from dpseval.study.config import StudyConfig, parse_conditions
from dpseval.study.running import run_study

TESTS = Path(__file__).resolve().parents[2]
samples = SimpleNamespace(**runpy.run_path(str(TESTS / "models/method_samples.py")))
SIZE = 64


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> StudyConfig:
    place = tmp_path_factory.mktemp("changed")
    built = samples.make_split_built(place / "built", SIZE)
    samples.write_dps(place / "dps", SIZE)
    samples.write_baselines(place / "run")
    return StudyConfig(
        built,
        place / "report",
        place / "work",
        ("dps", "dps-g", "deepfillv2-guided", "mean-color"),
        parse_conditions(("dps:own",)),
        levels=(0.0, 1.0),
        weights={"dps": str(place / "dps"), "deepfillv2-guided": str(place / "run")},
        score=ScoreConfig(device="cpu", use_cache=False),
    )


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_other_weights_are_refused(config: StudyConfig, tmp_path: Path) -> None:
    samples.write_dps(tmp_path / "new", SIZE, 1)
    few = replace(config, out=tmp_path / "out", work=tmp_path / "work")
    run_study(few)
    before = files(few.out)
    new = replace(few, weights={**few.weights, "dps": str(tmp_path / "new")})
    with pytest.raises(UsageError, match=r"other settings \(weights\)"):
        run_study(new)
    lines: list[str] = []
    run_study(few, lines.append)
    assert all(line.endswith("was there") for line in lines)
    assert files(few.out) == before


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
    with pytest.raises(UsageError, match=r"other settings \(weights\)"):
        run_study(few)  # the scores are not those of the weights of now


def test_two_studies_do_not_share_a_work_folder(config: StudyConfig, tmp_path: Path) -> None:
    few = replace(config, out=tmp_path / "out", work=tmp_path / "work")
    with (
        lock_folder(few.work, few.work / ".lock", "study"),
        pytest.raises(EnvironmentFailure, match=r"another study .* is writing here"),
    ):
        run_study(few)
