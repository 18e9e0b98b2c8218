"""A folder that `dps edit` of 0.1.0 (commit 3e2235a) wrote is repeated by `--from`, and gives what it gave."""

from __future__ import annotations

import hashlib
import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from dpsdata.images.codec import encode_png, read_photo
from dpsdata.runtime.command_line import run_app
from models.cli import app

shared = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("tiny_weights.py"))))
HOLE = (slice(20, 50), slice(30, 70))
MEANS = {"l0": (107.167, 151.295, 156.177), "l0.4": (89.840, 167.073, 174.000)}
CONFIG = {
    "align": "auto", "box": [10.0, 0.0, 70.0, 70.0], "command": "edit", "device": "cpu", "eyes": None,
    "feather_px": 1.5, "invert_mask": False, "levels": [0.0, 0.4], "precision": "fp32",
}  # fmt: skip
SCALE = 64 / 70


def write_run(folder: Path, weights: Path) -> Path:
    rows, columns = np.mgrid[0:70, 0:90]
    photo = np.stack([rows * 3, columns * 2, 255 - rows - columns], 2).astype(np.uint8)
    mask, sketch = np.zeros((70, 90), np.uint8), np.full((70, 90), 255, np.uint8)
    mask[HOLE] = 255
    sketch[34:36, 20:60] = sketch[15:45, 50:52] = 0
    (folder / "inputs").mkdir(parents=True)
    inputs = {}
    for name, pixels in (("photo", photo), ("mask", mask), ("sketch", sketch)):
        data = encode_png(pixels)
        (folder / "inputs" / f"{name}.png").write_bytes(data)
        inputs[name] = {"file": f"inputs/{name}.png", "sha256": hashlib.sha256(data).hexdigest()}
    run = {
        "config": {**CONFIG, "weights": str(weights)},
        "frame": [[SCALE, 0.0, 0.5 * SCALE - 0.5 - 10 * SCALE], [0.0, SCALE, 0.5 * SCALE - 0.5]],
        "inputs": inputs,
        "notes": ["30 of 136 px of ink (22 %) lie outside of the mask and are ignored"],
        "schema_version": 1,
        "versions": {"deep-plastic-surgery": "0.1.0"},
        "weights": {
            network: hashlib.sha256((weights / f"edit-{network}.safetensors").read_bytes()).hexdigest()
            for network in ("F64", "G16", "G32", "G64")
        },
    }
    (folder / "run.json").write_text(json.dumps(run, indent=2))
    return folder / "run.json"


def test_an_edit_of_0_1_0_is_repeated(tmp_path: Path) -> None:
    shared.write_tiny_weights(tmp_path / "weights")
    run = write_run(tmp_path / "first", tmp_path / "weights")
    before = json.loads(run.read_text())
    assert run_app(app, ["edit", "--from", str(run)]) == 0
    for level, expected in MEANS.items():
        painted = read_photo(run.parent / f"{level}.png")[HOLE].astype(float)
        assert painted.mean((0, 1)) == pytest.approx(expected, abs=0.05)
    after = json.loads(run.read_text())
    assert np.allclose(after.pop("frame"), before.pop("frame"))
    assert [note[:24] for note in after["notes"]] == [note[:24] for note in before["notes"]]
    for changed in (before, after):
        changed.pop("versions")
        changed.pop("notes")  # the words have changed since
    assert after.pop("config").items() >= before.pop("config").items()  # later versions say more
    assert after == before
