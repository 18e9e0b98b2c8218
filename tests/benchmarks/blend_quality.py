"""How far pasting shows: step across the rim of the hole and grain inside of it, beside the photo's own.

python tests/benchmarks/blend_quality.py [--out FILE] [--count 24]

The 24 sample faces, brought to sides from 256 to 4,000 px; since enlarging leaves no grain, noise as of a phone's
sensor is added (a spread of 3 grey levels, a little soft). Holes of family `dps`, the photo's own lines, level 0.5.
Each photo goes through `dps edit` as it is and with `--blend poisson --grain`, and through the app's session.

* step: mean difference of grey between neighbours, one in the hole and one beside it;
* grain: spread of what is finer than 1.4 px, by the median, in the hole; the photo's own is that of the ring around it.

Writes reports/benchmarks/blend_quality.json; exit code 4 where a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from dpsdata.images.codec import encode_png, read_photo  # noqa: E402
from dpsdata.masks import make_mask  # noqa: E402
from dpsdata.runtime.command_line import run_app  # noqa: E402
from dpsdata.samples import read_sample_face  # noqa: E402
from models.app.engine import Engine, Placement  # noqa: E402
from models.app.opened_photo import find_own_lines  # noqa: E402
from models.app.session import EditSession  # noqa: E402
from models.cli import app  # noqa: E402
from models.editing.blending import grain_of  # noqa: E402

BARS = {"step": (0.0, 1.1), "grain": (0.8, 1.1)}
SPREAD, SOFTNESS = 3.0, 0.5


def make_photo(index: int, side: int) -> np.ndarray:
    face = read_sample_face(index + 1)
    way = cv2.INTER_AREA if side < len(face) else cv2.INTER_CUBIC
    noise = cv2.GaussianBlur(np.random.default_rng(index).normal(0, 1, (side, side)), (0, 0), SOFTNESS)
    grown = cv2.resize(face, (side, side), interpolation=way) + SPREAD * (noise / noise.std())[..., None]
    return np.asarray(np.clip(np.round(grown), 0, 255), np.uint8)


def grey(rgb: np.ndarray) -> np.ndarray:
    plane: np.ndarray = cv2.cvtColor(rgb.astype(np.float32), cv2.COLOR_RGB2GRAY)
    return plane


def measure(rgb: np.ndarray, hole: np.ndarray) -> dict[str, float]:
    plane, steps = grey(rgb), []
    for axis in (0, 1):
        crosses = np.diff(hole.astype(np.int8), axis=axis) != 0
        steps.append(np.abs(np.diff(plane, axis=axis))[crosses])
    kernel = np.ones((3, 3), np.uint8)
    within = cv2.erode(hole, kernel, iterations=4) == 1
    return {"step": float(np.concatenate(steps).mean()), "grain": grain_of(plane, within)}


def ring_grain(photo: np.ndarray, hole: np.ndarray) -> float:
    kernel, reach = np.ones((3, 3), np.uint8), int(max(8, 0.25 * np.sqrt(hole.sum())))
    ring = cv2.dilate(hole, kernel, iterations=reach) - cv2.dilate(hole, kernel, iterations=4) == 1
    return grain_of(grey(photo), ring)


def edit(folder: Path, words: list[str], name: str) -> np.ndarray:
    inputs = [
        str(folder / "photo.png"),
        *(part for role in ("mask", "sketch") for part in (f"--{role}", str(folder / f"{role}.png"))),
    ]
    if run_app(app, ["edit", *inputs, "--align", "none", "--levels", "0.5", *words, "-o", str(folder / name)]):
        raise SystemExit(1)
    return read_photo(folder / name / "l0.5.png")


def edit_in_app(engine: Engine, folder: Path) -> np.ndarray:
    session = EditSession(engine)
    session.open_photo((folder / "photo.png").read_bytes(), "photo.png")
    layers = {role: session.add_layer(role, (folder / f"{role}.png").read_bytes(), role) for role in ("mask", "sketch")}
    steps = {role: [{"kind": "file", "id": layer["id"]}] for role, layer in layers.items()}
    session.run(json.dumps({**steps, "box": None}), 0.5)
    return read_photo(session.save_photo()[1])


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=ROOT / "reports" / "benchmarks" / "blend_quality.json")
    parser.add_argument("--count", type=int, default=24)
    options = parser.parse_args()
    engine, photos = Engine("bundled"), []
    for index, side in enumerate(np.round(np.geomspace(256, 4000, options.count)).astype(int)):
        photo = make_photo(index, int(side))
        small = make_mask("dps", 256, 256, index)
        hole = cv2.resize(small, (int(side), int(side)), interpolation=cv2.INTER_NEAREST)
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            lines = find_own_lines(photo, Placement())
            for name, pixels in (("photo", photo), ("mask", hole * 255), ("sketch", (1 - lines) * 255)):
                (folder / f"{name}.png").write_bytes(encode_png(pixels.astype(np.uint8)))
            results = {
                "exact": edit(folder, [], "exact"),
                "blended": edit(folder, ["--blend", "poisson", "--grain"], "blended"),
                "app": edit_in_app(engine, folder),
            }
        own = measure(photo, hole) | {"ring_grain": ring_grain(photo, hole)}
        entry: dict[str, Any] = {"side": int(side), "hole": round(float(hole.mean()), 3), "photo": own}
        for name, result in results.items():
            found = measure(result, hole)
            entry[name] = found | {
                "step_ratio": found["step"] / own["step"],
                "grain_ratio": found["grain"] / own["ring_grain"],
                "outside_changed": int((result != photo)[hole == 0].any(axis=-1).sum()),
            }
        photos.append(entry)
        print(json.dumps(entry, default=float)[:400], flush=True)
    summary: dict[str, dict[str, Any]] = {}
    for name in ("exact", "blended", "app"):
        rows = [entry[name] for entry in photos]
        summary[name] = {"outside_changed": sum(row["outside_changed"] for row in rows)}
        for what, (low, high) in BARS.items():
            ratios = [row[f"{what}_ratio"] for row in rows]
            summary[name][f"{what}_within"] = sum(low <= ratio <= high for ratio in ratios)
            summary[name][f"{what}_ratio"] = [min(ratios), float(np.median(ratios)), max(ratios)]
    print(json.dumps(summary, indent=2))
    rounded = json.loads(
        json.dumps({"photos": photos, "summary": summary}), parse_float=lambda text: round(float(text), 3)
    )
    options.out.write_text(json.dumps(rounded, indent=1, sort_keys=True) + "\n")
    fine = all(
        summary[name]["outside_changed"] == 0 and all(summary[name][f"{what}_within"] == len(photos) for what in BARS)
        for name in ("blended", "app")
    )
    return 0 if fine else 4


if __name__ == "__main__":
    sys.exit(main())
