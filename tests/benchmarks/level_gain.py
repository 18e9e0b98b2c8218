"""What level 1 gains over level 0 with deformed lines, by kind of photo and by how dense the lines in the hole are.

python tests/benchmarks/level_gain.py BUILT --weights NAME=WEIGHTS ... [--real '*ffhq*'] [--split val] [--out FILE]

`hedps` in the hole, masks `dps`, lines deformed by 8 px of 256; BUILT is what `dpsdata build --masks dps` made. Photos
whose ID matches the pattern are counted as real. Negative differences are gains. `bundled` is a name of weights too.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from dpsdata.dataset.torch_dataset import EditDataset  # noqa: E402
from dpsdata.weights.store import sha256_file  # noqa: E402
from dpseval.scoring.config import ScoreConfig  # noqa: E402
from dpseval.study.conditions import run_condition  # noqa: E402
from dpseval.study.config import StudyConfig, parse_conditions  # noqa: E402
from models.weights.bundled import BUNDLED_FOLDER  # noqa: E402

CONDITION = "dps:deformed-8"
LEVELS = (0.0, 1.0)


def measure(built: Path, split: str, weights: str) -> dict[str, tuple[float, float]]:
    """By ID, `hedps` in the hole at level 0 and at level 1."""
    with tempfile.TemporaryDirectory() as folder:
        config = StudyConfig(
            built, Path(folder) / "report", Path(folder) / "work", ("dps",), parse_conditions((CONDITION,)),
            levels=LEVELS, split=split, choose_split="none", weights={"dps": weights}, score=ScoreConfig(device="cpu"),
        )  # fmt: skip
        found = run_condition(config, config.conditions[0], split, ("dps",), print).per_image
    rows = found[(found["region"] == "hole") & (found["method"] == "dps")]
    table = rows.pivot(index="id", columns="level", values="hedps").dropna()
    return {str(name): (float(row[0.0]), float(row[1.0])) for name, row in table.iterrows()}


def line_density(built: Path, split: str) -> dict[str, float]:
    """By ID, the share of pixels in the hole that the photo's own thin sketch draws."""
    found = {}
    for sample in EditDataset(built, split, "dps"):
        hole = sample["mask"] == 1
        found[sample["id"]] = float(sample["sketch"][hole].mean())
    return found


def summarise(pairs: list[tuple[float, float]]) -> dict[str, Any]:
    """Means, their difference, and half the width of its interval of 95 % (normal)."""
    values = np.array(pairs)
    gains = values[:, 1] - values[:, 0]
    return {
        "n": len(gains),
        "level_0": round(float(values[:, 0].mean()), 4),
        "level_1": round(float(values[:, 1].mean()), 4),
        "difference": round(float(gains.mean()), 4),
        "half_width": round(float(1.96 * gains.std(ddof=1) / len(gains) ** 0.5), 4),
    }


def main() -> None:
    """Measure every set of weights and write one file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("built", type=Path)
    parser.add_argument("--weights", action="append", default=[], metavar="NAME=WEIGHTS")
    parser.add_argument("--real", default="*ffhq*", metavar="PATTERN")
    parser.add_argument("--split", default="val")
    parser.add_argument("--out", type=Path, default=ROOT / "reports/benchmarks/level_gain.json")
    options = parser.parse_args()
    density = line_density(options.built, options.split)
    result: dict[str, Any] = {"condition": CONDITION, "split": options.split, "real": options.real, "weights": {}}
    for typed in options.weights or ["bundled=bundled"]:
        name, _, weights = typed.partition("=")
        pairs = measure(options.built, options.split, weights)
        ids = sorted(pairs, key=lambda each: (density[each], each))
        kinds = {kind: [pairs[each] for each in ids if fnmatchcase(each, options.real) == (kind == "real")]
                 for kind in ("real", "synthetic")}  # fmt: skip
        quarters = [[pairs[each] for each in part] for part in np.array_split(np.array(ids), 4)]
        folder = BUNDLED_FOLDER / "edit" if weights == "bundled" else Path(weights)
        result["weights"][name] = {
            "sha256": {path.name: sha256_file(path) for path in sorted(folder.glob("*.safetensors"))},
            "all": summarise(list(pairs.values())),
            **{kind: summarise(values) for kind, values in kinds.items() if len(values) > 1},
            "by_line_density": [summarise(part) for part in quarters],
        }
        print(name, json.dumps(result["weights"][name]["all"]), flush=True)
    options.out.write_text(json.dumps(result, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print(options.out)


if __name__ == "__main__":
    main()
