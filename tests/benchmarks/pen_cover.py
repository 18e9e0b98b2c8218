"""How much of the hole a dilated sketch covers, by level, pen and kind of photo: what it covers, G cannot read.

python tests/benchmarks/pen_cover.py BUILT [--pen 21 --pen 13] [--real '*ffhq*'] [--split val] [--out FILE]

The photos' own sketches, masks `dps`; BUILT is what `dpsdata build --masks dps` made. Pens are diameters at level 1 in
px of 256. Photos whose ID matches the pattern are counted as real.
"""

from __future__ import annotations

import argparse
import json
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from dpsdata.dataset.torch_dataset import EditDataset  # noqa: E402
from dpsdata.sketch import dilate_sketch, scaled_diameter_px, smooth_sketch  # noqa: E402

LEVELS = (0.0, 0.5, 1.0)


def cover(dataset: EditDataset, pen: int) -> dict[str, list[float]]:
    """By ID, the share of the hole that is more line than paper, at each level; photos without a hole are left out."""
    found = {}
    for sample in dataset:
        hole, smooth = sample["mask"] == 1, smooth_sketch(sample["sketch"][None])
        if hole.any():
            diameter = scaled_diameter_px(*smooth.shape[2:], pen)
            lines = [dilate_sketch(smooth, level, diameter)[0] > 0.5 for level in LEVELS]
            found[sample["id"]] = [float(drawn[hole].float().mean()) for drawn in lines]
    return found


def main() -> None:
    """Measure and write one file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("built", type=Path)
    parser.add_argument("--pen", action="append", type=int, default=[], metavar="PX_OF_256")
    parser.add_argument("--real", default="*ffhq*", metavar="PATTERN")
    parser.add_argument("--split", default="val")
    parser.add_argument("--out", type=Path, default=ROOT / "reports/benchmarks/pen_cover.json")
    options = parser.parse_args()
    dataset = EditDataset(options.built, options.split, "dps")
    result: dict[str, Any] = {"split": options.split, "real": options.real, "levels": LEVELS, "size": dataset.size}
    for pen in options.pen or [21, 13]:
        covered = cover(dataset, pen)
        for kind in ("real", "synthetic"):
            values = [row for name, row in covered.items() if fnmatchcase(name, options.real) == (kind == "real")]
            if values:
                means, medians = np.mean(values, axis=0), np.median(values, axis=0)
                result[f"pen_{pen}_{kind}"] = {
                    "n": len(values),
                    "mean": [round(float(value), 3) for value in means],
                    "median": [round(float(value), 3) for value in medians],
                }
    text = json.dumps(result, indent=1, sort_keys=True)
    options.out.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
