"""Export of a trained compact net: BatchNorm folded, half precision, safetensors with a card."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch

from dpsdata.hed.bsds.train import HEDTrainConfig
from dpsdata.hed.network import HED, fold_batch_norm
from dpsdata.weights.store import write_safetensors


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
