from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import typer
from torch import Tensor, nn

from dpsdata.contracts import MissingError, UsageError
from dpsdata.runtime.command_line import run_app
from dpsdata.weights.reading import read_state
from models.editing.loading import load_editing_net
from models.networks.config import Task, lite_config
from models.networks.editing_net import Refiner
from models.networks.inpainter import Inpainter
from models.training.catalogue import make_algorithm, make_trainer, read_training
from models.training.editing.algorithm import grow_tensors
from models.training.editing.config import StageConfig, TrainConfig
from models.training.engine.initial_weights import InitialNetworks, find_exported, find_light, read_editing_weights
from models.training.engine.loop import Trainer
from models.training.engine.restoring import begin_run, restore_run
from models.training.engine.state import export_weights
from models.training.export import export_run
from models.weights.bundled import bundled_sources

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def run(built: Path, quick: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("given") / "run"
    make_trainer(quick, built, out, device="cpu").run()
    return out


def lite_training(task: Task, size: int) -> TrainConfig:
    """A training of `lite` networks, as those of 64 and 128 px that are bundled."""
    sizes = [side for side in (64, 128) if side <= size]
    stages = tuple(StageConfig(network=name, images=8) for name in ("F", *(f"G{side}" for side in sizes)))
    return TrainConfig(name="lite", model="lite", task=task, resolution=size, stage=stages)


def refiner_and_inpainter(trainer: Trainer) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    nets = trainer.algorithm.nets
    return nets["refiner"].state_dict(), nets["inpainter"].state_dict()


def test_a_run_begins_with_exported_weights(run: Path, built: Path, quick: TrainConfig, tmp_path: Path) -> None:
    """As they come from a run, in half precision from `dps export`, or by the run folder, whose checkpoint is taken."""
    export_run(run, tmp_path / "small", "for tests alone")
    other = replace(quick, name="other")
    for folder, tolerance in ((run / "weights", 0.0), (tmp_path / "small", 2e-3), (run, 0.0)):
        trainer = make_trainer(other, built, tmp_path / f"out-{folder.name}", device="cpu", init_from=folder)
        refiner, inpainter = refiner_and_inpainter(trainer)
        for key, value in read_state(run / "weights/G32.safetensors")[0].items():
            assert torch.allclose(refiner[f"scales.32.{key}"], value, rtol=tolerance, atol=tolerance), key
        for key, value in read_state(run / "weights/F64.safetensors")[0].items():
            assert torch.allclose(inpainter[key], value, rtol=tolerance, atol=tolerance), key
        assert trainer.position == (0, 0, 0), "the rate rises, since no optimiser comes with them"
    for folder in (tmp_path / "small", run / "weights"):
        facts = read_editing_weights(str(folder), "edit", 64).metadata
        assert set(facts["sha256"]) == {f"{name}.safetensors" for name in ("F64", "G16", "G32", "G64")}
        assert (facts["preset"], facts["images_seen"]) == (quick.name, 24)
    assert read_editing_weights(str(tmp_path / "small"), "edit", 64).metadata["licence"] == "for tests alone"
    unlabelled = shutil.copytree(run / "weights", tmp_path / "unlabelled")
    net = load_editing_net(unlabelled)
    export_weights(unlabelled, net.refiner, net.inpainter, {})
    facts = read_editing_weights(str(unlabelled), "edit", 64).metadata
    assert (facts["preset"], facts["images_seen"]) == (None, None), "what a file does not say is not guessed"
    assert "unknown" in facts["licence"]


def test_what_a_person_types_is_found(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert (find_light("bundled"), find_exported("bundled")) == (None, "bundled")
    shutil.copytree(run / "weights", "bundled")
    assert (find_light("bundled"), find_exported("bundled")) == (None, "bundled"), "always the word"
    assert (find_light("./bundled"), find_exported("./bundled")) == (None, str(tmp_path / "bundled"))
    shutil.copytree(run / "weights", "moved/weights")
    assert (find_light("moved"), find_exported("moved")) == (None, str(tmp_path / "moved/weights"))
    assert find_light(str(run)) == run / "light.safetensors"
    assert find_light(str(run / "light.safetensors")) == run / "light.safetensors"
    with pytest.raises(MissingError, match=r"bundeld: no such file or folder; expected .* bundled, official"):
        find_light("bundeld")
    with pytest.raises(MissingError, match="one network alone; pass the folder"):
        find_light("./bundled/F64.safetensors")


def test_the_fitting_f_of_several_is_taken_and_nothing_else_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "several"
    for size in (64, 256):
        config = lite_config("edit", size)
        export_weights(folder, Refiner(config.refiner), Inpainter(config.inpainter), {})
    given = read_editing_weights(str(folder), "edit", 128)
    assert set(given.metadata["sha256"]) == {"F64.safetensors", "G64.safetensors", "G128.safetensors"}
    nets = {"refiner": Refiner(lite_config("edit", 128).refiner), "inpainter": Inpainter(lite_config().inpainter)}
    with pytest.raises(MissingError, match="for half the side"):
        begin_run(nets, {}, given, grow_tensors)
    nets["inpainter"] = Inpainter(lite_config("edit", 128).inpainter)
    with pytest.raises(MissingError, match="its inpainter is for half the side of the photo, the rest is not"):
        begin_run(nets, {}, given, grow_tensors)


def test_an_average_is_taken_before_a_network_grows(tmp_path: Path) -> None:
    small, large = lite_config("edit", 64), lite_config("edit", 128)
    average = Inpainter(small.inpainter).state_dict()
    groups = {"refiner": Refiner(small.refiner).state_dict(), "inpainter": Inpainter(small.inpainter).state_dict()}
    card = {"stage": "F64", "position": [0, 9]}
    given = InitialNetworks("here", {**groups, "average": average, "discriminator": {}}, {}, card)
    nets: dict[str, nn.Module] = {"refiner": Refiner(large.refiner), "inpainter": Inpainter(large.inpainter)}
    begun = begin_run(nets, {"F128": nets["inpainter"]}, given, grow_tensors)
    assert begun.discriminator == {}
    assert begun.begun_with == {"grown": True}
    assert torch.equal(nets["inpainter"].state_dict()["head.weight"], average["head.weight"])
    with pytest.raises(MissingError, match="its average is of none of its networks"):
        begin_run(
            nets, {}, InitialNetworks("here", {**groups, "average": {"x": torch.zeros(1)}}, {}, card), grow_tensors
        )


def test_a_checkpoint_says_itself_what_it_began_with(
    run: Path, built: Path, quick: TrainConfig, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="this run began from scratch; leave --init-from out"):
        make_trainer(quick, built, run, device="cpu", init_from=run)
    config = replace(quick, name="follower", cooldown_images=4)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    make_trainer(config, built, whole, device="cpu", init_from=run).run()
    shutil.copytree(run, tmp_path / "gone")
    first = make_trainer(config, built, killed, device="cpu", init_from=tmp_path / "gone", checkpoint_seconds=0)
    first._run_stage(first.stages[0])
    shutil.rmtree(tmp_path / "gone")
    make_trainer(config, built, killed, device="cpu", init_from=tmp_path / "gone").run()
    for name in ("weights/G64.safetensors", "weights/F64.safetensors", "stats.jsonl"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes(), name
    assert json.loads((killed / "weights/G64.json").read_text())["images_seen"] == 2 * 24


def test_a_run_that_is_not_at_its_end_is_named(run: Path, built: Path, quick: TrainConfig, tmp_path: Path) -> None:
    from models.cli.train import _say_begun

    half, other = tmp_path / "half", replace(quick, name="other")
    early = json.loads((run / "card.json").read_text())["images_seen"] - quick.stage[-1].batch
    make_trainer(quick, built, half, device="cpu", stop_after=early).run()
    begun = make_trainer(other, built, tmp_path / "x", device="cpu", init_from=half).begun_with
    assert begun is not None
    assert _say_begun(begun, other).endswith(f"saw {early} images, of a run that is not at its end (stage G64)")
    begun = make_trainer(other, built, tmp_path / "y", device="cpu", init_from=run).begun_with
    assert begun is not None
    assert "stopped_in" not in begun
    assert _say_begun(begun, other).endswith(" images")


def test_a_run_of_an_earlier_version_goes_on(built: Path, quick: TrainConfig, tmp_path: Path) -> None:
    """Its config has not the values that came later, which were their defaults."""
    make_trainer(quick, built, tmp_path, device="cpu")._save(None, None)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state["config"].pop("max_deformation") == 1.0
    assert state["config"].pop("cooldown_images") == 0
    assert state["config"]["losses"].pop("own") == 1.0
    assert state["config"]["losses"].pop("composite") is False
    assert state["config"].pop("dilation_diameter") == 21
    torch.save(state, tmp_path / "state.pt")
    assert make_trainer(quick, built, tmp_path, device="cpu").position == (0, 0, -1)
    less = replace(quick, losses=replace(quick.losses, own=0.5))
    pasted = replace(quick, losses=replace(quick.losses, composite=True))
    changed = (
        replace(quick, max_deformation=1.5),
        replace(quick, cooldown_images=2),
        replace(quick, dilation_diameter=13),
    )
    for other in (*changed, replace(quick, seed=1), less, pasted):
        with pytest.raises(UsageError, match="begun with another config"):
            make_trainer(other, built, tmp_path, device="cpu")
    state["config"]["unheard_of"] = 1
    torch.save(state, tmp_path / "state.pt")
    with pytest.raises(UsageError, match="begun with another config"):
        make_trainer(quick, built, tmp_path, device="cpu")


def test_the_pen_goes_with_the_networks_and_a_change_is_said(
    run: Path, built: Path, quick: TrainConfig, tmp_path: Path
) -> None:
    from models.cli.train import _say_begun

    config, small = replace(quick, name="pen", dilation_diameter=13), tmp_path / "small"
    narrow = tmp_path / "narrow"
    make_trainer(config, built, narrow, device="cpu").run()
    export_run(narrow, small, "for tests alone")
    for folder in (narrow / "weights", small):
        assert load_editing_net(folder).refiner.config.dilation_diameter == 13
    assert load_editing_net(run / "weights").refiner.config.dilation_diameter == 21
    for given in (narrow, small):
        begun = make_trainer(quick, built, tmp_path / "wide", device="cpu", init_from=given).begun_with
        assert begun is not None
        assert _say_begun(begun, quick).endswith(", with a pen of 13 px of 256 at level 1 so far and 21 from here on")
        assert "pen" not in _say_begun({**begun, "preset": "x"}, config)
    begun = make_trainer(config, built, tmp_path / "other", device="cpu", init_from=run).begun_with
    assert begun is not None
    assert _say_begun(begun, config).endswith(", with a pen of 21 px of 256 at level 1 so far and 13 from here on")


def test_every_stage_of_a_run_that_follows_another_warms_up(
    run: Path, built: Path, quick: TrainConfig, tmp_path: Path
) -> None:
    following = replace(quick, name="following")
    trainer = make_trainer(following, built, tmp_path / "following", device="cpu", init_from=run)
    trainer._run_stage(trainer.stages[0])
    assert trainer.position == (1, 0, 0)


def test_networks_for_half_the_side_are_grown(tmp_path: Path) -> None:
    config = lite_training("edit", 128)
    algorithm = make_algorithm(config, CPU)
    small = lite_config("edit", 64)
    export_weights(tmp_path, Refiner(small.refiner), Inpainter(small.inpainter), {})
    begun = restore_run(Path("nowhere"), config, "hash", algorithm, init_from=str(tmp_path))
    assert begun.begun_with is not None
    assert begun.begun_with["grown"]
    refiner = algorithm.nets["refiner"].state_dict()
    for key, value in read_editing_weights(str(tmp_path), "edit", 64).groups["refiner"].items():
        assert torch.equal(refiner[key], value), key


def test_bundled_networks_are_a_beginning_for_both_tasks() -> None:
    for task, config in (("edit", read_training("lite-edit-256")), ("synthesis", read_training("lite-synthesis-256"))):
        begun = restore_run(Path("nowhere"), config, "hash", make_algorithm(config, CPU), init_from="bundled")
        assert begun.begun_with is not None
        sources = bundled_sources("edit" if task == "edit" else "synthesis")
        assert set(begun.begun_with["sha256"]) == {path.name for path in sources.values()}
        assert "research use" in begun.begun_with["licence"]
        assert type(begun.begun_with["images_seen"]) is int


def test_folders_that_are_no_beginning(run: Path, built: Path, quick: TrainConfig, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "refiner").mkdir()
    for name in ("G16", "G32", "G64"):
        shutil.copy(run / "weights" / f"{name}.safetensors", tmp_path / "refiner")
    other = replace(quick, name="other")
    for folder, said in (
        ("empty", "no weights of edit"),
        ("refiner", "it holds G, and this preset begins with F and G"),
    ):
        with pytest.raises(MissingError, match=said):
            make_trainer(other, built, tmp_path / "out", device="cpu", init_from=tmp_path / folder)
    with pytest.raises(MissingError, match="bundled: at this size it holds F, and this preset begins with F and G"):
        make_trainer(read_training("tiny"), built, tmp_path / "out", device="cpu", init_from="bundled")
    with pytest.raises(MissingError, match="does not fit this preset"):
        make_trainer(lite_training("edit", 64), built, tmp_path / "out", device="cpu", init_from=run / "weights")


def test_a_baseline_begins_with_bundled_or_exported_weights(built: Path, tmp_path: Path) -> None:
    grown = replace(read_training("lite-scfegan-256"), resolution=128)
    algorithm = make_algorithm(grown, CPU)
    begun = restore_run(Path("nowhere"), grown, "hash", algorithm, init_from="bundled")
    assert begun.begun_with is not None
    assert type(begun.begun_with["images_seen"]) is int
    assert "research use" in begun.begun_with["licence"]
    tiny = replace(read_training("tiny-deepfillv2"), images=4, width=4, discriminator_width=4, mask_count=4)
    make_trainer(tiny, built, tmp_path / "first", device="cpu").run()
    weights = tmp_path / "first/weights"
    second = make_trainer(replace(tiny, name="x"), built, tmp_path / "second", device="cpu", init_from=weights)
    assert second.begun_with is not None
    assert second.begun_with["licence"].startswith("Trained by this project's own code")
    own = second.algorithm.nets["network"].state_dict()
    for key, value in read_state(weights / "deepfillv2.safetensors")[0].items():
        assert torch.equal(own[key], value), key
    second.begun_with = {**second.begun_with, "licence": "CC BY-NC 4.0", "images_seen": 34_000}
    second._metadata["begun_with"] = second.begun_with
    card = json.loads((second.run() / "deepfillv2.json").read_text())
    assert card["licence"] == "CC BY-NC 4.0", "of the networks that it began with"
    assert card["images_seen"] == 34_004
    with pytest.raises(MissingError, match=r"no scfegan\.safetensors"):
        make_trainer(read_training("tiny-scfegan"), built, tmp_path / "x", device="cpu", init_from=weights)


def test_a_dry_run_names_the_networks_that_it_begins_with(
    run: Path, built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from models.cli.train import train_command

    app = typer.Typer()
    app.callback()(lambda: None)
    app.command("train")(train_command)
    words = ["train", "tiny", "--data", str(built), "--out", str(tmp_path / "x"), "--dry-run"]
    tiny = read_training("tiny")
    assert isinstance(tiny, TrainConfig)
    config = tiny.networks
    export_weights(tmp_path / "own", Refiner(config.refiner), Inpainter(config.inpainter), {"preset": "mine"})
    assert run_app(app, [*words, "--init-from", str(tmp_path / "own")]) == 0
    assert "begun with networks of mine that saw an unknown number of images\n" in capsys.readouterr().out
    assert run_app(app, [*words, "--init-from", str(tmp_path)]) == 5
    assert "no weights of edit in this folder" in capsys.readouterr().err
