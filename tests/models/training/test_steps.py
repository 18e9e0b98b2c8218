from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from dpsdata.contracts import UsageError
from dpsdata.runtime.device import check_precision
from models.networks.discriminator import DiscriminatorConfig, PatchDiscriminator
from models.networks.initialisation import initialise_weights
from models.training.catalogue import make_trainer
from models.training.editing.algorithm import EditingAlgorithm
from models.training.editing.config import Stage, TrainConfig
from models.training.editing.steps import TrainBatch, discriminate, paint_batch, prepare_batch, train_step
from models.training.engine.batches import BatchSource
from models.training.engine.loop import Trainer, make_accelerator
from models.training.engine.losses import DivergedError, StageParts, update_weights


def editing_of(trainer: Trainer) -> EditingAlgorithm:
    assert isinstance(trainer.algorithm, EditingAlgorithm)
    return trainer.algorithm


def train_once(trainer: Trainer, parts: StageParts[Stage], batch: TrainBatch) -> dict[str, float]:
    editing = editing_of(trainer)
    frozen, perceptual = editing.frozen_nets(parts.stage), editing.loaded_perceptual()
    return train_step(parts, frozen, batch, editing.config.losses, perceptual, trainer.accelerator)


def begin(trainer: Trainer, index: int, level: float = 1.0) -> tuple[StageParts[Stage], TrainBatch]:
    stage = trainer.stages[index]
    parts, _ = trainer._begin_stage(stage)
    source = BatchSource(trainer.store, stage, 0, "dps")
    return parts, prepare_batch(source.read(source.plan(0)), stage, editing_of(trainer).config, level, trainer.device)


def state_of(net: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in net.state_dict().items()}


def changed(net: torch.nn.Module, before: dict[str, torch.Tensor]) -> bool:
    return any(not torch.equal(before[key], value) for key, value in net.state_dict().items())


def test_a_step_at_the_finest_resolution_trains_g_and_d_alone(built: Path, quick: TrainConfig, tmp_path: Path) -> None:
    trainer = make_trainer(quick, built, tmp_path / "run", device="cpu")
    parts, batch = begin(trainer, 3, 0.5)
    editing = editing_of(trainer)
    before = {name: state_of(net) for name, net in (("f", editing.inpainter), ("g32", editing.refiner.scale(32)))}
    own, discriminator = state_of(parts.unwrapped), state_of(parts.unwrapped_discriminator)
    values = train_once(trainer, parts, batch)
    assert set(values) == {
        "discriminator_real",
        "discriminator_fake",
        "discriminator_gradient",
        "adversarial",
        "perceptual",
        "reconstruction",
        "result_perceptual",
        "result_reconstruction",
        "net_gradient",
    }
    assert not changed(editing.inpainter, before["f"]), "F is frozen, its BatchNorm statistics too"
    assert not changed(editing.refiner.scale(32), before["g32"])
    assert changed(parts.unwrapped, own)
    assert changed(parts.unwrapped_discriminator, discriminator)
    assert all(value.grad is not None for value in parts.unwrapped.parameters())
    assert all(value.requires_grad for value in parts.unwrapped_discriminator.parameters())


def test_the_loss_of_g_is_the_published_one(built: Path, quick: TrainConfig, tmp_path: Path) -> None:
    trainer = make_trainer(quick, built, tmp_path / "run", device="cpu")
    parts, batch = begin(trainer, 1)
    with torch.no_grad():
        painted = paint_batch(parts.stage, parts.net, editing_of(trainer).frozen_nets(parts.stage), batch)
    assert batch.mask is not None
    sketch = ((1 - 2 * painted.sketch) * batch.mask - (1 - 2 * batch.sketch) * batch.mask).abs().mean()
    photo = (painted.photo - batch.photo).abs().mean()
    values = train_once(trainer, parts, batch)
    assert values["reconstruction"] == pytest.approx(float(sketch + photo) / 2, rel=1e-5)
    assert values["discriminator_real"] == pytest.approx(10, abs=1), "hinge margin 10 before anything is learned"


def test_the_share_of_its_own_photo_counts_where_f_judges_too(built: Path, quick: TrainConfig, tmp_path: Path) -> None:
    losses = replace(quick.losses, own=0.0, adversarial=0.0)
    trainer = make_trainer(replace(quick, losses=losses), built, tmp_path / "run", device="cpu")
    for index, is_finest in ((1, False), (3, True)):
        parts, batch = begin(trainer, index)
        train_once(trainer, parts, batch)
        head = dict(parts.unwrapped.named_parameters())["head.weight"].grad
        assert head is not None
        assert float(head[0].abs().max()) > 0, "F paints from the sketch"
        assert (float(head[1:].abs().max()) == 0) is is_finest, "nothing but its own losses reaches G's photo"


def test_fs_photo_is_judged_in_the_hole_alone_where_this_is_wanted(
    built: Path, quick: TrainConfig, tmp_path: Path
) -> None:
    config = replace(quick, losses=replace(quick.losses, composite=True))
    trainer = make_trainer(config, built, tmp_path / "run", device="cpu")
    parts, batch = begin(trainer, 3)
    with torch.no_grad():
        painted = paint_batch(parts.stage, parts.net, editing_of(trainer).frozen_nets(parts.stage), batch)
    assert batch.mask is not None
    assert painted.result is not None
    distance = (painted.result - batch.photo).abs()
    in_hole = float((distance * batch.mask).mean())
    assert 0 < in_hole < 0.9 * float(distance.mean()), "F repaints what is known, too"
    perceptual = editing_of(trainer).loaded_perceptual()
    pasted = painted.result * batch.mask + batch.photo * (1 - batch.mask)
    values = train_once(trainer, parts, batch)
    assert values["result_reconstruction"] == pytest.approx(in_hole, rel=1e-4)
    assert values["result_perceptual"] == pytest.approx(float(perceptual(pasted, batch.photo)), rel=1e-4)


def test_where_there_is_no_hole_the_whole_photo_is_judged(built: Path, quick: TrainConfig, tmp_path: Path) -> None:
    found = []
    for composite in (False, True):
        config = replace(quick, task="synthesis", losses=replace(quick.losses, composite=composite))
        trainer = make_trainer(config, built, tmp_path / str(composite), device="cpu")
        parts, batch = begin(trainer, 3)
        assert batch.mask is None
        found.append(train_once(trainer, parts, batch))
    assert found[0] == found[1]


def test_the_loss_of_f_is_undiluted(built: Path, quick: TrainConfig, tmp_path: Path) -> None:
    trainer = make_trainer(quick, built, tmp_path / "run", device="cpu")
    parts, batch = begin(trainer, 0)
    with torch.no_grad():
        painted = paint_batch(parts.stage, parts.net, editing_of(trainer).frozen_nets(parts.stage), batch)
    assert torch.equal(painted.sketch, batch.sketch)
    values = train_once(trainer, parts, batch)
    expected = float((painted.photo - batch.photo).abs().mean())
    assert values["reconstruction"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("task", ["edit", "synthesis"])
def test_one_batch_can_be_overfitted(built: Path, quick: TrainConfig, tmp_path: Path, task: str) -> None:
    config = replace(quick, task=task, learning_rate=4e-3)
    trainer = make_trainer(config, built, tmp_path / "run", device="cpu")
    for index, steps in ((1, 25), (0, 12)):
        parts, batch = begin(trainer, index)
        losses = [train_once(trainer, parts, batch)["reconstruction"] for _ in range(steps)]
        assert losses[-1] < 0.6 * losses[0], (parts.stage.name, losses)


def test_a_broken_loss_stops_before_it_reaches_the_weights(built: Path, quick: TrainConfig, tmp_path: Path) -> None:
    trainer = make_trainer(quick, built, tmp_path / "run", device="cpu")
    parts, batch = begin(trainer, 1)
    own, discriminator = state_of(parts.unwrapped), dict(parts.unwrapped_discriminator.named_parameters())
    weights = {key: value.detach().clone() for key, value in discriminator.items()}
    photo = batch.photo.clone()
    photo[0, 0, 0, 0] = float("nan")
    with pytest.raises(DivergedError, match="discriminator_real"):
        train_once(trainer, parts, replace(batch, photo=photo))
    assert not changed(parts.unwrapped, own)
    assert all(torch.equal(weights[key], value) for key, value in discriminator.items())


def test_the_discriminator_works_in_bf16() -> None:
    class Half:
        mixed_precision = "bf16"

        def autocast(self) -> torch.autocast:
            return torch.autocast("cpu", dtype=torch.bfloat16)

    class Full:
        mixed_precision = "no"

        def autocast(self) -> nullcontext[None]:
            return nullcontext()

    discriminator = PatchDiscriminator(DiscriminatorConfig(7, 4, 4, 3))
    initialise_weights(discriminator, 0, "critic")
    images = torch.rand(2, 7, 64, 64)
    scores = discriminate(discriminator.eval(), discriminator, images, Half())  # type: ignore[arg-type]
    assert scores.dtype == torch.float32
    scores.mean().backward()
    assert all(value.grad is not None for value in discriminator.parameters())
    wanted = discriminate(discriminator, discriminator, images, Full())  # type: ignore[arg-type]
    assert torch.equal(wanted, discriminator(images)), "nothing is changed in fp32"
    assert torch.allclose(scores, wanted, atol=0.02 * float(wanted.detach().abs().max()))


def scaled(scale: float) -> Accelerator:
    """As in fp16 on a GPU: losses are multiplied by a scale that falls where gradients overflow."""
    accelerator = Accelerator(cpu=True)
    accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    return accelerator


def test_a_scaled_loss_takes_the_same_step() -> None:
    found = []
    for accelerator in (Accelerator(cpu=True), scaled(1024.0)):
        weight = torch.nn.Parameter(torch.tensor([3.0]))
        optimiser = torch.optim.SGD([weight], 0.1)
        values = update_weights(optimiser, (weight**2).sum(), {"term": weight.sum()}, "net", accelerator)
        found.append((float(weight.detach()), values))
    assert found[0] == found[1]
    assert found[0][1] == {"term": 3.0, "net_gradient": 6.0}


def test_a_gradient_that_overflows_lowers_the_scale_and_leaves_the_weights_alone() -> None:
    accelerator, weight = scaled(2.0**127), torch.nn.Parameter(torch.tensor([3.0]))
    assert accelerator.scaler is not None
    optimiser = torch.optim.SGD([weight], 0.1)
    values = update_weights(optimiser, (weight**2).sum(), {"term": weight.sum()}, "net", accelerator)
    assert float(weight.detach()) == 3.0
    assert values == {"term": 3.0, "net_gradient": 0.0}
    assert accelerator.scaler.get_scale() == 2.0**126
    for low, loss in ((scaled(1024.0), (weight * float("nan")).sum()), (scaled(1.0), (weight - 3).abs().sqrt().sum())):
        with pytest.raises(DivergedError):
            update_weights(optimiser, loss, {"term": loss}, "net", low)
        assert float(weight.detach()) == 3.0


def test_the_scale_of_the_loss_is_saved_and_restored(built: Path, quick: TrainConfig, tmp_path: Path) -> None:
    def trainer() -> Trainer:
        made = make_trainer(quick, built, tmp_path / "run", device="cpu")
        made.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        return made

    first = trainer()
    parts, average = first._begin_stage(first.stages[0])
    assert first.accelerator.scaler is not None
    first.accelerator.scaler.scale(torch.ones(()))
    first.accelerator.scaler.update(64.0)
    first._save(parts, average)
    second = trainer()
    second._begin_stage(second.stages[0])
    assert second.accelerator.scaler is not None
    assert second.accelerator.scaler.get_scale() == 64.0


def test_a_precision_that_the_device_has_not_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for precision in ("fp16", "fp32-winograd", "fp8"):
        with pytest.raises(UsageError, match="precision"):
            make_accelerator("cpu", precision)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla T4")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    with pytest.raises(UsageError, match="Tesla T4 has no bf16; use --precision fp32, or fp16 to train"):
        check_precision("bf16", torch.device("cuda", 0))
