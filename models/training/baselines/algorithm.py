"""The trainings of DeepFillv2 and SC-FEGAN as the loop sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from models.baselines.deepfillv2 import DeepFillv2, DeepFillv2Config
from models.baselines.loading import load_deepfillv2, load_scfegan, write_network
from models.baselines.patch_discriminator import SNPatchDiscriminator
from models.baselines.scfegan import ScFegan
from models.baselines.tensorflow.operators import initialise_glorot
from models.methods.registry import find_method
from models.methods.weights import find_method_weights
from models.training.baselines.batch import ColorStrokes, draw_baseline_sheet, prepare_baseline_batch, validate_baseline
from models.training.baselines.config import (
    BaselineStage,
    BaselineTrainConfig,
    list_baseline_differences,
    plan_baseline_stage,
)
from models.training.baselines.steps import draw_blends, train_deepfill, train_scfegan
from models.training.engine.algorithm import Algorithm
from models.training.engine.batches import BatchPixels
from models.training.engine.initial_weights import InitialNetworks, describe_training
from models.training.engine.losses import PerceptualName, StageParts, load_perceptual
from models.training.engine.validation import ValidationSet

if TYPE_CHECKING:
    from accelerate import Accelerator

_LICENCE = (
    "Trained by this project's own code from first weights of its own, so nothing of the official CC BY-NC files is "
    "in it; the photos that it was trained on set the limits of its use."
)


class BaselineAlgorithm(Algorithm[BaselineStage]):
    """Trains DeepFillv2, with or without a sketch, or SC-FEGAN.

    Args:
        config: what is trained and how.
        device: where.

    Source: Jo and Park, SC-FEGAN, ICCV 2019, section 3; Yu et al., Free-Form Image Inpainting, ICCV 2019, section 3.
    """

    def __init__(self, config: BaselineTrainConfig, device: torch.device) -> None:
        self.config = config
        self._net = _build(config)
        initialise_glorot(self._net, config.seed, config.method)
        super().__init__(device, (plan_baseline_stage(config),), {"network": self._net})
        is_scfegan = config.method == "scfegan"
        self.strokes = ColorStrokes(config.resolution, config.seed, config.color_share) if is_scfegan else None

    def use_perceptual(self, name: PerceptualName) -> None:
        """Load the features of SC-FEGAN's perceptual and style loss; DeepFillv2 has neither."""
        if self.config.method == "scfegan":
            self.perceptual = load_perceptual(name, (1.0, 1.0)).to(self.device)

    def read_weights(self, source: str) -> InitialNetworks:
        """The network from exported weights, or from official ones."""
        found = find_method_weights(find_method(self.config.method), source)
        net = load_scfegan(found.path) if self.config.method == "scfegan" else load_deepfillv2(found.path)
        metadata = describe_training(found.card.get("preset"), found.images_seen, found.licence, found.sha256)
        return InitialNetworks(str(found.path), {"network": net.state_dict()}, metadata)

    def network(self, stage: BaselineStage) -> nn.Module:
        """The one network."""
        return self._net

    def make_ema_copy(self, stage: BaselineStage) -> nn.Module:
        """The network once more."""
        return _build(self.config)

    def make_discriminator(self, stage: BaselineStage) -> nn.Module:
        """SN-PatchGAN."""
        discriminator = SNPatchDiscriminator(self.config.discriminator)
        initialise_glorot(discriminator, self.config.seed, f"critic:{stage.name}")
        return discriminator

    def step(
        self, parts: StageParts[BaselineStage], pixels: BatchPixels, step: int, accelerator: Accelerator
    ) -> dict[str, float]:
        """Draw guides and train; see `train_deepfill` and `train_scfegan`."""
        batch = prepare_baseline_batch(pixels, self.config, self.strokes, self.device)
        if self.config.method != "scfegan":
            return train_deepfill(parts, batch, self.config.deepfill_losses, accelerator)
        blends = draw_blends(pixels.keys, self.config.seed)
        return train_scfegan(parts, batch, blends, self.config.scfegan_losses, self.loaded_perceptual(), accelerator)

    def validate(self, stage: BaselineStage, net: nn.Module, data: ValidationSet) -> dict[str, float]:
        """Mean PSNR in the hole in dB."""
        return validate_baseline(data, self.config, net, self.strokes, self.device)

    def draw_sheet(self, stage: BaselineStage, net: nn.Module, data: ValidationSet) -> NDArray[np.uint8]:
        """Truth, what is known, the guides, the results."""
        return draw_baseline_sheet(data, self.config, net, self.strokes, self.device)

    def export(self, folder: Path, metadata: Mapping[str, Any]) -> None:
        """Write `METHOD.safetensors` and its card."""
        folder.mkdir(parents=True, exist_ok=True)
        config = self.config
        card = {
            "method": config.method,
            "origin": "retrained",
            "preset": config.name,
            "seed": config.seed,
            "data_px": config.resolution,
            "network_px": config.network_px,
            "sketch": "none" if config.method == "deepfillv2" else "smooth_sketch",
            "licence": (metadata.get("begun_with") or {}).get("licence") or _LICENCE,
            "training": asdict(config),
            "differences": self.list_differences(),
        }
        write_network(self._weights_path(folder), self._net, {**metadata, **card})

    def list_differences(self) -> list[str]:
        """Every difference from the published recipe."""
        return list_baseline_differences(self.config, self.perceptual_name)

    def next_command(self, folder: Path) -> str:
        """How to predict with the weights."""
        return (
            f"dps predict BUILT OUT --masks FAMILY --method {self.config.method} --weights {self._weights_path(folder)}"
        )

    def _weights_path(self, folder: Path) -> Path:
        return folder / f"{self.config.method}.safetensors"


def _build(config: BaselineTrainConfig) -> DeepFillv2 | ScFegan:
    sizes = config.network
    return DeepFillv2(sizes) if isinstance(sizes, DeepFillv2Config) else ScFegan(sizes)
