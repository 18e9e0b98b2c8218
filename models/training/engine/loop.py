"""The training from its first step to the exported weights: stages, averaging, checkpoints, reports."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from tqdm import tqdm

from dpsdata.contracts import SCHEMA_VERSION, UsageError
from dpsdata.dataset.manifest import read_dataset
from dpsdata.runtime.device import check_precision, choose_device
from dpsdata.runtime.files import check_is_local, lock_folder
from models.training.engine import state as run_state
from models.training.engine.algorithm import Algorithm
from models.training.engine.batches import BatchSource, check_share, open_training_photos
from models.training.engine.config import LoopConfig, learning_rate_at
from models.training.engine.losses import (
    DivergedError,
    PerceptualName,
    StageParts,
    StagePlan,
    choose_perceptual,
    images_at,
)
from models.training.engine.restoring import restore_run
from models.training.engine.state import Position, RunReport
from models.training.engine.validation import ValidationSet

if TYPE_CHECKING:
    from accelerate import Accelerator


_PRECISIONS = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}


def make_accelerator(device: str = "auto", precision: str = "fp32") -> Accelerator:
    """An accelerator for this process; under `accelerate launch` each process gets its own GPU.

    Args:
        device: `auto`, `cpu` or `cuda`.
        precision: `fp32`, `bf16`, or `fp16` with a loss scale, for a GPU without bf16.

    Raises:
        UsageError: the device or precision is unknown or not there.
    """
    from accelerate import Accelerator

    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"device: expected auto, cpu or cuda, got {device!r}; choose a GPU by CUDA_VISIBLE_DEVICES")
    where = choose_device(device)
    if precision not in _PRECISIONS:
        raise UsageError(f"precision: expected one of {', '.join(_PRECISIONS)}, got {precision!r}")
    if precision != "fp16":
        check_precision(precision, where)
    elif where.type != "cuda":
        raise UsageError(f"precision: fp16 is for CUDA, not for {where}; use --precision fp32 or bf16")
    try:
        return Accelerator(cpu=where.type == "cpu", mixed_precision=_PRECISIONS[precision])
    except ValueError as error:
        raise UsageError(
            f"this Python process began a training with another device or precision ({str(error).splitlines()[0]}); "
            "start a new one"
        ) from None


def wrap_network(net: nn.Module, accelerator: Accelerator) -> nn.Module:
    """The network as several processes train it together; unchanged where there is one process."""
    if accelerator.num_processes == 1:
        return net
    if accelerator.device.type == "cuda":  # statistics over the whole batch, as one process has them
        net = nn.SyncBatchNorm.convert_sync_batchnorm(net)  # type: ignore[no-untyped-call]
    wrapped: nn.Module = accelerator.prepare_model(net)
    return wrapped


@torch.no_grad()
def ema_update(average: nn.Module, net: nn.Module, decay: float) -> None:
    """Move averaged weights and buffers in place towards those of a network: decay * average + (1 - decay) * net."""
    current = net.state_dict()
    kept = average.state_dict()
    floats = [name for name, value in kept.items() if value.is_floating_point()]
    torch._foreach_lerp_([kept[name] for name in floats], [current[name] for name in floats], 1 - decay)
    for name in kept.keys() - set(floats):
        kept[name].copy_(current[name])


@torch.no_grad()
def broadcast_from_rank0(net: nn.Module, accelerator: Accelerator) -> None:
    """Give every process the tensors of the first one: BatchNorm's statistics differ between processes."""
    if accelerator.num_processes > 1:
        for value in net.state_dict().values():
            torch.distributed.broadcast(value, 0)


_BLIND = 0.6  # pairs in which a discriminator tells the true photo; half of them by chance
_TELL_SECONDS = 60.0


class Trainer:
    """Trains networks from a built folder; `run` goes on from the last checkpoint in `out` where there is one.

    Args:
        config: what is trained and how.
        data: a folder that `dpsdata build` made at the preset's resolution, or its address.
        out: run folder: `card.json`, `stats.jsonl`, `samples/`, `state.pt`, `light.safetensors`,
            `best.safetensors`, `weights/`.
        make_algorithm: what is trained, from the config and the device.
        device: `auto`, `cpu` or `cuda`; with several processes Accelerate gives each its own.
        precision: see `make_accelerator`.
        perceptual: features of the perceptual loss; None for VGG19 where installed, else the bundled compact HED.
        init_from: networks to begin with, of the same sizes or for half the side: a run of another config (its folder
            or its `light.safetensors`), a folder of exported weights, `bundled` or `official`. A run's discriminator is
            taken too, where the training has one stage and that run was stopped in the stage of this name.
        stop_after: end as soon as this many images were seen, all stages together, with the averaged weights of that
            moment; the same command with a larger number, or without one, goes on. The last stage must have begun; a
            rate that falls does so towards the end of the whole stage, not towards this stop.
        tensorboard: also write event files.
        checkpoint_seconds: at most about this much work is lost by a kill.

    Raises:
        UsageError: the dataset, device or precision does not fit, or the run was begun with another config.
        MissingError: no dataset, or a checkpoint is damaged.
    """

    def __init__(
        self,
        config: LoopConfig,
        data: Path,
        out: Path,
        *,
        make_algorithm: Callable[[Any, torch.device], Algorithm[Any]],
        device: str = "auto",
        precision: str = "fp32",
        perceptual: PerceptualName | None = None,
        init_from: str | os.PathLike[str] | None = None,
        stop_after: int | None = None,
        tensorboard: bool = False,
        checkpoint_seconds: float = 600.0,
    ) -> None:
        check_is_local(out)
        self.config, self.out = config, out
        self.accelerator = make_accelerator(device, precision)
        self.device = self.accelerator.device
        self.store, held_out = open_training_photos(data, config)
        self._validation = ValidationSet(self.store if held_out is None else held_out, config)
        self.algorithm = make_algorithm(config, self.device)
        self.stages = self.algorithm.stages
        self._checkpoint_seconds = checkpoint_seconds
        self._is_interrupted = False
        self._stop_after = self._check_stop(stop_after)
        for stage in self.stages:
            check_share(stage, self.accelerator.num_processes)
        typed = None if init_from is None else os.fspath(init_from)
        begun = restore_run(out, config, self.store.root_hash, self.algorithm, typed)
        self.position, self.results = begun.position, dict(begun.results)
        self._sums, self._sum_count = Counter(begun.sums), begun.sum_count
        self._discriminator: dict[str, Any] = dict(begun.discriminator)
        self.begun_with = begun.begun_with
        self.algorithm.use_perceptual(begun.perceptual or perceptual or config.features or choose_perceptual())
        self._report = RunReport(out, self.accelerator.is_main_process, tensorboard)
        self._metadata: dict[str, Any] = {
            "perceptual": self.algorithm.perceptual_name,
            "dataset": {
                "root_hash": self.store.root_hash,
                "photos": len(self.store),
                "held_out": held_out is not None,
                "licence_note": read_dataset(self.store.folder).get("licence_note"),
            },
            "device": self.device.type,
            "precision": precision,
            "process_count": self.accelerator.num_processes,
            "accelerate": version("accelerate"),
            "begun_with": self.begun_with,
        }

    @property
    def images_seen(self) -> int:
        """Images of this run so far, over all of its stages."""
        return images_at(self.stages, self.position.stage, self.position.step)

    def _check_stop(self, stop_after: int | None) -> int | None:
        before = images_at(self.stages, len(self.stages) - 1)
        if stop_after is not None and stop_after <= before:
            raise UsageError(
                f"stop-after: expected more than {before:,} images, since the last stage, {self.stages[-1].name}, "
                f"begins there; got {stop_after:,}"
            )
        return stop_after

    def run(self) -> Path:
        """Train to the end and export the averaged networks.

        Ctrl-C and SIGTERM end the run after the step under way, with a checkpoint.

        Returns:
            The folder of weights.

        Raises:
            KeyboardInterrupt: it was interrupted; what was done is saved.
            EnvironmentFailure: another training writes into the run folder.
            DivergedError: a loss or gradient is not finite any more.
            MissingError: a photo is missing or has another size.
        """
        lock = lock_folder(self.out, self.out / ".lock", "training") if self._is_main else nullcontext()
        with lock, self._saved_on_signals():
            return self._run()

    @property
    def _is_main(self) -> bool:
        return bool(self.accelerator.is_main_process)

    def _run(self) -> Path:
        self._report.begin_at(self.position)
        self._write_card({"status": "running"})
        if self._is_stopped and "average" in self._discriminator:  # stopped before; its networks are those that go on
            self.algorithm.network(self.stages[-1]).load_state_dict(self._discriminator["average"])
        while self.position.stage < len(self.stages) and not self._is_stopped:
            self._run_stage(self.stages[self.position.stage])
        folder = self.out / run_state.WEIGHTS_FOLDER
        if self.accelerator.is_main_process:
            before = (self.begun_with or {"images_seen": 0}).get("images_seen")
            seen = {"images_seen": run_state.count_images(self.images_seen, before)}
            self.algorithm.export(folder, self._metadata | {"results": self.results} | seen)
        status = "stopped" if self._is_stopped else "done"
        self._write_card({"status": status, "results": self.results, "images_seen": self.images_seen})
        self.accelerator.wait_for_everyone()
        return folder

    @contextmanager
    def _saved_on_signals(self) -> Iterator[None]:
        """The first Ctrl-C or SIGTERM waits for the step under way; the second one does not."""

        def interrupt(number: int, _: object) -> None:
            self._is_interrupted = True
            signal.signal(number, before[signal.Signals(number)])

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @property
    def _is_stopped(self) -> bool:
        is_on = self._stop_after is not None and self.position.stage == len(self.stages) - 1
        return is_on and self.images_seen >= (self._stop_after or 0)

    def _write_card(self, metadata: dict[str, Any]) -> None:
        self._report.write_card(self.config, self.algorithm.list_differences(), self._metadata | metadata)

    def _begin_stage(self, stage: StagePlan) -> tuple[StageParts[Any], nn.Module]:
        net = self.algorithm.network(stage)
        discriminator = self.algorithm.make_discriminator(stage).to(self.device).train()
        average = self.algorithm.make_ema_copy(stage).to(self.device).requires_grad_(False).eval()
        average.load_state_dict(net.state_dict())
        net.requires_grad_(True).train()
        for part in self.algorithm.idle_parts(stage):
            part.requires_grad_(False)
        optimisers = [
            torch.optim.Adam(part.parameters(), self.config.learning_rate, betas=self.config.betas, fused=True)
            for part in (net, discriminator)
        ]
        restored, self._discriminator = self._discriminator, {}
        if "discriminator" in restored:
            source = self.out / run_state.STATE_FILE
            # The discriminator of another preset may have another width; then a new one learns.
            if self.begun_with is None or run_state.fits(discriminator, restored["discriminator"]):
                run_state.restore(discriminator, restored["discriminator"], source)
            run_state.restore(average, restored["average"], source)
        if self.accelerator.scaler is not None and "loss_scale" in restored:
            self.accelerator.scaler.load_state_dict(restored["loss_scale"])
        if "optimiser" in restored:
            optimisers[0].load_state_dict(restored["optimiser"])
            optimisers[1].load_state_dict(restored["discriminator_optimiser"])
        wrapped = (wrap_network(net, self.accelerator), wrap_network(discriminator, self.accelerator))
        return StageParts(stage, *wrapped, net, discriminator, *optimisers), average

    def _run_stage(self, stage: StagePlan) -> None:
        parts, average = self._begin_stage(stage)
        share = (self.accelerator.process_index, self.accelerator.num_processes)
        source = BatchSource(self.store, stage, self.config.seed, self.config.mask_family, share, self.config.sampling)
        progress = tqdm(
            source.batches(self.position.step),
            desc=stage.name,
            initial=self.position.step,
            total=stage.step_count,
            unit="step",
            disable=None if self.accelerator.is_main_process else True,
        )
        saved_at = told_at = time.monotonic()
        for pixels in progress:
            step = self.position.step
            lost_at = self.position.optimiser_lost_at
            since = None if lost_at < 0 else (step - lost_at) * stage.batch_size
            rate = learning_rate_at(self.config, since, (stage.step_count - step) * stage.batch_size)
            for optimiser in (parts.optimiser, parts.discriminator_optimiser):
                for group in optimiser.param_groups:
                    group["lr"] = rate
            try:
                values = self.algorithm.step(parts, pixels, step, self.accelerator)
            except DivergedError as error:
                raise DivergedError(
                    f"{stage.name}, step {step}: {error}; the last checkpoint in {self.out} is whole: continue from it "
                    "with --precision fp32, or start over with a smaller learning rate"
                ) from None
            ema_update(average, parts.unwrapped, self._decay(stage, step))
            self._sums.update(values)
            self._sum_count += 1
            self.position = self.position._replace(step=step + 1)
            self._report_step(parts, average)
            is_last = self.position.step == stage.step_count
            # Without a terminal there is no bar, and hours of silence look like a process that hangs.
            if self._is_main and progress.disable and time.monotonic() - told_at >= _TELL_SECONDS:
                tqdm.write(f"{stage.name}: step {self.position.step:,} of {stage.step_count:,}")
                told_at = time.monotonic()
            is_due = time.monotonic() - saved_at >= self._checkpoint_seconds
            if (is_due or self._is_stopped or self._is_interrupted) and not is_last:
                self._save(parts, average)
                saved_at = time.monotonic()
            if self._is_interrupted and not is_last:
                progress.close()
                self._write_card({"status": "interrupted"})
                if self._is_main:
                    tqdm.write(f"saved {self.out / run_state.STATE_FILE}: {self.images_seen:,} images seen")
                raise KeyboardInterrupt
            if self._is_stopped and not is_last:
                self._take_average(parts, average)
                return
        self._take_average(parts, average)
        # Where the networks are trained ones, the new optimiser of every stage must not tear them apart.
        self.position = Position(self.position.stage + 1, 0, -1 if self.begun_with is None else 0)
        self._sums, self._sum_count = Counter(), 0
        self._save(None, None)

    def _take_average(self, parts: StageParts[Any], average: nn.Module) -> None:
        broadcast_from_rank0(average, self.accelerator)
        parts.unwrapped.load_state_dict(average.state_dict())
        parts.unwrapped.requires_grad_(False).eval()

    def _decay(self, stage: StagePlan, step: int) -> float:
        settled = 0.5 ** (stage.batch_size / self.config.ema_halflife_images)
        return float(min(settled, (1 + step) / (10 + step)))

    def _report_step(self, parts: StageParts[Any], average: nn.Module) -> None:
        stage: StagePlan = parts.stage
        step = self.position.step
        images, before = step * stage.batch_size, (step - 1) * stage.batch_size
        is_last = step == stage.step_count

        def is_due(every: int) -> bool:
            return is_last or images // every > before // every

        if is_due(self.config.log_images):
            means = {name: total / self._sum_count for name, total in self._sums.items()}
            self._report.add_line("train", stage.name, self.position, images, means)
            if is_last and means.get("pair_accuracy", 1.0) < _BLIND and self._is_main:
                tqdm.write(
                    f"{stage.name}: the discriminator found the true photo in {means['pair_accuracy']:.0%} of the last "
                    "pairs, hardly better than chance, so it taught nothing; see `pair_accuracy` in stats.jsonl"
                )
            self._sums, self._sum_count = Counter(), 0
        is_wanted = is_due(self.config.validation_images) or self._is_stopped
        if is_wanted and self.accelerator.is_main_process:
            found = self.algorithm.validate(stage, average, self._validation)
            self._report.add_line("validation", stage.name, self.position, images, found)
            self._report.add_sheet(stage.name, images, self.algorithm.draw_sheet(stage, average, self._validation))
            self.results |= {f"{stage.name}_{name}": round(value, 4) for name, value in found.items()}
            self._keep_best(parts, average, found, images)

    def _keep_best(self, parts: StageParts[Any], average: nn.Module, found: dict[str, float], images: int) -> None:
        """Keep the networks of the validation with the lowest `hedps` of a stage; `--init-from` takes them."""
        value = found.get("hedps", found.get("hedps_l0"))
        name = f"{parts.stage.name}_best"
        if value is None or value >= self.results.get(f"{name}_hedps", float("inf")):
            return
        self.results |= {f"{name}_hedps": round(value, 4), f"{name}_images": images}
        nets = {**self.algorithm.nets, "discriminator": parts.unwrapped_discriminator, "average": average}
        run_state.write_light(self.out / run_state.BEST_FILE, nets, self._describe_state(average))

    def _save(self, parts: StageParts[Any] | None, average: nn.Module | None) -> None:
        if not self.accelerator.is_main_process:
            return
        nets = dict(self.algorithm.nets)
        optimisers: dict[str, Any] = {}
        if parts is not None and average is not None:
            nets |= {"discriminator": parts.unwrapped_discriminator, "average": average}
            optimisers = {
                "optimiser": parts.optimiser.state_dict(),
                "discriminator_optimiser": parts.discriminator_optimiser.state_dict(),
            }
            if self.accelerator.scaler is not None:
                optimisers["loss_scale"] = self.accelerator.scaler.state_dict()
        card = self._describe_state(average)
        rest = {"results": self.results, "sums": dict(self._sums), "sum_count": self._sum_count}
        tensors = {name: net.state_dict() for name, net in nets.items()}
        run_state.write_state(self.out / run_state.STATE_FILE, {**card, **rest, **tensors, **optimisers})
        run_state.write_light(self.out / run_state.LIGHT_FILE, nets, card)

    def _describe_state(self, average: nn.Module | None) -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            "config": run_state.describe_config(self.config),
            "root_hash": self.store.root_hash,
            "perceptual": self.algorithm.perceptual_name,
            "position": list(self.position),
            "stage": None if average is None else self.stages[self.position.stage].name,
            "images_seen": self.images_seen,
            "begun_with": self.begun_with,
        }
