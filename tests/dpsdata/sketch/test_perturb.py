from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from dpsdata.cli import app
from dpsdata.contracts import MissingError, UsageError
from dpsdata.dataset.manifest import ManifestRow, write_dataset
from dpsdata.dataset.perturb import perturb_folder
from dpsdata.images.codec import read_sketch, write_sketch
from dpsdata.runtime.command_line import run_app
from dpsdata.sketch.perturb import FAULTS, Perturbation, perturb_sketch
from dpsdata.sketch.rough import deform_grid, simulate_sketch
from dpsdata.sketch.simplify import thin_lines

SIZE = 96


def face() -> np.ndarray:
    """A ring in four parts, a cross and some bars, one pixel wide, well inside of the image."""
    rows, columns = np.indices((SIZE, SIZE))
    ring = np.abs(np.hypot(rows - 48, columns - 48) - 24) < 0.8
    lines = (ring & (np.minimum(np.abs(rows - 48), np.abs(columns - 48)) > 1)).astype(np.uint8)
    lines[48, 38:59] = lines[38:59, 48] = 1
    for row in range(26, 72, 6):
        lines[row, 14:20] = 1
    return thin_lines(lines)


def test_displaced_is_the_same_drawing_elsewhere() -> None:
    lines = face()
    directions = set()
    for name in map(str, range(40)):
        moved = perturb_sketch(lines, Perturbation("displaced", 8), name)
        rows, columns = (np.argwhere(moved).mean(0) - np.argwhere(lines).mean(0)).round(6)
        assert abs(math.hypot(rows, columns) - 8) <= 0.5
        assert np.array_equal(moved, np.roll(lines, (int(rows), int(columns)), (0, 1)))
        directions.add((rows, columns))
    assert len(directions) > 15


def test_what_leaves_the_image_is_gone() -> None:
    moved = perturb_sketch(face(), Perturbation("displaced", 3 * SIZE), "a")
    assert not moved.any()


@pytest.mark.parametrize("distance", [2.0, 4.0, 8.0])
def test_deformed_moves_lines_by_the_distance_and_tears_none(distance: float) -> None:
    lines = face()
    strokes = ndimage.label(lines, np.ones((3, 3)))[1]
    moves = []
    for name in map(str, range(60)):
        moved = perturb_sketch(lines, Perturbation("deformed", distance), name)
        assert np.array_equal(moved, thin_lines(moved))
        assert ndimage.label(moved, np.ones((3, 3)))[1] <= strokes
        assert 0.7 < moved.sum() / lines.sum() < 1.4
        moves.append(np.argwhere(moved).mean(0) - np.argwhere(lines).mean(0))
    # The middle of the drawing moves less than its lines, since it is the mean of moves that differ.
    root_mean_square = math.sqrt((np.array(moves) ** 2).sum(1).mean())
    assert 0.4 * distance < root_mean_square < 1.2 * distance


def test_dropped_leaves_out_whole_strokes() -> None:
    lines = face()
    for name in map(str, range(20)):
        kept = perturb_sketch(lines, Perturbation("dropped", 1 / 3), name)
        assert not (kept & ~lines).any()
        assert 0.1 < 1 - kept.sum() / lines.sum() < 0.6
        bars = [int(kept[row, 14:20].sum()) for row in range(26, 72, 6)]
        assert set(bars) <= {0, 6}
    assert not perturb_sketch(lines, Perturbation("dropped", 1.0), "a").any()


@pytest.mark.parametrize("case", ["a", "b", "c"])
def test_sketches_are_simulated_as_published(case: str) -> None:
    with np.load(Path(__file__).resolve().parents[2] / "parity" / "sketchrefiner" / "deformation.npz") as archive:
        arrays = {key[2:]: archive[key] for key in archive.files if key.startswith(f"{case}_")}
    edges = torch.from_numpy(arrays["edges"].astype(np.float32))[None, None]
    noise = torch.from_numpy(np.stack([arrays["noise_x"], arrays["noise_y"]]))[None]
    move, radius = float(arrays["max_move"]), int(arrays["filter_size"])
    size = int(arrays["size"])
    grid = deform_grid(1, size, size, move, noise, torch.device("cpu"), noise.shape[-1], radius)
    np.testing.assert_allclose(grid[0, ::4, ::4], arrays["grid"], atol=1e-6)
    found = simulate_sketch(edges, move, noise, radius)[0, 0].numpy()
    np.testing.assert_allclose(found, arrays["sketch"], atol=1e-4)


def test_simulated_sketches_keep_their_strokes() -> None:
    lines = face()
    found = [perturb_sketch(lines, Perturbation("sketchrefiner", 8), name) for name in map(str, range(20))]
    assert all(np.array_equal(moved, thin_lines(moved)) for moved in found)
    assert 0.85 < np.mean([moved.sum() for moved in found]) / lines.sum() < 1.15
    assert len({moved.tobytes() for moved in found}) == 20


def test_nothing_to_do_changes_nothing() -> None:
    for fault in FAULTS:
        assert np.array_equal(perturb_sketch(face(), Perturbation(fault, 0), "a"), face()), fault
        assert not perturb_sketch(np.zeros((9, 7), np.uint8), Perturbation(fault, 0.5), "a").any()


@settings(max_examples=40, deadline=None)
@given(
    fault=st.sampled_from(FAULTS),
    amount=st.floats(0, 1),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    seed=st.integers(0, 2**31),
)
def test_any_sketch_keeps_its_contract(fault: str, amount: float, height: int, width: int, seed: int) -> None:
    lines = (np.random.default_rng(seed).random((height, width)) < 0.2).astype(np.uint8)
    before = lines.copy()
    perturbation = Perturbation(fault, amount, seed)  # type: ignore[arg-type]
    found = perturb_sketch(lines, perturbation, "a")
    assert found.dtype == np.uint8
    assert found.shape == lines.shape
    assert set(np.unique(found)) <= {0, 1}
    assert np.array_equal(lines, before)
    assert np.array_equal(found, perturb_sketch(lines, perturbation, "a"))


def test_wrong_arguments_are_refused() -> None:
    for fault, amount in (
        ("blurred", 1),
        ("displaced", -1),
        ("deformed", math.nan),
        ("dropped", 1.5),
        ("displaced", 1e9),
    ):
        with pytest.raises(UsageError):
            Perturbation(fault, amount)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="0 and 1"):
        perturb_sketch(face() * 255, Perturbation("dropped", 0.5), "a")


@pytest.fixture
def built(tmp_path: Path) -> Path:
    folder = tmp_path / "built"
    (folder / "sketches").mkdir(parents=True)
    rows = []
    for name in ("a", "b__c", "d"):
        write_sketch(folder / f"sketches/{name}.png", face())
        split = "train" if name == "d" else "test"
        rows.append(ManifestRow(name, split, name, "", SIZE, SIZE, name, "", "", {}, {}))
    write_dataset(folder, rows, {"size": SIZE, "config": {"seed": 0}, "stages": [], "splits": {}})
    return folder


def test_a_folder_is_repeated_byte_for_byte_and_goes_on(built: Path, tmp_path: Path) -> None:
    perturbation = Perturbation("deformed", 4)
    out = tmp_path / "poor"
    assert perturb_folder(built, out, perturbation, "test") == (2, 0, ())
    first = {path.name: path.read_bytes() for path in out.iterdir()}
    assert set(first) == {"a.png", "b__c.png", "perturbation.json"}
    assert np.array_equal(read_sketch(out / "a.png"), perturb_sketch(face(), perturbation, "a"))
    assert json.loads(first["perturbation.json"])["amount"] == 4
    (out / "a.png").unlink()
    assert perturb_folder(built, out, perturbation, "test") == (1, 1, ())
    assert {path.name: path.read_bytes() for path in out.iterdir()} == first
    with pytest.raises(UsageError, match="other settings"):
        perturb_folder(built, out, Perturbation("deformed", 5), "test")
    with pytest.raises(UsageError, match="train"):
        perturb_folder(built, tmp_path / "x", perturbation, "nope")
    with pytest.raises(UsageError, match=r"perturbation\.json"):
        perturb_folder(built, built, perturbation)
    with pytest.raises(MissingError):
        perturb_folder(tmp_path, tmp_path / "x", perturbation)


def test_the_command_says_counts_and_what_is_next(
    built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "poor"
    words = ["perturb", str(built), str(out), "--fault", "displaced", "--amount", "8"]
    assert run_app(app, words) == 0
    said = capsys.readouterr().out
    assert "3 sketches displaced, 0 already there" in said
    assert f"--sketches {out}" in said
    assert run_app(app, [*words[:-1], "-3"]) == 2
    (built / "sketches/a.png").write_bytes(b"no png")
    assert run_app(app, [*words[:2], str(tmp_path / "other"), *words[3:]]) == 3
    assert "failed: a" in capsys.readouterr().err
    assert (tmp_path / "other/d.png").is_file()
