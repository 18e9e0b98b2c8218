"""Training of a compact HED on BSDS500, on one CPU or one GPU, resumable."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from dpsdata.contracts import UsageError
from dpsdata.hed.bsds.data import CropSampler, LabelledPhoto
from dpsdata.hed.network import HED, HEDLogits, fold_batch_norm
from dpsdata.runtime.device import keyed_generator, keyed_seed
from dpsdata.weights.store import write_safetensors


@dataclass(frozen=True)
class Phase:
    """One part of the training: how many crops are seen, how large they are and how far the photo is scaled."""

    crop_count: int
    crop_px: int
    scale_low: float
    scale_high: float


@dataclass(frozen=True)
class HEDTrainConfig:
    """What is trained and how. Counted in crops seen, not in epochs.

    Attributes:
        name: preset name, written into the card; a name that starts with `scorer` marks the net as kept for scoring.
        width: channels of the first stage.
        phases: first small crops of shrunken photos (many images in little time, and the annotators
            agree better there), then crops at full scale.
        positive_votes: pixels marked by at least so many annotators are edges; fewer than that but
            at least one: ignored.
    """

    name: str
    width: int
    seed: int
    phases: tuple[Phase, ...]
    batch_size: int = 8
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    warmup_crops: int = 1600
    ema_decay: float = 0.998
    positive_votes: int = 3

    def __post_init__(self) -> None:
        if self.batch_size < 1 or not self.phases or min(phase.crop_count for phase in self.phases) < self.batch_size:
            raise UsageError("train-hed: every phase needs at least one batch of crops")

    @property
    def steps(self) -> tuple[Phase, ...]:
        """The phase of every optimiser step, in order."""
        return tuple(phase for phase in self.phases for _ in range(phase.crop_count // self.batch_size))


PRESETS = {
    config.name: config
    for config in (
        HEDTrainConfig("compact", 12, 11, (Phase(36_000, 160, 0.35, 0.75), Phase(16_000, 224, 0.6, 1.2))),
        HEDTrainConfig("judge", 8, 12, (Phase(32_000, 160, 0.35, 0.75), Phase(14_000, 224, 0.6, 1.2))),
        HEDTrainConfig("smoke", 4, 13, (Phase(64, 64, 0.35, 0.75),), warmup_crops=16),
    )
}


def balanced_edge_loss(logits: HEDLogits, labels: Tensor) -> Tensor:
    """HED's class-balanced cross entropy, summed over the five sides and the fusion.

    Args:
        logits: fused (N, 1, H, W) and sides (N, 5, H, W).
        labels: (N, 1, H, W) float: 1 edge, 0 background, 0.5 ignored.

    Returns:
        A scalar: per pixel and image, edges weighted by the share of background and the other way round.

    Source: Xie and Tu, ICCV 2015, equation 2.
    """
    outputs = torch.cat([logits.fused, logits.sides], dim=1)
    positive, negative = (labels == 1).float(), (labels == 0).float()
    positive_count = positive.sum(dim=(1, 2, 3), keepdim=True)
    negative_count = negative.sum(dim=(1, 2, 3), keepdim=True)
    total = (positive_count + negative_count).clamp_min(1)
    weight = (positive * negative_count + negative * positive_count) / total
    loss = F.binary_cross_entropy_with_logits(outputs, positive.expand_as(outputs), reduction="none")
    return (loss * weight).sum() / (outputs.shape[0] * outputs.shape[2] * outputs.shape[3])


def learning_rate_at(step: int, config: HEDTrainConfig) -> float:
    """Linear warm-up, then cosine decay to 1 % of the peak."""
    warmup = max(1, config.warmup_crops // config.batch_size)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, len(config.steps) - warmup)
    return config.learning_rate * (0.01 + 0.99 * 0.5 * (1 + float(np.cos(np.pi * min(1.0, progress)))))


def initial_net(config: HEDTrainConfig) -> HED:
    """The untrained net of a config; the same weights for the same seed."""
    net = HED(config.width, "compact", batch_norm=True)
    generator = torch.Generator().manual_seed(keyed_seed(config.seed, "", "hed-init"))
    for name, tensor in net.named_parameters():
        with torch.no_grad():
            if tensor.dim() == 4 and name.startswith("stages"):
                tensor.normal_(0, (2 / (tensor.shape[0] * 9)) ** 0.5, generator=generator)
            elif tensor.dim() == 4 and name.startswith("sides"):
                tensor.normal_(0, 0.01, generator=generator)
            elif name == "fuse.weight":
                tensor.fill_(0.2)
            elif name.endswith("bias"):
                tensor.zero_()
    return net


class HEDTrainer:
    """Trains one net; `run` goes on from the last checkpoint in `out` where there is one.

    Args:
        config: see `HEDTrainConfig`.
        photos: photos with the boundaries of their annotators.
        out: run folder: `checkpoint.pt`, `stats.jsonl`, `config.json`.
        device: where to train.
        checkpoint_seconds: at most this much work is lost by a kill.
    """

    def __init__(
        self,
        config: HEDTrainConfig,
        photos: Sequence[LabelledPhoto],
        out: Path,
        device: torch.device,
        checkpoint_seconds: float = 120.0,
    ) -> None:
        self.config, self.out, self.device = config, out, device
        self.checkpoint_seconds = checkpoint_seconds
        self.sampler = CropSampler(photos, config.positive_votes)
        self.net = initial_net(config).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.ema = {key: value.detach().clone() for key, value in self.net.state_dict().items()}
        decayed = [p for p in self.net.parameters() if p.dim() == 4]
        plain = [p for p in self.net.parameters() if p.dim() != 4]
        self.optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}],
            lr=config.learning_rate,
        )
        self.step = 0
        self.seconds = 0.0

    @property
    def _checkpoint(self) -> Path:
        return self.out / "checkpoint.pt"

    def _save(self) -> None:
        state = {
            "config": json.dumps(asdict(self.config)),
            "net": self.net.state_dict(),
            "ema": self.ema,
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        temporary = self._checkpoint.with_suffix(".tmp")
        torch.save(state, temporary)
        temporary.replace(self._checkpoint)

    def _resume(self) -> None:
        if not self._checkpoint.exists():
            return
        state = torch.load(self._checkpoint, map_location=self.device, weights_only=True)
        if json.loads(state["config"]) != json.loads(json.dumps(asdict(self.config))):
            raise UsageError(f"{self._checkpoint} was trained with another config; choose another --out")
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.ema = dict(state["ema"])
        self.step, self.seconds = int(state["step"]), float(state["seconds"])

    def _batch(self, phase: Phase) -> tuple[Tensor, Tensor]:
        photos, labels = [], []
        for slot in range(self.config.batch_size):
            generator = keyed_generator(self.config.seed, str(self.step * self.config.batch_size + slot), "hed-crop")
            photo, label = self.sampler.crop(generator, phase.crop_px, phase.scale_low, phase.scale_high)
            photos.append(photo)
            labels.append(label)
        images = torch.from_numpy(np.stack(photos)).permute(0, 3, 1, 2).float()
        return images.to(self.device), torch.from_numpy(np.stack(labels))[:, None].to(self.device)

    def _update(self, phase: Phase) -> float:
        images, labels = self._batch(phase)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate_at(self.step, self.config)
        logits: HEDLogits = self.net(images)
        loss = balanced_edge_loss(logits, labels)
        if not torch.isfinite(loss):
            raise UsageError(f"train-hed: the loss is {float(loss)} at step {self.step}; lower the learning rate")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimizer.step()
        decay = min(self.config.ema_decay, (1 + self.step) / (10 + self.step))
        for key, value in self.net.state_dict().items():
            if value.is_floating_point():
                self.ema[key].lerp_(value, 1 - decay)
            else:
                self.ema[key].copy_(value)
        return float(loss.detach())

    def run(self) -> HED:
        """Train to the end; returns the averaged net (BatchNorm not yet folded), in eval mode."""
        self.out.mkdir(parents=True, exist_ok=True)
        (self.out / "config.json").write_text(json.dumps(asdict(self.config), indent=2) + "\n")
        self._resume()
        self.net.train()
        steps = self.config.steps
        losses: list[float] = []
        started = saved = time.monotonic()
        for phase in tqdm(steps[self.step :], initial=self.step, total=len(steps), disable=None, unit="step"):
            losses.append(self._update(phase))
            self.step += 1
            now = time.monotonic()
            if now - saved > self.checkpoint_seconds or self.step == len(steps):
                self.seconds += now - started
                started = saved = now
                self._save()
                self._log(sum(losses) / len(losses))
                losses = []
        result = HED(self.config.width, "compact", batch_norm=True)
        result.load_state_dict(self.ema)
        return result.eval()

    def _log(self, loss: float) -> None:
        row: dict[str, Any] = {
            "step": self.step,
            "crops_seen": self.step * self.config.batch_size,
            "loss": round(loss, 5),
            "learning_rate": learning_rate_at(self.step, self.config),
            "seconds": round(self.seconds, 1),
        }
        with (self.out / "stats.jsonl").open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(row) + "\n")


def export_net(net: HED, config: HEDTrainConfig, out: Path, seconds: float) -> Path:
    """Write `hed_NAME.safetensors` into a run folder.

    Args:
        net: a trained net with BatchNorm.
        config: what it was trained with; goes into the card, and a `scorer` is marked as kept for scoring.
        out: run folder.
        seconds: time that the training took.

    Returns:
        Path of the file; `load_hed` reads it (`load_hed_scorer` a scorer).
    """
    folded = fold_batch_norm(net)
    path = out / f"hed_{config.name}.safetensors"
    card = {
        "variant": folded.variant.name,
        "role": "judge" if config.name.startswith("judge") else "detector",
        "training": asdict(config),
        "seconds": round(seconds),
        "data": "BSDS500 train and val (300 photos)",
        "licence": "research use: the photos of BSDS500 are for non-commercial research and education",
    }
    tensors = {key: value.detach().cpu().to(torch.float16).contiguous() for key, value in folded.state_dict().items()}
    write_safetensors(path, tensors, card)
    return path
