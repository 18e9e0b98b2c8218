"""What one set of networks paints against another, photo by photo: the bars of the networks of 256 px.

    dps predict BUILT BEFORE --masks dps --levels 0 --weights OLD
    dps predict BUILT AFTER --masks dps --levels 0
    python tests/benchmarks/network_quality.py BUILT BEFORE AFTER [--masks dps] [--before-level 0] [--level 0]
        [--real '*ffhq*'] [--out FILE]

Both hold `dps/l0/ID.png`. In the hole: PSNR, `hedps`, sharpness (deviation of the Laplacian over the truth's),
power at the period of 2, 4 and 8 px over its neighbours, and over the truth's; `fd_hed` of the composites;
a paired Wilcoxon test of `hedps`, of all photos, of those whose ID matches `--real`, and of the others.
"""

from __future__ import annotations

import argparse
import json
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import wilcoxon
from torch import Tensor

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from dpsdata import EditDataset  # noqa: E402
from dpsdata.hed import load_hed_scorer  # noqa: E402
from dpsdata.images.codec import read_photo  # noqa: E402
from dpseval.metrics import FrechetDistance  # noqa: E402
from models.training.engine.validation import grid_power, hed_distance, hole_psnr, sharpness_ratio  # noqa: E402

Rows = dict[str, NDArray[np.float64]]


def measure(data: EditDataset, folder: Path, periods: tuple[int, ...] = (2, 4, 8)) -> tuple[Rows, float]:
    """Figures of the PNGs of a folder by name, in the order of the dataset, and `fd_hed`."""
    scorer = load_hed_scorer().requires_grad_(False)
    frechet = FrechetDistance()
    found: dict[str, list[Tensor]] = {}
    for sample in data:
        truth, mask = sample["photo"][None], sample["mask"][None].float()
        pixels = torch.tensor(read_photo(folder / f"{sample['id']}.png"))
        photo = torch.where(mask > 0, pixels.permute(2, 0, 1)[None].float() / 127.5 - 1, truth)
        frechet.update(photo, truth, mask)
        values = {
            "hole_psnr": hole_psnr(photo, truth, mask),
            "hedps": hed_distance(scorer, photo, truth, mask),
            "sharpness": sharpness_ratio(photo, truth, mask),
        }
        for period in periods:
            values[f"grid_{period}px"] = grid_power(photo, mask, (period,))
            values[f"grid_{period}px_of_truth"] = grid_power(truth, mask, (period,))
        for name, value in values.items():
            found.setdefault(name, []).append(value)
    return {name: torch.cat(parts).double().numpy() for name, parts in found.items()}, float(frechet.compute())


def compare(before: Rows, after: Rows, chosen: NDArray[np.bool_]) -> dict[str, Any]:
    """Means of both, and the paired test of `hedps`."""
    gain = after["hedps"][chosen] - before["hedps"][chosen]
    return {
        "photos": int(chosen.sum()),
        "before": {name: round(float(values[chosen].mean()), 4) for name, values in before.items()},
        "after": {name: round(float(values[chosen].mean()), 4) for name, values in after.items()},
        "hedps_difference": round(float(gain.mean()), 4),
        "hedps_p": float(f"{wilcoxon(gain).pvalue:.2g}"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("built", type=Path)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--masks", default="dps")
    parser.add_argument("--split", default="test")
    parser.add_argument("--before-level", default="0")
    parser.add_argument("--level", default="0")
    parser.add_argument("--real", default="*ffhq*")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    data = EditDataset(asked.built, asked.split, asked.masks)
    ids = [sample["id"] for sample in data]
    before, before_fd = measure(data, asked.before / f"dps/l{asked.before_level}")
    after, after_fd = measure(data, asked.after / f"dps/l{asked.level}")
    is_real = np.array([fnmatchcase(name, asked.real) for name in ids])
    groups = {"all": np.ones(len(ids), np.bool_), "real": is_real, "synthetic": ~is_real}
    result: dict[str, Any] = {name: compare(before, after, which) for name, which in groups.items() if which.any()}
    result["fd_hed"] = {"before": before_fd, "after": after_fd, "ratio": after_fd / before_fd}
    text = json.dumps(result, indent=2) + "\n"
    if asked.out:
        asked.out.write_text(text, encoding="utf-8")
    print(text, end="")


if __name__ == "__main__":
    main()
