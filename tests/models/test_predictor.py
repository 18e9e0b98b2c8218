from __future__ import annotations

import io
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

import models
from dpsdata.contracts import UsageError
from dpsdata.images.codec import read_photo
from dpsdata.runtime.device import has_fast_bf16
from dpsdata.sketch.simplify import thin_lines
from models.editing.compositing import find_target
from models.editing.editor import Editor
from models.editing.photo_frame import NoFaceError, whole_frame

shared = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("tiny_weights.py"))))
SIZE = 64


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    shared.write_tiny_weights(folder)
    return folder


@pytest.fixture(scope="module")
def editor(weights: Path) -> Editor:
    return models.load_editor(weights)


@pytest.fixture(scope="module")
def painter(weights: Path) -> Editor:
    return models.load_editor(weights, task="synthesis")


def inputs(height: int = SIZE, width: int = SIZE, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    photo = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    sketch = np.full((height, width), 255, np.uint8)
    cv2.line(sketch, (width // 3, height // 2), (2 * width // 3, height // 2 + 3), 0, 1)
    mask = np.zeros((height, width), np.uint8)
    mask[height // 4 : 3 * height // 4, width // 4 : 3 * width // 4] = 255
    return photo, sketch, mask


def random_mask(kind: str, height: int, width: int, seed: int) -> np.ndarray:
    draw = np.random.default_rng(seed)
    mask = np.zeros((height, width), np.uint8)
    if kind == "box":
        top, left = int(draw.integers(height)), int(draw.integers(width))
        mask[top : top + 1 + int(draw.integers(height)), left : left + 1 + int(draw.integers(width))] = 255
    elif kind == "specks":
        mask[draw.random(mask.shape) < 0.05] = 255
    elif kind == "grey":
        mask = draw.integers(0, 256, mask.shape, dtype=np.uint8)
        mask[0, 0] = 200  # grey levels of 0 and 1 alone are refused
    elif kind == "full":
        mask[:] = 255
    return mask


# Upright pixels from stored ones, by the words of the EXIF standard; `np.rot90` turns to the left.
UPRIGHT = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}


@settings(deadline=None, max_examples=300)
@given(
    seed=st.integers(0, 2**31),
    height=st.integers(1, 100),
    width=st.integers(1, 100),
    kind=st.sampled_from(["box", "box", "specks", "grey", "full", "empty"]),
    place=st.sampled_from(["none", "none", "auto", "box", "eyes"]),
    orientation=st.integers(1, 8),
    levels=st.lists(st.floats(0, 1), min_size=1, max_size=2),
    feather=st.sampled_from([0.0, 0.0, 3.5]),
)
def test_nothing_outside_of_the_mask_moves(
    editor: Editor,
    seed: int,
    height: int,
    width: int,
    kind: str,
    place: str,
    orientation: int,
    levels: list[float],
    feather: float,
) -> None:
    draw = np.random.default_rng(seed)
    stored = draw.integers(0, 256, (height, width, 3), dtype=np.uint8)
    stream, exif = io.BytesIO(), Image.Exif()
    exif[274] = orientation
    Image.fromarray(stored).save(stream, "PNG", exif=exif)
    photo = read_photo(stream.getvalue())
    upright = UPRIGHT[orientation](stored)
    mask = random_mask(kind, *photo.shape[:2], seed)
    sketch = (draw.random(mask.shape) < 0.95).astype(np.uint8) * 255
    sketch[0, 0] = 255
    assume(place == "none" or max(photo.shape) >= 10)  # a frame 16 times as wide as the photo is refused
    if place == "box":
        corner = draw.uniform(-10, 0, 2) + 0.5 * np.array(photo.shape[1::-1])
        editor.set_photo(photo, box=(float(corner[0]), float(corner[1]), *draw.uniform(11, 80, 2)))
        results = editor.predict_levels(sketch, mask, levels, feather)
    elif place == "eyes":
        middle_x, middle_y = photo.shape[1] / 2, photo.shape[0] / 2
        editor.set_photo(photo, eyes=(middle_x - 3, middle_y - 1, middle_x + 4, middle_y + 2))
        results = editor.predict_levels(sketch, mask, levels, feather)
    else:
        results = editor.predict(photo, sketch, mask, levels, align=place, feather_px=feather)  # type: ignore[arg-type]
    assert [result.level for result in results] == levels
    known = mask <= 127
    for result in results:
        for painted in (result.photo, result.refiner_photo):
            assert painted.dtype == np.uint8
            assert painted.shape == upright.shape
            assert np.array_equal(painted[known], upright[known])
        assert result.refined_sketch.shape == mask.shape
        assert (result.refined_sketch[known] == 255).all()
        if place == "none" and not feather and kind in ("full", "box"):
            assert not np.array_equal(result.photo, photo), "the hole is painted"


def test_at_the_models_own_size_the_doors_agree(editor: Editor) -> None:
    photo, sketch, mask = inputs()
    results = editor.predict(photo, sketch, mask, [0.0, 0.7])
    lines = torch.from_numpy((sketch == 0).astype(np.float32))[None, None]
    hole = torch.from_numpy((mask == 255).astype(np.float32))[None, None]
    tensor = torch.from_numpy(photo).permute(2, 0, 1)[None].float() / 127.5 - 1
    assert np.array_equal(thin_lines(lines[0, 0].numpy().astype(np.uint8)), lines[0, 0].numpy()), "thin already"
    out = editor.forward(tensor, lines, hole, torch.tensor([0.0, 0.7]))
    for index, result in enumerate(results):
        inside = mask == 255
        painted = torch.round((out.inpainter_photo[index] + 1) * 127.5).clamp(0, 255).permute(1, 2, 0).numpy()
        assert np.array_equal(result.photo[inside], painted[inside])
        ink = torch.round((1 - out.refined_sketch[index, 0]) * 255).numpy()
        assert np.array_equal(result.refined_sketch[inside], ink[inside])
    assert not np.array_equal(results[0].photo, results[1].photo)


def test_ready_for_inference_is_the_same_network(editor: Editor) -> None:
    net = shared.make_tiny_net("edit")
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in net.modules())
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in editor.net.modules())
    photo = torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(2)) * 2 - 1
    sketch, mask = torch.zeros(1, 1, SIZE, SIZE), torch.zeros(1, 1, SIZE, SIZE)
    sketch[..., 20:40, 30], mask[..., 10:50, 10:50] = 1, 1
    with torch.no_grad():
        plain = net(photo, sketch, mask, 0.4)
    for left, right in zip(plain, editor.forward(photo, sketch, mask, 0.4), strict=True):
        assert not right.requires_grad
        assert torch.allclose(left, right, atol=2e-5)


def test_the_number_of_threads_changes_no_byte(editor: Editor) -> None:
    photo, sketch, mask = inputs(90, 70)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = editor.predict(photo, sketch, mask, [0.0, 0.5, 1.0], align="none")
        torch.set_num_threads(2)
        two = editor.predict(photo, sketch, mask, [0.0, 0.5, 1.0], align="none")
    finally:
        torch.set_num_threads(threads)
    for left, right in zip(one, two, strict=True):
        assert np.array_equal(left.photo, right.photo)
        assert np.array_equal(left.refined_sketch, right.refined_sketch)


@pytest.mark.skipif(not has_fast_bf16(), reason="this CPU has no bf16 in hardware")
def test_bf16_is_close(editor: Editor, weights: Path) -> None:
    photo, sketch, mask = inputs()
    coarse = models.load_editor(weights, precision="bf16").predict(photo, sketch, mask, [0.0, 0.5])
    exact = editor.predict(photo, sketch, mask, [0.0, 0.5])
    for left, right in zip(coarse, exact, strict=True):
        difference = np.abs(left.photo.astype(int) - right.photo)[mask == 255]
        assert 0 < difference.mean() < 4


def test_all_levels_are_one_batch(editor: Editor, monkeypatch: pytest.MonkeyPatch) -> None:
    photo, sketch, mask = inputs()
    batches: list[int] = []
    forward = editor.net.forward

    def count(*arguments: Any) -> Any:
        batches.append(arguments[-1].numel())
        return forward(*arguments)

    monkeypatch.setattr(editor.net, "forward", count)
    together = editor.predict(photo, sketch, mask, [0.0, 0.25, 0.5, 0.75, 1.0])
    assert batches == [5]
    alone = editor.predict(photo, sketch, mask, [0.75])[0]
    difference = np.abs(together[3].photo.astype(int) - alone.photo)
    assert difference.max() <= 1, "float error moves a rounding at most"


def test_a_set_photo_is_edited_often_and_kept(editor: Editor) -> None:
    photo, sketch, mask = inputs(80, 50)
    editor.set_photo(photo, "none")
    first = editor.predict_levels(sketch, mask, [0.5])[0]
    photo[:] = 0  # the caller's array is the caller's
    assert np.array_equal(editor.predict_levels(sketch, mask, [0.5])[0].photo, first.photo)
    other = editor.predict_levels(np.full_like(sketch, 255), mask, [0.5])[0]
    assert not np.array_equal(other.photo, first.photo), "the sketch is read"


def test_ink_outside_is_said_and_ignored(editor: Editor) -> None:
    photo, sketch, mask = inputs()
    clean = editor.predict(photo, sketch, mask, [1.0])[0]
    assert not any("ink" in note for note in editor.notes)
    rough = sketch.copy()
    rough[15, 5:60] = 0  # one row above the hole, in reach of the dilation
    spoiled = editor.predict(photo, rough, mask, [1.0])[0]
    assert np.array_equal(clean.photo, spoiled.photo)
    assert any("55 of" in note and "outside the mask" in note for note in editor.notes)


def test_thick_strokes_and_light_ones_are_the_same_drawing(editor: Editor, monkeypatch: pytest.MonkeyPatch) -> None:
    photo, sketch, mask = inputs()
    thin = editor.predict(photo, sketch, mask, [0.0])[0]
    assert np.array_equal(editor.predict(photo, 255 - sketch, mask, [0.0])[0].photo, thin.photo)
    assert any("light lines" in note for note in editor.notes)
    seen: list[np.ndarray] = []
    forward = editor.net.forward

    def look(*arguments: Any) -> Any:
        seen.append(arguments[1][0, 0].numpy())
        return forward(*arguments)

    monkeypatch.setattr(editor.net, "forward", look)
    editor.predict(photo, cv2.erode(sketch, np.ones((5, 5), np.uint8)), mask, [0.0])
    assert np.isin(seen[0], (0, 1)).all()
    assert 0.7 * (sketch == 0).sum() < seen[0].sum() < 1.3 * (sketch == 0).sum(), "one pixel wide"
    near = cv2.erode(sketch, np.ones((5, 5), np.uint8)) == 0
    assert near[seen[0] == 1].all()


def test_the_feather_lies_inside() -> None:
    hole = np.zeros((40, 40), np.uint8)
    hole[10:30, 10:30] = 1
    target = find_target(hole, whole_frame(40, 40, SIZE), 3.0)
    assert target is not None
    weights = np.zeros((40, 40))
    weights[target.rows, target.columns] = target.weights
    assert weights[20, 8:16].tolist() == [0, 0, 0.25, 0.5, 0.75, 1, 1, 1]
    assert (weights[hole == 0] == 0).all()
    full = find_target(np.ones((9, 9), np.uint8), whole_frame(9, 9, SIZE), 3.0)
    assert full is not None
    assert (full.weights == 1).all()


def test_a_hole_that_reaches_out_of_the_frame_is_said(editor: Editor) -> None:
    photo, sketch, _ = inputs(100, 100)
    mask = np.full((100, 100), 255, np.uint8)
    editor.set_photo(photo, box=(20, 20, 50, 50))
    result = editor.predict_levels(sketch, mask, [0.5])[0]
    changed = (result.photo != photo).any(axis=2)
    assert changed[20:70, 20:70].mean() > 0.9
    changed[20:70, 20:70] = False
    assert not changed.any()
    assert any("7,500 of 10,000 px of the hole (75 %)" in note for note in editor.notes)
    mask[:] = 0
    mask[:5] = 255
    assert np.array_equal(editor.predict_levels(sketch, mask, [0.5])[0].photo, photo)


def test_no_face(editor: Editor) -> None:
    _, sketch, mask = inputs(80, 90)
    photo = np.full((80, 90, 3), 77, np.uint8)
    with pytest.raises(NoFaceError, match="--eyes"):
        editor.set_photo(photo)
    editor.predict(photo, sketch, mask, [0.5])
    assert "no face was found" in editor.notes[0]
    assert editor.frame == whole_frame(80, 90, SIZE)


def test_a_face_from_a_sketch_alone(painter: Editor) -> None:
    _, sketch, mask = inputs(100, 80)
    results = painter.predict(None, sketch, None, [0.0, 1.0])
    assert [result.photo.shape for result in results] == [(100, 80, 3)] * 2
    assert results[0].refined_sketch.shape == (100, 80)
    assert not np.array_equal(results[0].photo, results[1].photo)
    for call in (
        lambda: painter.predict(np.zeros((100, 80, 3), np.uint8), sketch, None, [0.0]),
        lambda: painter.predict(None, sketch, mask, [0.0]),
        lambda: painter.set_photo(np.zeros((100, 80, 3), np.uint8)),
    ):
        with pytest.raises(UsageError, match="synthesis takes"):
            call()


def test_wrong_arguments_are_refused(editor: Editor) -> None:
    photo, sketch, mask = inputs()
    with pytest.raises(UsageError, match="no photo is set"):
        Editor(shared.make_tiny_net("edit")).predict_levels(sketch, mask, [0.5])
    for call, reason in (
        (lambda: editor.predict(photo, sketch, mask, []), "at least one number"),
        (lambda: editor.predict(photo, sketch, mask, [1.5]), "level"),
        (lambda: editor.predict(photo, sketch, mask, [float("nan")]), "level"),
        (lambda: editor.predict(photo, sketch[:-1], mask, [0.5]), "must have one size"),
        (lambda: editor.predict(photo, sketch, mask[:, :-1], [0.5]), "must have one size"),
        (lambda: editor.predict(photo / 255, sketch, mask, [0.5]), "photo: expected uint8"),
        (lambda: editor.predict(photo[..., 0], sketch, mask, [0.5]), "photo: expected uint8"),
        (lambda: editor.predict(photo[:0], sketch, mask, [0.5]), "at least one pixel"),
        (lambda: editor.predict(photo, sketch, mask // 255, [0.5]), "multiply it by 255"),
        (lambda: editor.predict(photo, sketch, None, [0.5]), "mask may not be None"),
        (lambda: editor.predict(None, sketch, mask, [0.5]), "photo may not be None"),
        (lambda: editor.predict(photo, sketch, mask, [0.5], feather_px=-1), "feather_px"),
        (lambda: editor.set_photo(photo, "face"), "align: expected"),  # type: ignore[arg-type]
        (lambda: editor.set_photo(photo, box=(0, 0, 9, 9), eyes=(0, 0, 9, 9)), "exclude each other"),
        (lambda: Editor(editor.net, precision="fp8"), "precision"),
        (lambda: Editor(editor.net, device="abacus"), "device"),
    ):
        with pytest.raises(UsageError, match=reason):
            call()
