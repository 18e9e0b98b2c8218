"""`dps average`: the mean of runs that began with the same networks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dpsdata.command import run_app
from dpsdata.contracts import MissingError, UsageError
from dpsdata.weights_read import read_state
from models.cli import app
from models.loading import load_editor
from models.training.averaging import average_runs, mean_state
from models.training.exporting import export_run
from models.training.loop import Trainer
from models.training.train_config import TrainConfig


@pytest.fixture(scope="module")
def runs(built: Path, tmp_path_factory: pytest.TempPathFactory, quick: TrainConfig) -> Path:
    """`base`, and two runs `a` and `b` of G alone that began with it; `other` began with first weights."""
    place = tmp_path_factory.mktemp("runs")
    short = replace(quick, inpainter_images=2, fixed_images=2, random_images=2)
    Trainer(short, built, place / "base", device="cpu").run()
    Trainer(replace(short, seed=7), built, place / "other", device="cpu").run()
    later = replace(short, name="later", inpainter_images=0, follows="quick")
    for seed, name in ((1, "a"), (2, "b")):
        run = Trainer(replace(later, seed=seed), built, place / name, device="cpu", begin_with=place / "base")
        run.run()
    return place


def state(run: Path, name: str) -> dict[str, Tensor]:
    return dict(read_state(run / "weights" / f"{name}.safetensors")[0])


def test_the_mean_is_taken_in_double_precision() -> None:
    third = torch.tensor([0.1, 1 / 3])
    counter = torch.tensor(5)
    found = mean_state([{"w": third, "n": counter}, {"w": third, "n": counter + 1}, {"w": third, "n": counter}])
    assert torch.equal(found["w"], third), "what all share comes out as it was"
    assert torch.equal(found["n"], counter)
    half = mean_state([{"w": torch.tensor([1.0])}, {"w": torch.tensor([2.0], dtype=torch.float16)}])
    assert half["w"].dtype == torch.float32
    assert half["w"].item() == 1.5


def test_a_mean_of_runs_is_a_run(runs: Path, tmp_path: Path, built: Path, quick: TrainConfig) -> None:
    names = average_runs([str(runs / "a"), str(runs / "b"), str(runs / "base")], tmp_path / "mean")
    assert names == ["F64", "G16", "G32", "G64"]
    for key, value in state(tmp_path / "mean", "G64").items():
        three = [state(runs / name, "G64")[key] for name in ("a", "b", "base")]
        assert torch.allclose(value.double(), torch.stack([each.double() for each in three]).mean(0)), key
    assert all(
        torch.equal(value, state(runs / "base", "F64")[key]) for key, value in state(tmp_path / "mean", "F64").items()
    )
    a_state, b_state = state(runs / "a", "G64"), state(runs / "b", "G64")
    assert any(not torch.equal(a_state[key], b_state[key]) for key in a_state), "the two runs differ"
    base, a = (json.loads((runs / name / "card.json").read_text()) for name in ("base", "a"))
    seen = base["images_seen"] + 2 * a["images_seen"]
    card = json.loads((tmp_path / "mean/card.json").read_text())
    assert card["begun_with"] == a["begun_with"]
    assert card["images_seen"] == 2 * a["images_seen"], "what they began with counts once"
    assert [(each["name"], each["seed"], each["images_seen"]) for each in card["averaged"]] == [
        ("a", 1, base["images_seen"] + a["images_seen"]),
        ("b", 2, base["images_seen"] + a["images_seen"]),
        ("base", 0, base["images_seen"]),
    ]
    load_editor(str(tmp_path / "mean/weights"))
    export_run(tmp_path / "mean", tmp_path / "small")
    assert json.loads((tmp_path / "small/G64.json").read_text())["images_seen"] == seen
    later = replace(quick, name="later", inpainter_images=0, follows="quick")
    begun = Trainer(later, built, tmp_path / "next", device="cpu", begin_with=tmp_path / "mean").begun_with
    assert begun is not None
    assert begun["images_seen"] == seen


def test_the_same_runs_give_the_same_bytes(runs: Path, tmp_path: Path) -> None:
    words = ["average", str(tmp_path / "mean"), str(runs / "a"), str(runs / "b")]
    kept = []
    for _ in range(2):
        assert run_app(app, words) == 0
        kept.append({path: path.read_bytes() for path in sorted((tmp_path / "mean").rglob("*.*"))})
    assert kept[0] == kept[1]
    assert len(kept[0]) == 9


def test_what_makes_no_mean_is_refused(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b, base, other = (str(runs / name) for name in ("a", "b", "base", "other"))
    mean = tmp_path / "mean"
    for sources, said in (
        ([a], "at least two runs"),
        ([a, a], "the same networks"),
        ([a, other], "did not begin with the networks"),
        ([base, other], "did not begin with the networks"),
        ([base, a], "did not begin with the networks"),
        ([a, "bundled"], "did not begin with the networks"),
        ([a, "official"], "expected a folder"),
        (["bundled", a], "expected a folder"),
        ([f"{a}/weights/../../base/weights", a], "did not begin with the networks"),
    ):
        with pytest.raises(UsageError, match=said):
            average_runs(sources, mean)
    (tmp_path / "plain").mkdir()
    for path in (runs / "base/weights").iterdir():
        (tmp_path / "plain" / path.name).write_bytes(path.read_bytes())
    with pytest.raises(UsageError, match="expected a run folder"):
        average_runs([str(tmp_path / "plain"), a], mean)
    with pytest.raises(MissingError, match="no networks there"):
        average_runs([a, str(runs)], mean)
    assert not mean.exists()
    with pytest.raises(UsageError, match="no mean of networks"):
        average_runs([a, b], runs / "other")
    with pytest.raises(UsageError, match="one of those that are averaged"):
        average_runs([a, b], runs / "b")
    assert run_app(app, ["average", str(mean), a]) == 2
    assert "at least two runs" in capsys.readouterr().err


def test_a_run_that_is_not_finished_is_no_member(runs: Path, tmp_path: Path) -> None:
    card = json.loads((runs / "b/card.json").read_text())
    run = tmp_path / "b"
    (run / "weights").mkdir(parents=True)
    for path in (runs / "b/weights").iterdir():
        (run / "weights" / path.name).write_bytes(path.read_bytes())
    (run / "card.json").write_text(json.dumps({**card, "status": "running"}))
    with pytest.raises(MissingError, match="not finished"):
        average_runs([str(runs / "a"), str(run)], tmp_path / "mean")
