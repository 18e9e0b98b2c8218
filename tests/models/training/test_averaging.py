"""`dps average`: the mean of runs that began with the same networks."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dpsdata.contracts import MissingError, UsageError
from dpsdata.runtime.command_line import run_app
from dpsdata.weights.reading import read_state
from dpsdata.weights.store import sha256_file, write_safetensors
from models.cli import app
from models.editing.loading import load_editor
from models.training import averaging
from models.training.averaging import average_runs, mean_state
from models.training.editing.config import TrainConfig
from models.training.engine.loop import Trainer
from models.training.export import export_run
from models.weights.bundled import BUNDLED_FOLDER


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
    shared = torch.linspace(0.1, 3, 1000)
    counter = torch.tensor(5)
    assert not torch.equal(torch.stack([shared] * 7).mean(0), shared), "in single precision it does not"
    found = mean_state([{"w": shared, "n": counter + index} for index in range(7)])
    assert torch.equal(found["w"], shared), "what all share comes out as it was"
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


def test_the_beginning_may_stand_anywhere(runs: Path, tmp_path: Path) -> None:
    for name, order in (("one", "ab."), ("two", ".ab")):
        average_runs([str(runs / {"a": "a", "b": "b", ".": "base"}[letter]) for letter in order], tmp_path / name)
    for name in ("F64", "G16", "G32", "G64"):
        one, two = state(tmp_path / "one", name), state(tmp_path / "two", name)
        assert all(torch.allclose(one[key], two[key]) for key in one)
    cards = [json.loads((tmp_path / name / "card.json").read_text()) for name in ("one", "two")]
    assert cards[0]["images_seen"] == cards[1]["images_seen"]


def test_an_interrupted_mean_is_no_run_and_the_same_command_mends_it(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources, mean = [str(runs / "a"), str(runs / "b")], tmp_path / "mean"
    average_runs(sources, mean)
    (mean / "weights/G256.safetensors").write_bytes(b"of an earlier mean")
    written = averaging.write_safetensors

    def stop(path: Path, *rest: object) -> None:
        if path.name == "G32.safetensors":
            raise KeyboardInterrupt
        written(path, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(averaging, "write_safetensors", stop)
        with pytest.raises(KeyboardInterrupt):
            average_runs([*sources, str(runs / "base")], mean)
    with pytest.raises(MissingError, match="not finished"):
        export_run(mean, tmp_path / "small")
    average_runs([*sources, str(runs / "base")], mean)
    assert sorted(export_run(mean, tmp_path / "small")) == ["F64", "G16", "G32", "G64"]


def test_a_rival_is_averaged_with_the_bundled_one(tmp_path: Path) -> None:
    """Two made-up runs that say that they began with the bundled network."""
    source = BUNDLED_FOLDER / "scfegan/scfegan.safetensors"
    tensors, card = read_state(source)
    begun = {"images_seen": 100, "sha256": {"scfegan-bundled": sha256_file(source)}}
    for index, name in enumerate(("one", "two"), 1):
        moved = {key: value.float() + index if value.is_floating_point() else value for key, value in tensors.items()}
        (tmp_path / name / "weights").mkdir(parents=True)
        write_safetensors(tmp_path / name / "weights/scfegan.safetensors", moved, {**card, "seed": index})
        facts = {
            "status": "done", "preset": "p", "images_seen": 10, "begun_with": begun,
            "config": {"method": "scfegan", "seed": index},
            "dataset": {"root_hash": f"{index}", "photos": 3, "licence_note": f"terms {index}"},
        }  # fmt: skip
        (tmp_path / name / "card.json").write_text(json.dumps(facts))
    average_runs(["bundled", str(tmp_path / "one"), str(tmp_path / "two")], tmp_path / "mean")
    found, told = read_state(tmp_path / "mean/weights/scfegan.safetensors")
    key = next(key for key, value in tensors.items() if value.is_floating_point())
    assert torch.allclose(found[key].float(), tensors[key].float() + 1, atol=1e-2)
    assert told["images_seen"] == 120
    assert "seed" not in told
    facts = json.loads((tmp_path / "mean/card.json").read_text())
    assert facts["dataset"] == {"root_hash": None, "photos": 3, "licence_note": "terms 1 terms 2"}


def test_networks_with_other_batch_norm_are_refused(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "b", tmp_path / "b")
    path = tmp_path / "b/weights/F64.safetensors"
    tensors, card = read_state(path)
    changed = {key: value + 1 if key.endswith("running_var") else value for key, value in tensors.items()}
    assert any(key.endswith("running_var") for key in tensors)
    write_safetensors(path, changed, card)
    with pytest.raises(UsageError, match="BatchNorm"):
        average_runs([str(runs / "a"), str(tmp_path / "b")], tmp_path / "mean")
    assert not (tmp_path / "mean").exists()


def test_a_mean_has_the_pen_of_its_runs_and_two_pens_have_none(
    runs: Path, tmp_path: Path, built: Path, quick: TrainConfig
) -> None:
    for seed, name in ((1, "c"), (2, "d")):
        config = replace(
            quick, name="narrow", seed=seed, inpainter_images=0, fixed_images=2, random_images=2, pen_diameter=13
        )
        Trainer(config, built, tmp_path / name, device="cpu", begin_with=runs / "base").run()
    average_runs([str(tmp_path / "c"), str(tmp_path / "d")], tmp_path / "mean")
    assert load_editor(tmp_path / "mean/weights").net.refiner.config.pen_diameter == 13
    with pytest.raises(UsageError, match="of other sizes, or with another pen, than"):
        average_runs([str(tmp_path / "c"), str(runs / "a")], tmp_path / "mixed")


def test_what_makes_no_mean_is_refused(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b, base, other = (str(runs / name) for name in ("a", "b", "base", "other"))
    mean = tmp_path / "mean"
    for sources, said in (
        ([a], "at least two runs"),
        ([a, a], "the same networks"),
        ([a, f"{a}/../a"], "the same networks"),
        ([a, other], "did not begin with the networks"),
        ([base, other], "none of them is a run"),
        ([a, "bundled"], "did not begin with the networks"),
    ):
        with pytest.raises(UsageError, match=said):
            average_runs(sources, mean)
    for sources in ([a, str(runs)], ["official", a], [a, str(tmp_path / "nowhere")]):
        with pytest.raises(MissingError, match="no networks there"):
            average_runs(sources, mean)
    assert not mean.exists()
    with pytest.raises(UsageError, match="no mean of networks"):
        average_runs([a, b], runs / "other")
    for out in (runs / "b", runs / "a/../b"):
        with pytest.raises(UsageError, match="one of those that are averaged"):
            average_runs([a, b], out)
    assert run_app(app, ["average", str(mean), a]) == 2
    assert "at least two runs" in capsys.readouterr().err


def test_a_run_that_is_not_finished_is_no_member(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "b", tmp_path / "b")
    card = json.loads((runs / "b/card.json").read_text())
    (tmp_path / "b/card.json").write_text(json.dumps({**card, "status": "running"}))
    with pytest.raises(MissingError, match="not finished"):
        average_runs([str(runs / "a"), str(tmp_path / "b")], tmp_path / "mean")


def test_a_card_of_an_earlier_version_has_one_hash(runs: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        shutil.copytree(runs / name, tmp_path / name)
        card = json.loads((tmp_path / name / "card.json").read_text())
        card["begun_with"]["sha256"] = card["begun_with"]["sha256"]["light.safetensors"]
        (tmp_path / name / "card.json").write_text(json.dumps(card))
    average_runs([str(tmp_path / "a"), str(tmp_path / "b"), str(runs / "base")], tmp_path / "mean")
