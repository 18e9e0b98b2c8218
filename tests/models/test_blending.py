"""Pasting that does not show: the membrane against a direct solver, the grain against the noise that was put in."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from scipy.sparse import coo_array
from scipy.sparse.linalg import spsolve

from dpsdata.contracts import MissingError, UsageError
from dpsdata.images.codec import encode_png, read_photo
from dpsdata.runtime.command_line import run_app
from models.cli import app
from models.editing.blending import add_grain, carry_rim, grain_of
from models.editing.compositing import find_target, paste
from models.editing.editor import Editor
from models.editing.photo_frame import whole_frame
from models.editing.request import Blend, read_stored_run

SIDE = 96


def make_hole(touches_border: bool = False) -> np.ndarray:
    marks = np.zeros((SIDE, SIDE), np.uint8)
    cv2.ellipse(marks, (48, 88 if touches_border else 48), (30, 22), 20, 0, 360, 1, -1)
    cv2.line(marks, (6, 6), (86, 12), 1, 3)
    return np.asarray(marks == 1)


def solve(rim: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The discrete Laplace equation, with all its unknowns at once."""
    ids = np.full(inside.shape, -1)
    ids[inside] = np.arange(inside.sum())
    rows, columns, values, right = [], [], [], np.zeros((inside.sum(), 3))
    for y, x in np.argwhere(inside):
        around = [(y + dy, x + dx) for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0))]
        around = [(v, u) for v, u in around if 0 <= v < SIDE and 0 <= u < SIDE]
        rows.append(ids[y, x])
        columns.append(ids[y, x])
        values.append(float(len(around)))
        for spot in around:
            if inside[spot]:
                rows.append(ids[y, x])
                columns.append(ids[spot])
                values.append(-1.0)
            else:
                right[ids[y, x]] += rim[spot]
    solved: np.ndarray = spsolve(coo_array((values, (rows, columns))).tocsc(), right)
    return solved


@pytest.mark.parametrize("touches_border", [False, True])
def test_the_membrane_is_the_solution_of_the_laplace_equation(touches_border: bool) -> None:
    inside = make_hole(touches_border)
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32) / SIDE
    photo = np.stack([60 * x + 40 * np.sin(9 * y), 50 * y - 80 * x * y, 30 + 0 * x], axis=-1).astype(np.float32)
    got = carry_rim(np.zeros_like(photo), photo, inside)[inside]
    expected = solve(photo, inside)
    assert np.abs(got - expected).max() < 0.03 * np.ptp(photo)
    assert np.abs(got - expected).mean() < 0.006 * np.ptp(photo)
    assert np.allclose(got[:, 2], 30, atol=1e-3)


def test_painted_detail_stays_and_a_hole_without_a_rim_is_left_alone() -> None:
    inside = make_hole()
    detail = np.random.default_rng(0).normal(0, 9, (SIDE, SIDE, 3)).astype(np.float32)
    deep = cv2.erode(inside.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=2) == 1
    detail[~deep] = 0
    shifted = carry_rim(detail + 40, detail, inside)
    assert np.allclose(shifted[inside], detail[inside], atol=1e-2), "a wrong colour all over goes away"
    assert carry_rim(detail, detail + 9, np.ones_like(inside)) is detail
    stepped = carry_rim(40 * inside[..., None].astype(np.float32).repeat(3, axis=2), 0 * detail, inside)
    assert np.allclose(stepped[inside], 20, atol=1e-2), "of a step that was painted on the rim half is left"


def test_grain_is_that_of_the_photo_and_lies_still() -> None:
    rng = np.random.default_rng(1)
    noise = cv2.GaussianBlur(rng.normal(0, 6, (SIDE, SIDE)).astype(np.float32), (0, 0), 0.5)
    photo = np.clip(np.round(128 + noise), 0, 255).astype(np.uint8)[..., None].repeat(3, axis=2)
    inside = make_hole()
    grey = add_grain(np.full(photo.shape, 128, np.float32), photo, inside, 0, 0)[..., 0]
    within = cv2.erode(inside.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=4) == 1
    own = grain_of(photo[..., 0].astype(np.float32), ~inside)
    assert 0.9 < grain_of(np.where(inside, grey, photo[..., 0]).astype(np.float32), within) / own < 1.1

    part = add_grain(np.full((40, 40, 3), 128, np.float32), photo, inside[30:70, 30:70], 30, 30)
    whole = grey[30:70, 30:70][inside[30:70, 30:70]] - 128
    likeness = np.corrcoef(part[..., 0][inside[30:70, 30:70]] - 128, whole)[0, 1]
    assert likeness > 0.99, "the same grain at the same place, whatever the hole"
    smooth = np.full_like(photo, 128)
    assert np.array_equal(add_grain(smooth.astype(np.float32), smooth, inside, 0, 0), smooth)


def test_skin_beside_a_collar_stays_skin() -> None:
    rng = np.random.default_rng(1)
    spread = np.where(np.arange(240) < 120, 2.0, 12.0)
    photo = (
        np.clip(128 + spread[:, None] * rng.normal(0, 1, (240, 240)), 0, 255).astype(np.uint8)[..., None].repeat(3, 2)
    )
    inside = np.zeros((240, 240), np.bool_)
    inside[40:200, 70:170] = True
    grey = add_grain(np.full(photo.shape, 128, np.float32), photo, inside, 0, 0)[..., 0]
    quiet, loud = np.zeros((2, 240, 240), np.bool_)
    quiet[44:60, 80:160], loud[180:196, 80:160] = True, True
    assert grain_of(grey, quiet) < 0.65 * grain_of(grey, loud)


@pytest.mark.parametrize("blend", ["poisson", "feather", "none"])
def test_every_pixel_outside_is_kept_and_blending_lowers_the_step(blend: Blend) -> None:
    rng = np.random.default_rng(2)
    photo = np.clip(150 + rng.normal(0, 3, (128, 128, 3)), 0, 255).astype(np.uint8)
    hole = np.zeros((128, 128), np.uint8)
    hole[40:90, 50:] = 1  # up to the border
    frame = whole_frame(128, 128, 64)
    target = find_target(hole, frame, 5.0 if blend == "feather" else 0.0)
    assert target is not None
    painted = torch.full((3, 64, 64), 0.6)
    result = paste(photo, painted, target, frame, None, blend, grain=True)
    assert np.array_equal(result[hole == 0], photo[hole == 0])
    step = np.abs(result[40, 52:].astype(float).mean(axis=0) - photo[39, 52:].mean(axis=0)).mean()
    assert (step > 25) if blend == "none" else (step < 10)


def test_the_command_line_blends_when_asked_and_old_runs_do_not(tmp_path: Path) -> None:
    photo = np.random.default_rng(3).integers(90, 160, (128, 128, 3), dtype=np.uint8)
    mask, sketch = np.zeros((128, 128), np.uint8), np.full((128, 128), 255, np.uint8)
    mask[40:80, 40:80] = 255
    for name, pixels in (("photo", photo), ("mask", mask), ("sketch", sketch)):
        (tmp_path / f"{name}.png").write_bytes(encode_png(pixels))
    words = ["edit", f"{tmp_path}/photo.png", "--mask", f"{tmp_path}/mask.png", "--sketch", f"{tmp_path}/sketch.png"]
    words += ["--align", "none", "--levels", "0.5"]
    results = {}
    for name, more in {
        "plain": [],
        "blended": ["--blend", "poisson", "--grain"],
        "soft": ["--blend", "feather"],
    }.items():
        assert run_app(app, [*words, *more, "-o", f"{tmp_path}/{name}"]) == 0
        results[name] = read_photo(tmp_path / name / "l0.5.png")
        assert np.array_equal(results[name][mask == 0], photo[mask == 0])
    assert len({pixels.tobytes() for pixels in results.values()}) == 3
    assert read_stored_run(tmp_path / "soft").request.feather_px == 8

    run = tmp_path / "plain" / "run.json"
    stored = json.loads(run.read_text())
    del stored["config"]["blend"], stored["config"]["grain"]
    run.write_text(json.dumps(stored))
    assert run_app(app, ["edit", "--from", str(run), "-o", f"{tmp_path}/again"]) == 0
    assert (tmp_path / "again" / "l0.5.png").read_bytes() == (tmp_path / "plain" / "l0.5.png").read_bytes()
    stored["config"]["blend"] = "poison"
    run.write_text(json.dumps(stored))
    with pytest.raises(MissingError, match="blend: expected none, feather or poisson"):
        read_stored_run(run)

    for more in (["--blend", "blur"], ["--blend", "poisson", "--feather", "4"], ["--blend", "none", "--feather", "4"]):
        assert run_app(app, [*words, *more, "-o", f"{tmp_path}/wrong"]) == 2
        assert not (tmp_path / "wrong").exists()
    with pytest.raises(UsageError, match="--blend feather needs a width"):
        Editor.from_pretrained().predict(photo, sketch, mask, [0.5], blend="feather")
