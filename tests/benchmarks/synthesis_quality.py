"""How near two sets of synthesis networks come to the photos whose sketches they are given, side by side.

python tests/benchmarks/synthesis_quality.py BUILT BEFORE AFTER [--level 0] [--split test] [--sheet FILE] [--out FILE]

BEFORE and AFTER are folders of weights, or `bundled`. All paint at their own size and are compared at that of BUILT:
`hedps` over the whole photo and in its middle (half of each side), paired, with a Wilcoxon test, and sharpness (the
standard deviation of the Laplacian over the truth's). The sheet shows sketch, BEFORE, AFTER of the first photos.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import wilcoxon

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from dpsdata.dataset.torch_dataset import EditDataset  # noqa: E402
from dpsdata.images.codec import tensor_to_photo, write_photo  # noqa: E402
from dpseval.metrics.hedps import HedScorer  # noqa: E402
from models.editing.editor import load_editor  # noqa: E402

SHOWN = 12


def sharpness(photo: NDArray[np.uint8]) -> float:
    return float(cv2.Laplacian(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY), cv2.CV_64F).std())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("built", type=Path)
    parser.add_argument("before")
    parser.add_argument("after")
    parser.add_argument("--level", type=float, default=0.0)
    parser.add_argument("--split", default="test")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    dataset, scorer = EditDataset(options.built, options.split), HedScorer(device="cpu")
    editors = [load_editor(name, task="synthesis") for name in (options.before, options.after)]
    size = dataset.size
    middle = np.zeros((size, size), np.bool_)
    middle[size // 4 : -size // 4, size // 4 : -size // 4] = True
    regions = {"full": np.ones_like(middle), "middle": middle}
    rows: list[list[list[float]]] = []
    sharp: list[list[float]] = []
    shown: list[NDArray[np.uint8]] = []
    for index in range(len(dataset) if options.limit is None else options.limit):
        sample = dataset[index]
        truth, lines = tensor_to_photo(sample["photo"][None])[0], sample["sketch"][0].numpy()
        sketch = np.where(lines > 0.5, 0, 255).astype(np.uint8)  # as a person draws: black on white
        made = [editor.predict_levels(sketch, None, [options.level])[0].photo for editor in editors]
        made = [np.asarray(cv2.resize(each, (size, size), interpolation=cv2.INTER_CUBIC), np.uint8) for each in made]
        maps = scorer.forward(np.stack([truth, *made])).maps
        found = scorer.distances([stage[:1] for stage in maps], [stage[1:] for stage in maps], regions)
        rows.append([[each[region] for each in found] for region in ("full", "middle")])
        sharp.append([sharpness(each) / max(sharpness(truth), 1e-9) for each in made])
        if len(shown) < SHOWN:
            shown.append(np.concatenate([np.repeat(sketch[..., None], 3, 2), *made], axis=1))
    table = np.array(rows)
    report = {
        "photos": len(rows),
        "level": options.level,
        "split": options.split,
        "weights": [options.before, options.after],
    }
    for place, region in enumerate(("full", "middle")):
        before, after = table[:, place].T
        report[region] = {
            "before": round(float(before.mean()), 4), "after": round(float(after.mean()), 4),
            "difference": round(float((after - before).mean()), 4), "p": float(f"{wilcoxon(after, before).pvalue:.2g}"),
        }  # fmt: skip
    report["sharpness"] = [round(float(each), 3) for each in np.mean(sharp, axis=0)]
    print(json.dumps(report, indent=1))
    if options.out:
        options.out.write_text(json.dumps(report, indent=1) + "\n")
    if options.sheet:
        write_photo(options.sheet, np.concatenate(shown))


if __name__ == "__main__":
    main()
