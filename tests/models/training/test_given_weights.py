from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import typer
from torch import Tensor

from dpsdata.command import run_app
from dpsdata.contracts import MissingError
from dpsdata.weights_read import read_state
from models.bundled_weights import bundled_sources
from models.training.catalogue import find_any_preset, make_algorithm
from models.training.exporting import export_run
from models.training.given_weights import describe_weights, find_light, read_editing_weights
from models.training.loop import Trainer
from models.training.restoring import restore_run
from models.training.rivals.presets import find_rival_preset
from models.training.train_config import TrainConfig

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def run(built: Path, quick: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("given") / "run"
    Trainer(quick, built, out, device="cpu").run()
    return out


def refiner_and_inpainter(trainer: Trainer) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    nets = trainer.algorithm.nets
    return nets["refiner"].state_dict(), nets["inpainter"].state_dict()


def test_a_run_begins_with_exported_weights(run: Path, built: Path, quick: TrainConfig, tmp_path: Path) -> None:
    """As they come from a run, in half precision from `dps export`, or by the run folder, whose checkpoint is taken."""
    export_run(run, tmp_path / "small", "for tests alone")
    other = replace(quick, name="other")
    for folder, tolerance in ((run / "weights", 0.0), (tmp_path / "small", 2e-3), (run, 0.0)):
        trainer = Trainer(other, built, tmp_path / f"out-{folder.name}", device="cpu", begin_with=folder)
        refiner, inpainter = refiner_and_inpainter(trainer)
        for key, value in read_state(run / "weights/G32.safetensors")[0].items():
            assert torch.allclose(refiner[f"scales.32.{key}"], value, rtol=tolerance, atol=tolerance), key
        for key, value in read_state(run / "weights/F64.safetensors")[0].items():
            assert torch.allclose(inpainter[key], value, rtol=tolerance, atol=tolerance), key
        assert trainer.position == (0, 0, 0), "the rate rises, since no optimiser comes with them"
    facts = read_editing_weights(str(tmp_path / "small"), "edit", 64).facts
    assert (facts["preset"], set(facts["sha256"])) == (quick.name, {"F64", "G16", "G32", "G64"})
    assert type(facts["images_seen"]) is int
    unknown = describe_weights(sorted((run / "weights").glob("*.safetensors")))
    assert (unknown["preset"], unknown["images_seen"]) == (None, None), "an unlabelled file is not guessed about"


def test_every_stage_of_a_run_that_follows_another_warms_up(
    run: Path, built: Path, quick: TrainConfig, tmp_path: Path
) -> None:
    following = replace(quick, name="following", follows=quick.name)
    trainer = Trainer(following, built, tmp_path / "following", device="cpu", begin_with=run)
    trainer._run_stage(trainer.stages[0])
    assert trainer.position == (1, 0, 0)


def test_g_that_is_missing_at_the_finest_size_is_grown() -> None:
    config = find_any_preset("lite-edit-128-grown")
    algorithm = make_algorithm(config, CPU)
    begun = restore_run(Path("nowhere"), config, "hash", algorithm, begin_with=Path("bundled"))
    assert begun.begun_with is not None
    assert set(begun.begun_with["sha256"]) == set(bundled_sources("edit"))
    given = read_editing_weights("bundled", "edit", 64)
    refiner = algorithm.nets["refiner"].state_dict()
    for key, value in given.groups["refiner"].items():
        if key.startswith("scales.64."):
            assert torch.equal(refiner[key], value), key
    assert set(given.groups["refiner"]) == {key for key in given.groups["refiner"] if key.startswith("scales.64.")}


def test_folders_that_are_no_beginning(run: Path, built: Path, quick: TrainConfig, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "refiner").mkdir()
    for name in ("G16", "G32", "G64"):
        shutil.copy(run / "weights" / f"{name}.safetensors", tmp_path / "refiner")
    other = replace(quick, name="other")
    for folder, said in (("empty", "no weights of edit"), ("refiner", "it holds refiner, and this preset begins with")):
        with pytest.raises(MissingError, match=said):
            Trainer(other, built, tmp_path / "out", device="cpu", begin_with=tmp_path / folder)
    with pytest.raises(MissingError, match="does not fit this preset"):
        Trainer(find_any_preset("tiny"), built, tmp_path / "out", device="cpu", begin_with=Path("bundled"))
    assert find_light(Path("bundled")) is None
    assert find_light(run) == run / "light.safetensors"
    assert find_light(Path("no/such.file")) == Path("no/such.file")


def test_a_rival_begins_with_bundled_or_exported_weights(built: Path, tmp_path: Path) -> None:
    grown = find_rival_preset("lite-scfegan-128-grown")
    algorithm = make_algorithm(grown, CPU)
    begun = restore_run(Path("nowhere"), grown, "hash", algorithm, begin_with=Path("bundled"))
    assert begun.begun_with is not None
    assert type(begun.begun_with["images_seen"]) is int
    tiny = replace(find_rival_preset("tiny-deepfillv2"), images=4, width=4, critic_width=4, mask_count=4)
    Trainer(tiny, built, tmp_path / "first", device="cpu").run()
    weights = tmp_path / "first/weights"
    second = Trainer(replace(tiny, name="x"), built, tmp_path / "second", device="cpu", begin_with=weights)
    own = second.algorithm.nets["network"].state_dict()
    for key, value in read_state(weights / "deepfillv2.safetensors")[0].items():
        assert torch.equal(own[key], value), key
    with pytest.raises(MissingError, match=r"no scfegan\.safetensors"):
        Trainer(find_rival_preset("tiny-scfegan"), built, tmp_path / "x", device="cpu", begin_with=weights)


def test_a_dry_run_names_the_networks_that_it_begins_with(
    run: Path, built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from models.train_cli import register_train

    app = typer.Typer()
    app.callback()(lambda: None)
    register_train(app)
    words = ["train", "lite-edit-64-polish", "--data", str(built), "--out", str(tmp_path / "x"), "--dry-run"]
    assert run_app(app, [*words, "--begin-with", str(tmp_path)]) == 5
    assert "no weights of edit in this folder" in capsys.readouterr().err
    assert run_app(app, words) == 2
    assert "or --begin-with WEIGHTS, a folder of exported weights or `bundled`" in capsys.readouterr().err
