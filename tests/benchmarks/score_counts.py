"""5 levels x 3 methods x 40 photos, all distinct, with the real scorer: forwards at most distinct outputs + photos,
none on a rerun, one after one output changed, and `scores.json` byte for byte the same.

python tests/benchmarks/score_counts.py [--photos 40] [--out FILE]   exit code 4 where one of these does not hold
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
import sys
import tempfile
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from dpsdata.images.codec import encode_png, read_photo  # noqa: E402
from dpseval import ScoreConfig, score  # noqa: E402

SIZE = 64


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "reports" / "benchmarks" / "score_counts.json")
    parser.add_argument("--photos", type=int, default=40)
    options = parser.parse_args()
    made = runpy.run_path(str(Path(__file__).with_name("score_speed.py")))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["DPS_HOME"] = str(folder / "home")
        built, outputs = made["make_folders"](folder, options.photos, SIZE)
        files = sorted(outputs.glob("*/l*/*.png"))
        runs = {}
        scores = {}
        for run, workers in (("first", 1), ("again", 1), ("two_workers", 2)):
            config = ScoreConfig(out=folder / run, workers=workers)
            runs[run] = score(outputs, built, config).run["forwards"]["hedps"]
            scores[run] = (folder / run / "scores.json").read_bytes()
        changed = read_photo(files[7]).copy()
        hole = read_photo(built / "masks" / "dps" / files[7].name)[..., 0] > 127
        changed[hole] = 255 - changed[hole]
        files[7].write_bytes(encode_png(changed))
        runs["one_output_changed"] = score(outputs, built, ScoreConfig(out=folder / "changed")).run["forwards"]["hedps"]
    report = {
        "photos": options.photos,
        "outputs": len(files),
        "forwards": runs,
        "forwards_at_most": len(files) + options.photos,
        "scores_json_identical": len(set(scores.values())) == 1,
    }
    options.out.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))
    holds = (
        runs["first"] <= report["forwards_at_most"]
        and runs["again"] == runs["two_workers"] == 0
        and runs["one_output_changed"] == 1
        and report["scores_json_identical"]
    )
    return 0 if holds else 4


if __name__ == "__main__":
    sys.exit(main())
