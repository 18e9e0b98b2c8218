"""How much better than a flat colour exported weights fill holes."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dpsdata.dataset.torch_dataset import EditDataset
from models.networks.editing_net import EditingNet
from models.training.engine.validation import fill_mean_color, hole_psnr

LEVELS = (0.0, 0.5, 1.0)


@dataclass(frozen=True)
class Assessment:
    """Mean PSNR over the holes of a dataset, in dB, at one level.

    Attributes:
        hole_psnr_db: of F's photo.
        mean_color_psnr_db: of the mean colour of the known pixels.
    """

    hole_psnr_db: float
    mean_color_psnr_db: float

    @property
    def gain_db(self) -> float:
        """How much better the photo is."""
        return self.hole_psnr_db - self.mean_color_psnr_db


@torch.no_grad()
def assess_net(net: EditingNet, data: EditDataset, levels: tuple[float, ...] = LEVELS) -> dict[float, Assessment]:
    """Score an editing net on a dataset, with its masks and thin sketches, by level.

    Args:
        net: for editing, in eval mode on the CPU, at the size of the dataset.
        data: photos, thin sketches and masks.
        levels: refinement levels in [0, 1].
    """
    found: dict[float, tuple[list[float], list[float]]] = {level: ([], []) for level in levels}
    for index in range(len(data)):
        sample = data[index]
        photo, sketch, mask = sample["photo"][None], sample["sketch"][None], sample["mask"][None]
        flat = float(hole_psnr(fill_mean_color(photo, mask), photo, mask))
        for level, (scores, flats) in found.items():
            result = net(photo, sketch, mask, level).inpainter_photo
            scores.append(float(hole_psnr(result, photo, mask)))
            flats.append(flat)
    return {
        level: Assessment(sum(scores) / len(scores), sum(flats) / len(flats))
        for level, (scores, flats) in found.items()
    }
