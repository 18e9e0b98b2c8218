"""`dpseval study`: conditions of masks and sketches, levels chosen elsewhere, claims tested, files that repeat."""

from __future__ import annotations

import json
import runpy
import shutil
import threading
import time
from dataclasses import replace
from multiprocessing import active_children
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from dpsdata.contracts import EnvironmentFailure, MissingError, UsageError
from dpsdata.runtime.command_line import run_app
from dpseval.cli import app
from dpseval.scoring.config import ScoreConfig
from dpseval.statistics.summary import prepare_image_table
from dpseval.study.answers import answer_questions
from dpseval.study.conditions import ConditionScores
from dpseval.study.config import Condition, StudyConfig, parse_conditions, parse_sketch, read_study
from dpseval.study.running import run_study

TESTS = Path(__file__).resolve().parents[2]
samples = SimpleNamespace(**runpy.run_path(str(TESTS / "models/method_samples.py")))
SIZE = 64
METHODS = ("dps", "dps-g", "deepfillv2-guided", "mean-color")
STUDY = TESTS.parent / "reports/comparison/study.toml"
QUESTIONS = read_study(STUDY)["questions"]
FEW = """
methods = ["dps", "dps-g", "deepfillv2-guided", "mean-color"]
levels = [0, 1]
conditions = ["dps:own,deformed-8", "center:displaced-8"]
[[questions]]
name = "f-over-g"
text = "Does F's photo beat G's own?"
pairs = [["dps@0", "dps-g@0"], ["dps@chosen", "dps-g@chosen"], ["dps@1", "dps-g@1"]]
[[questions]]
name = "level-costs"
text = "Does level 1 follow the drawing less?"
pairs = [["dps@1", "dps@0"]]
metrics = ["edge_f_drawn:own"]
worse = true
[[questions]]
name = "dps-over-baseline"
text = "Does it beat the others?"
pairs = [["dps@chosen", "deepfillv2-guided"], ["dps@chosen", "mean-color"]]
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> StudyConfig:
    place = tmp_path_factory.mktemp("study")
    built = samples.make_split_built(place / "built", SIZE)
    samples.write_dps(place / "dps", SIZE)
    samples.write_baselines(place / "run")
    (place / "study.toml").write_text(FEW)
    return StudyConfig(
        built,
        place / "report",
        place / "work",
        **read_study(place / "study.toml"),
        weights={"dps": str(place / "dps"), "deepfillv2-guided": str(place / "run")},
        shown=("a",),
        score=ScoreConfig(device="cpu", use_cache=False),
    )


@pytest.fixture(scope="module")
def said(config: StudyConfig) -> list[str]:
    lines: list[str] = []
    run_study(config, lines.append)
    return lines


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_report_has_every_cell_and_says_how_levels_were_chosen(config: StudyConfig, said: list[str]) -> None:
    found = files(config.out)
    assert set(found) == {"README.md", "scores.csv", "answers.csv", "study.json", "faces.jpg"}
    scores = pd.read_csv(config.out / "scores.csv")
    conditions = set(zip(scores["masks"], scores["sketch"], strict=True))
    assert conditions == {("dps", "own"), ("dps", "deformed-8"), ("center", "displaced-8")}
    rows = scores[(scores["metric"] == "hedps") & (scores["region"] == "hole")]
    assert (rows["n"] == 3).all()
    assert len(rows) == 3 * (2 + 2 + 1 + 1)
    study = json.loads(found["study.json"])
    assert set(study["chosen"]) == {"own", "deformed-8", "displaced-8"}
    for case, level in study["chosen"].items():
        table = pd.read_csv(config.work / f"reports/val/dps/{case}/scores.csv")
        mine = table[(table["metric"] == "hedps") & (table["region"] == "hole") & (table["bin"] == "all")]
        assert level == mine.loc[mine["value"].idxmin(), "level"]
    assert {item["question"] for item in study["answers"]} == {
        "f-over-g", "level-costs", "dps-over-baseline",
    }  # fmt: skip
    readme = found["README.md"].decode()
    assert "chosen on the split val" in readme
    assert readme.count("| Does F's photo beat G's own? |") == 2, "a row a metric"
    assert [line.split(" | ")[:2] for line in readme.splitlines() if " / 0." in line and line.startswith("|")] == [
        ["| dps", "own"], ["| dps", "deformed-8"], ["| center", "displaced-8"],
    ]  # fmt: skip
    assert len(readme.split()) < 700
    assert "LPIPS" in readme, "missing weights are named"
    assert str(config.work.parent) not in readme + found["study.json"].decode()


def test_a_rerun_does_nothing_again_and_gives_the_same_bytes(config: StudyConfig, said: list[str]) -> None:
    before = files(config.out)
    lines: list[str] = []
    run_study(config, lines.append)
    assert lines == [
        *(f"val: {name} was there" for name in ("dps/own", "dps/deformed-8", "dps/displaced-8")),
        *(f"test: {name} was there" for name in ("dps/own", "dps/deformed-8", "center/displaced-8")),
    ]
    assert files(config.out) == before


def test_two_jobs_give_the_same_bytes_as_one(config: StudyConfig, said: list[str], tmp_path: Path) -> None:
    both = replace(config, out=tmp_path / "out", work=tmp_path / "work", jobs=2)
    lines: list[str] = []
    run_study(both, lines.append)
    assert files(both.out) == files(config.out)
    assert any(line.startswith("6 conditions, 2 at a time") for line in lines)
    assert lines.count("test: center/displaced-8") == 1, "no condition is run twice"
    assert lines.count("test: center/displaced-8 was there") == 1
    lines.clear()
    run_study(both, lines.append)
    assert all(line.endswith("was there") for line in lines), "no process is started for what is done"


def test_a_job_that_dies_or_fails_is_run_again_by_the_study(config: StudyConfig, tmp_path: Path) -> None:
    few = replace(
        config, out=tmp_path / "out", work=tmp_path / "work", conditions=parse_conditions(("dps:own",)),
        methods=("dps",), jobs=2, questions=(), weights={"dps": config.weights["dps"]}, shown=(),
    )  # fmt: skip
    lines: list[str] = []

    def kill_children(line: str) -> None:
        lines.append(line)
        if "2 at a time" in line:
            threading.Thread(target=kill_all).start()

    def kill_all() -> None:
        while len(active_children()) < 2:
            time.sleep(0.01)
        for child in active_children():
            child.kill()

    study = run_study(few, kill_children)
    assert any("a process died" in line for line in lines)
    assert study.chosen.keys() == {"own"}
    shutil.rmtree(few.work)
    built = tmp_path / "built"
    shutil.copytree(config.built, built)
    (built / "images/a.png").write_bytes(b"no photo")
    lines.clear()
    with pytest.raises(MissingError, match=r"a\.png"):
        run_study(replace(few, built=built), lines.append)
    assert any(line.startswith("a condition failed: ") for line in lines), lines


def test_a_missing_method_is_left_out_and_comes_later(config: StudyConfig, said: list[str], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/faces.jpg").write_bytes(b"of an earlier run")
    few = replace(
        config, out=tmp_path / "out", work=tmp_path / "work", conditions=parse_conditions(("dps:own",)), shown=()
    )
    weights = {"dps": config.weights["dps"]}
    lines: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.methods.weights.has_bundled_baseline", lambda stem: False)
        study = run_study(replace(few, weights=weights), lines.append)
    assert any(line.startswith("missing: deepfillv2-guided") for line in lines)
    assert "Not run: deepfillv2-guided" in (tmp_path / "out/README.md").read_text()
    assert not (tmp_path / "out/faces.jpg").exists()
    rows = study.scores[study.scores["method"] == "deepfillv2-guided"]
    assert rows["value"].isna().all()
    lines.clear()
    study = run_study(few, lines.append)
    assert "test: dps/own" in lines, "what lacks a method is run again"
    rows = study.scores[(study.scores["method"] == "deepfillv2-guided") & (study.scores["metric"] == "psnr")]
    assert rows["value"].notna().all()


def cell_of(values: dict[tuple[str, float | None], np.ndarray], sketch: str = "own") -> ConditionScores:
    rows = [
        (f"{index:03}", method, level, "hole", 0.2, 20.0 - number, number, 1 - number)
        for (method, level), numbers in values.items()
        for index, number in enumerate(numbers)
    ]
    columns = ["id", "method", "level", "region", "hole_ratio", "psnr", "hedps", "edge_f_drawn"]
    table = prepare_image_table(pd.DataFrame(rows, columns=columns))
    return ConditionScores(Condition("dps", parse_sketch(sketch)), Path(), table, pd.DataFrame(), {})


def test_answers_by_hand() -> None:
    generator = np.random.default_rng(0)
    base = generator.uniform(0.2, 0.4, 60)
    noise = generator.normal(0, 0.01, (4, 60))
    poor = cell_of(
        {
            ("dps", 0.0): base,
            ("dps", 1.0): base - 0.05 + noise[0],
            ("dps-g", 0.0): base + 0.05 + noise[1],
            ("dps-g", 1.0): base - 0.05 + noise[2],
            ("scfegan", None): base + noise[3],
            ("scfegan-refined", 1.0): base + 0.05,
        },
        "deformed-8",
    )
    good = cell_of({("dps", 0.0): base, ("dps", 1.0): base + 0.02 + noise[0]})
    found = {
        (item.question, item.sketch, item.metric, item.left, item.right): item
        for item in answer_questions([poor, good], QUESTIONS, {"deformed-8": 1.0, "own": 0.0}, 0)
    }

    def outcome(*key: str) -> str:
        return found[key].outcome

    assert outcome("f-over-g", "deformed-8", "hedps", "dps at 0", "dps-g at 0") == "yes"
    assert outcome("f-over-g", "deformed-8", "hedps", "dps at 1", "dps-g at 1") == "not separated"
    assert outcome("level-helps", "deformed-8", "hedps", "dps at 1", "dps at 0") == "yes"
    assert outcome("level-helps", "own", "hedps", "dps at 1", "dps at 0") == "no"
    assert outcome("level-costs", "own", "edge_f_drawn", "dps at 1", "dps at 0") == "yes"
    assert ("level-costs", "deformed-8", "edge_f_drawn", "dps at 1", "dps at 0") not in found
    assert outcome("refining-helps-scfegan", "deformed-8", "hedps", "scfegan-refined at 1", "scfegan") == "no"
    assert outcome("dps-over-baseline", "deformed-8", "psnr", "dps at 1", "scfegan") == "yes"
    item = found["level-helps", "deformed-8", "hedps", "dps at 1", "dps at 0"]
    assert item.n == 60
    assert item.difference == pytest.approx(-0.05 + noise[0].mean())
    assert item.left_value - item.right_value == pytest.approx(item.difference)
    assert item.ci_low < item.difference < item.ci_high < 0
    assert item.p_holm >= item.p_value


def test_cells_as_people_type_them() -> None:
    assert [condition.name for condition in parse_conditions(("dps:own, deformed-4", "center"))] == [
        "dps/own", "dps/deformed-4", "center/own",
    ]  # fmt: skip
    assert parse_sketch("displaced-8").perturbation(64, 3).amount == 2
    assert parse_sketch("dropped-0.33").perturbation(64, 3).amount == 0.33
    for wrong in ("blurred-3", "deformed", "deformed-x", "dropped-2", "displaced--4", ""):
        with pytest.raises(UsageError):
            parse_sketch(wrong)
    with pytest.raises(UsageError, match="round"):
        parse_conditions(("round:own",))


def test_wrong_studies_are_refused(config: StudyConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for fields, reason in (
        ({"methods": ("mean-color",)}, "about dps"),
        ({"levels": (0.0, 0.5)}, "dps at 1 is not among"),
        ({"methods": ("dps", "mean-color")}, "dps-g at 0 is not among"),
        ({"split": "val"}, "chosen on val"),
        ({"split": "all"}, "chosen on val"),
        ({"work": config.out}, "another folder"),
        ({"work": config.out / "work"}, "another folder"),
        ({"work": config.built / "work"}, "another folder"),
        ({"conditions": ()}, "at least one"),
    ):
        with pytest.raises(UsageError, match=reason):
            replace(config, **fields)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="nobody"):
        run_study(replace(config, shown=("nobody",)))
    with pytest.raises(UsageError, match="scfegn"):
        run_study(replace(config, weights={**config.weights, "scfegn": "x"}))
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentFailure):
        run_study(replace(config, out=tmp_path / "file", work=tmp_path / "w"))
    (tmp_path / "study.toml").write_text('methods = ["dps"]\nconditions = ["dps:own"]\nlevels = [0, 1]\n')
    words = ["study", str(config.built), str(tmp_path / "study.toml")]
    words += ["-o", str(tmp_path / "o"), "--work", str(tmp_path / "w")]
    assert run_app(app, [*words, "--dry-run"]) == 0
    assert "test: dps/own" in capsys.readouterr().out
    assert run_app(app, [*words, "--dry-run", "--weights", "telae=x"]) == 2
    capsys.readouterr()
    for text, reason in (
        ('methods = ["dps"]', "expected methods and conditions"),
        ('methods = ["dps"]\nconditions = ["dps"]\nlevel = [0]', "got level"),
        ('methods = ["dps", "lama"]\nconditions = ["dps"]', "lama"),
        ('methods = ["dps"]\nconditions = ["dps"]\nlevels = [2]', "[0, 1]"),
        ('methods = ["dps"]\nconditions = ["dps"]\nsplit = "val"', "chosen on val"),
        ('methods = ["dps"]\nconditions = ["dps"]\nchoose_split = "train"', "has no split 'train'"),
        ('methods = ["dps"]\nconditions = ["dps"]\n[[questions]]\nname = "x"', "not a study file"),
        ("methods = ", "not a study file"),
    ):
        (tmp_path / "study.toml").write_text(text)
        assert run_app(app, [*words, "--dry-run"]) == 2, text
        assert reason in capsys.readouterr().err, text
    (tmp_path / "study.toml").unlink()
    assert run_app(app, words) == 5
    assert not (tmp_path / "w").exists()


def test_the_file_of_the_comparison_is_a_study(config: StudyConfig) -> None:
    whole = replace(config, **read_study(STUDY), weights={})
    assert (len(whole.conditions), len(whole.methods), len(whole.questions)) == (20, 9, 6)
