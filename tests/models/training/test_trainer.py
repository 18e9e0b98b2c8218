from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dpsdata.contracts import MissingError, UsageError
from dpsdata.dataset.torch_dataset import EditDataset
from dpsdata.images.codec import read_photo
from models.editing.loading import load_editing_net
from models.training.catalogue import make_trainer
from models.training.editing import algorithm as editing
from models.training.editing.config import StageConfig, TrainConfig
from models.training.engine.state import LIGHT_FILE, STATE_FILE, read_light
from models.training.engine.validation import hole_psnr


def weights_of(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((run / "weights").glob("*.safetensors"))}


def lines_of(run: Path) -> list[str]:
    return (run / "stats.jsonl").read_text().splitlines()


@pytest.fixture(scope="module")
def whole_run(built: Path, quick: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "whole"
    trainer = make_trainer(quick, built, out, device="cpu", checkpoint_seconds=1e9)
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said):
        patch.setattr("models.training.engine.loop._TELL_SECONDS", 0.0)
        assert trainer.run() == out / "weights"
    # Without a terminal, a line now and then in place of the bar.
    assert "F64: step 1 of 3" in said.getvalue()
    return out


def test_a_run_leaves_weights_that_the_editor_loads(whole_run: Path, built: Path) -> None:
    assert set(weights_of(whole_run)) == {
        "F64.safetensors",
        "G16.safetensors",
        "G32.safetensors",
        "G64.safetensors",
    }
    net = load_editing_net(whole_run / "weights")
    assert (net.task, net.resolution) == ("edit", 64)
    sample = EditDataset(built, "train")[0]
    photo, mask = sample["photo"][None], sample["mask"][None]
    with torch.no_grad():
        result = net(photo, sample["sketch"][None], mask, 0.5).inpainter_photo
    assert 3 < float(hole_psnr(result, photo, mask)) < 40


def test_a_run_says_what_it_did(whole_run: Path) -> None:
    card = json.loads((whole_run / "card.json").read_text())
    assert card["status"] == "done"
    assert card["perceptual"] == "hed-compact"
    assert any("compact HED" in sentence for sentence in card["differences"])
    assert card["dataset"]["photos"] == 6
    assert set(card["results"]) >= {"F64_hole_psnr", "G16_hole_psnr_l0", "G64_result_hole_psnr_l1"}
    rows = [json.loads(line) for line in lines_of(whole_run)]
    assert [row["stage"] for row in rows if row["kind"] == "train" and row["step"] == 3] == ["F64", "G16", "G32", "G64"]
    for row in rows:
        assert all(abs(value) < 1e6 for value in row.values() if isinstance(value, float))
    sheets = sorted(path.name for path in (whole_run / "samples").glob("*.png"))
    assert "G64-000000006.png" in sheets
    # Two photos of 64 px and six panels, each with a gap of 2 px.
    assert read_photo(whole_run / "samples" / "G64-000000006.png").shape == (132, 396, 3)


def stop_after(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    done = 0
    real: Callable[..., dict[str, float]] = editing.train_step

    def step(*arguments: object) -> dict[str, float]:
        nonlocal done
        done += 1
        if done > count:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(editing, "train_step", step)


@pytest.mark.parametrize(("count", "seconds"), [(2, 0.0), (4, 0.0), (11, 1e9)])
def test_a_killed_run_goes_on_as_if_nothing_had_happened(
    whole_run: Path,
    built: Path,
    quick: TrainConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    count: int,
    seconds: float,
) -> None:
    out = tmp_path / "killed"
    with monkeypatch.context() as patch:
        stop_after(count, patch)
        with pytest.raises(KeyboardInterrupt):
            make_trainer(quick, built, out, device="cpu", checkpoint_seconds=seconds).run()
    assert json.loads((out / "card.json").read_text())["status"] == "running"
    with (out / "stats.jsonl").open("a") as stats:
        stats.write('{"kind": "tra')  # what a kill in the middle of a write leaves
    trainer = make_trainer(quick, built, out, device="cpu", checkpoint_seconds=1e9)
    assert trainer.position[:2] == {2: (0, 2), 4: (1, 1), 11: (3, 0)}[count]
    trainer.run()
    assert weights_of(out) == weights_of(whole_run)
    assert lines_of(out) == lines_of(whole_run)


def test_a_run_can_stop_early_with_its_weights_and_go_on(
    whole_run: Path, built: Path, quick: TrainConfig, tmp_path: Path
) -> None:
    """It ends at the image that was asked for, hands over averaged weights, and goes on as if it had not stopped."""
    out, whole = tmp_path / "stopped", json.loads((whole_run / "card.json").read_text())
    last = make_trainer(quick, built, tmp_path / "plan", device="cpu").stages[-1]
    early = whole["images_seen"] - 2 * last.batch_size
    make_trainer(quick, built, out, device="cpu", stop_after=early).run()
    card = json.loads((out / "card.json").read_text())
    assert (card["status"], card["images_seen"]) == ("stopped", early)
    assert weights_of(out).keys() == weights_of(whole_run).keys()
    assert weights_of(out)["G64.safetensors"] != weights_of(whole_run)["G64.safetensors"]
    stopped = weights_of(out)
    make_trainer(quick, built, out, device="cpu", stop_after=early).run()
    assert json.loads((out / "card.json").read_text())["images_seen"] == early
    assert weights_of(out) == stopped, "the averaged weights again"
    make_trainer(quick, built, out, device="cpu").run()
    assert weights_of(out) == weights_of(whole_run)
    extra = [json.loads(line) for line in lines_of(out) if line not in lines_of(whole_run)]
    assert [(row["kind"], row["stage"]) for row in extra] == [("validation", "G64")], "of where it stopped"
    assert len(lines_of(out)) == len(lines_of(whole_run)) + 1
    with pytest.raises(UsageError, match="G64, begins there"):
        make_trainer(quick, built, tmp_path / "never", device="cpu", stop_after=1)


def test_a_run_can_begin_with_the_networks_of_another_preset(
    whole_run: Path, built: Path, quick: TrainConfig, tmp_path: Path
) -> None:
    other = replace(quick, name="polish", learning_rate=quick.learning_rate / 4)
    light = whole_run / LIGHT_FILE
    trainer = make_trainer(other, built, tmp_path / "polish", device="cpu", init_from=light)
    assert trainer.position == (0, 0, 0)
    groups, card = read_light(light)
    for name in ("refiner", "inpainter"):
        state = trainer.algorithm.nets[name].state_dict()
        assert all(torch.equal(groups[name][key], value) for key, value in state.items()), name
    trainer._write_card({"status": "running"})
    begun = json.loads((tmp_path / "polish/card.json").read_text())["begun_with"]
    assert (begun["preset"], begun["images_seen"]) == (quick.name, card["images_seen"])
    trainer._save(None, None)
    again = make_trainer(other, built, tmp_path / "polish", device="cpu")
    assert again.begun_with == begun, "it is kept, whatever is typed later"
    (tmp_path / "third").mkdir()
    third = make_trainer(quick, built, tmp_path / "third", device="cpu", init_from=tmp_path / "polish" / LIGHT_FILE)
    assert third.begun_with is not None
    assert third.begun_with["images_seen"] == card["images_seen"], "nothing was seen in between"


def test_all_resolutions_of_g_learn_at_once(whole_run: Path, built: Path, quick: TrainConfig, tmp_path: Path) -> None:
    """Their gradients come from the finest one and from F, and coarser heads, which nothing reads, stay."""
    joint = replace(
        quick,
        name="joint",
        stage=(StageConfig(network="G", images=6, level1_images=2, batch=2, masks=16),),
        ema_halflife_images=1,
    )
    trainer = make_trainer(joint, built, tmp_path / "joint", device="cpu", init_from=whole_run)
    parts, _ = trainer._begin_stage(trainer.stages[0])
    idle = {name for name, value in parts.unwrapped.named_parameters() if not value.requires_grad}
    assert idle == {f"scales.{size}.head.{kind}" for size in (16, 32) for kind in ("weight", "bias")}
    before = {key: value.clone() for key, value in trainer.algorithm.nets["refiner"].state_dict().items()}
    inpainter = {key: value.clone() for key, value in trainer.algorithm.nets["inpainter"].state_dict().items()}
    trainer.run()
    after = trainer.algorithm.nets["refiner"].state_dict()
    moved = {key for key, value in after.items() if not torch.equal(before[key], value)}
    assert not {key for key in moved if key.startswith(("scales.16.head", "scales.32.head"))}
    for size in (16, 32, 64):
        assert {f"scales.{size}.first.weight", f"scales.{size}.level_embedding.layers.0.weight"} <= moved
    assert all(
        torch.equal(inpainter[key], value) for key, value in trainer.algorithm.nets["inpainter"].state_dict().items()
    )
    assert set(trainer.results) >= {"G_hole_psnr_l0", "G_result_hole_psnr_l1"}
    net = load_editing_net(tmp_path / "joint/weights")
    assert torch.equal(net.refiner.scale(16).state_dict()["first.weight"], after["scales.16.first.weight"])
    again = make_trainer(
        replace(joint, name="x"), built, tmp_path / "again", device="cpu", init_from=tmp_path / "joint"
    )
    assert torch.equal(
        again.algorithm.nets["refiner"].state_dict()["scales.16.first.weight"], after["scales.16.first.weight"]
    )


def test_a_training_of_g_alone_needs_an_f_to_begin_with(
    whole_run: Path, built: Path, quick: TrainConfig, tmp_path: Path
) -> None:
    alone = replace(quick, name="alone", stage=quick.stage[1:])
    with pytest.raises(UsageError, match="trains no inpainter; pass --init-from"):
        make_trainer(alone, built, tmp_path / "x", device="cpu")
    trainer = make_trainer(alone, built, tmp_path / "alone", device="cpu", init_from=whole_run / LIGHT_FILE)
    before = {key: value.clone() for key, value in trainer.algorithm.nets["inpainter"].state_dict().items()}
    trainer.run()
    after = trainer.algorithm.nets["inpainter"].state_dict()
    assert all(torch.equal(before[key], value) for key, value in after.items())
    assert weights_of(tmp_path / "alone").keys() == weights_of(whole_run).keys()


def test_another_config_or_dataset_or_a_damaged_checkpoint_is_refused(
    whole_run: Path, built: Path, quick: TrainConfig, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="another config"):
        make_trainer(replace(quick, learning_rate=5e-4), built, whole_run, device="cpu")
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / STATE_FILE).write_bytes((whole_run / STATE_FILE).read_bytes()[:5000])
    with pytest.raises(MissingError, match="damaged"):
        make_trainer(quick, built, damaged, device="cpu")
    with pytest.raises(UsageError, match="cuda"):
        make_trainer(quick, built, tmp_path / "x", device="cuda:1")


@pytest.mark.parametrize("kept", [LIGHT_FILE, "weights"])
def test_networks_without_their_state_are_not_replaced(
    whole_run: Path, built: Path, quick: TrainConfig, tmp_path: Path, kept: str
) -> None:
    """A run as people carry it to another machine."""
    copy = tmp_path / "carried"
    copy.mkdir()
    if (whole_run / kept).is_dir():
        shutil.copytree(whole_run / kept, copy / kept)
    else:
        shutil.copy(whole_run / kept, copy)
    for init_from in (None, str(whole_run)):
        with pytest.raises(UsageError, match=f"holds {kept} and no {STATE_FILE}"):
            make_trainer(quick, built, copy, device="cpu", init_from=init_from)


def test_a_finished_run_is_done_at_once(whole_run: Path, built: Path, quick: TrainConfig) -> None:
    before = weights_of(whole_run)
    trainer = make_trainer(quick, built, whole_run, device="cpu")
    assert trainer.position == (4, 0, -1)
    trainer.run()
    assert weights_of(whole_run) == before


def test_averages_follow_the_weights() -> None:
    from models.training.engine.loop import ema_update

    average, net = torch.nn.BatchNorm2d(1), torch.nn.BatchNorm2d(1)
    net.weight.data.fill_(3.0)
    net.running_mean.fill_(8.0)  # type: ignore[union-attr]
    net.num_batches_tracked.fill_(7)  # type: ignore[union-attr]
    ema_update(average, net, 0.75)
    assert float(average.weight.detach()) == pytest.approx(1.5)
    assert float(average.running_mean) == pytest.approx(2.0)  # type: ignore[arg-type]
    assert int(average.num_batches_tracked) == 7  # type: ignore[arg-type]
