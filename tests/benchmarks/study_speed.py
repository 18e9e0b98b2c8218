"""A study of four conditions with the bundled networks: `--jobs 0` against one condition after the other, by the clock.

python tests/benchmarks/study_speed.py [--photos 24] [--repeats 2] [--out FILE]

Both use every core: one process with all of them in its networks, or one process a core. Run it with nothing beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from dpsdata.dataset import BuildConfig, build_dataset  # noqa: E402
from dpsdata.samples import write_sample_faces  # noqa: E402
from dpseval.scoring.config import ScoreConfig  # noqa: E402
from dpseval.study.config import StudyConfig, parse_conditions  # noqa: E402
from dpseval.study.running import run_study  # noqa: E402

CONDITIONS = ("dps:own,deformed-8", "center:own,deformed-8")
SIZE = 128


def make_config(folder: Path, count: int) -> StudyConfig:
    """A built folder of drawn faces, half of them for choosing levels."""
    write_sample_faces(folder / "faces", count, 0)
    built = folder / "built"
    build_dataset(
        BuildConfig(
            source=folder / "faces", out=built, size=SIZE, masks=("dps", "center"), split="ratio:0,0.5,0.5", workers=1
        )
    )
    return StudyConfig(
        built,
        folder / "report",
        folder / "work",
        ("dps", "scfegan", "telea"),
        parse_conditions(CONDITIONS),
        levels=(0.0, 0.5, 1.0),
        score=ScoreConfig(device="cpu", workers=0, use_cache=False),
    )


def time_study(config: StudyConfig, jobs: int, folder: Path) -> tuple[float, bytes]:
    """Seconds of a study from nothing, and its scores."""
    begun = time.perf_counter()
    run_study(replace(config, jobs=jobs, out=folder / "report", work=folder / "work"))
    return time.perf_counter() - begun, (folder / "report/scores.csv").read_bytes()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--out", type=Path, default=ROOT / "reports/benchmarks/study_speed.json")
    options = parser.parse_args()
    seconds: dict[str, list[float]] = {"one_after_the_other": [], "side_by_side": []}
    scores: set[bytes] = set()
    with tempfile.TemporaryDirectory() as place:
        config = make_config(Path(place), options.photos)
        for turn in range(options.repeats):
            for name, jobs in (("one_after_the_other", 1), ("side_by_side", 0)):
                taken, found = time_study(config, jobs, Path(place) / f"{name}{turn}")
                seconds[name].append(round(taken, 1))
                scores.add(found)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    report = {
        "cores": os.cpu_count(),
        "photos": options.photos,
        "side_px": SIZE,
        "conditions": CONDITIONS,
        "seconds": seconds,
        "times_as_fast": round(medians["one_after_the_other"] / medians["side_by_side"], 2),
        "same_scores": len(scores) == 1,
    }
    options.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
