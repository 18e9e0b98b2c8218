"""What is too little, too much or not there at all counts as done only where it is said."""

from __future__ import annotations

import os
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import dpseval
from dpsdata.cli import app as dpsdata_app
from dpsdata.contracts import UsageError
from dpsdata.dataset.torch_dataset import EditDataset
from dpsdata.images.codec import write_photo
from dpsdata.runtime.command_line import run_app
from models.cli import app
from models.editing import photo_frame
from models.editing.editor import Editor

TESTS = Path(__file__).parents[1]
shared = SimpleNamespace(**runpy.run_path(str(TESTS / "models" / "tiny_weights.py")))
samples = SimpleNamespace(**runpy.run_path(str(TESTS / "dpseval" / "score_samples.py")))
SIDE = 64


def box(top: int, left: int, height: int, width: int) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[top : top + height, left : left + width] = 255
    return mask


def lines() -> np.ndarray:
    sketch = np.full((SIDE, SIDE), 255, np.uint8)
    sketch[20, 10:50] = sketch[10:50, 30] = 0
    return sketch


@pytest.mark.parametrize(
    ("hole", "words", "code", "said"),
    [
        (box(8, 8, 2, 2), ("--feather", "1000"), 3, "no pixel of the photo would change"),
        (box(8, 8, 12, 12), ("--feather", "20"), 0, "the feather is wider than the hole"),
        (box(8, 8, 12, 12), ("--feather", "3"), 0, ""),
        (box(0, 0, SIDE, SIDE), (), 0, "white all over, so nothing of the photo is kept"),
        (255 - lines(), (), 0, "the mask is thin lines"),
        (box(30, 30, 1, 1), (), 0, ""),
        (box(0, 0, 0, 0), (), 3, "no hole"),
    ],
    ids=["all feather", "mostly feather", "feather", "white", "lines", "one pixel", "black"],
)
def test_holes_of_which_little_or_all_is_edited(
    hole: np.ndarray, words: tuple[str, ...], code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shared.write_tiny_weights(tmp_path / "weights")
    photo = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
    for name, pixels in (("photo", photo), ("mask", hole), ("sketch", lines())):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    paths = [f"--{name}={tmp_path / name}.png" for name in ("mask", "sketch")]
    options = ["--levels=0", "--align=none", f"--weights={tmp_path / 'weights'}", f"-o{tmp_path / 'out'}"]
    assert run_app(app, ["edit", str(tmp_path / "photo.png"), *paths, *options, *words]) == code
    assert said in capsys.readouterr().err
    assert (tmp_path / "out").exists() == (code == 0)
    if code == 0:
        changed = (np.asarray(Image.open(tmp_path / "out/l0.png")) != photo).any(axis=2)
        assert changed.any()
        assert not changed[hole < 128].any()


def test_a_photo_as_the_mask_of_the_editor_is_announced() -> None:
    editor = Editor(shared.make_tiny_net("edit"))
    photo = np.random.default_rng(0).integers(33, 222, (SIDE, SIDE, 3), dtype=np.uint8)
    editor.set_photo(photo, align="none")
    with pytest.warns(UserWarning, match="neither black nor white, as a photo is"):
        editor.predict_levels(lines(), photo[..., 1], [0])


def test_holes_on_two_faces_do_not_choose_the_face_between(monkeypatch: pytest.MonkeyPatch) -> None:
    faces = [(450.0, 150.0, 120.0), (150.0, 150.0, 100.0), (750.0, 150.0, 100.0)]
    monkeypatch.setattr(photo_frame, "_search", lambda rgb, left=0, top=0: faces)
    hole = np.zeros((300, 900), np.uint8)
    hole[130:170, 130:170] = hole[130:170, 740:770] = 1
    frame = photo_frame.find_frame(np.zeros((300, 900, 3), np.uint8), 64, hole)
    left, _, side, _ = frame.box
    assert left < 150 < left + side < 450, "the one that more of the hole is on"


def test_masks_of_a_folder_that_are_seldom_meant(
    faces: Path, tiny_hed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["build", str(faces), "--size=64", "--workers=1", "--limit=2", f"--edges={tiny_hed}"]
    for name, mask in (("white", box(0, 0, SIDE, SIDE)), ("lines", 255 - lines())):
        (tmp_path / name).mkdir()
        Image.fromarray(mask).save(tmp_path / name / "a.png")
        assert run_app(dpsdata_app, [*words, str(tmp_path / f"{name}-built"), f"--masks=pool:{tmp_path / name}"]) == 0
    said = capsys.readouterr().err
    assert "pool-white: the mask is white all over, so nothing of the photo is kept (2 times" in said
    assert "pool-lines: the mask is thin lines" in said


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
@pytest.mark.parametrize("word", ["files", "pool"])
def test_a_pipe_among_masks_is_waited_for_by_nobody(
    word: str, faces: Path, tiny_hed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "masks").mkdir()
    os.mkfifo(tmp_path / "masks" / "astronaut.png")
    words = ["build", str(faces), str(tmp_path / "built"), "--size=64", "--workers=1", "--limit=1"]
    assert run_app(dpsdata_app, [*words, f"--edges={tiny_hed}", f"--masks={word}:{tmp_path / 'masks'}"]) == 2
    assert "astronaut.png: not an ordinary file but a pipe" in capsys.readouterr().err


def test_a_smaller_dataset_in_the_place_of_a_finished_one_is_announced(
    faces: Path, tiny_hed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["build", str(faces), str(tmp_path / "built"), "--size=64", "--workers=1", f"--edges={tiny_hed}"]
    words += ["--masks=center"]
    for limit in ("4", "4", "1"):
        assert run_app(dpsdata_app, [*words, f"--limit={limit}"]) == 0
        said = capsys.readouterr().err
        assert ("warning: 3 photos will no longer be part of the dataset" in said) == (limit == "1")
    with pytest.raises(UsageError, match="expected the name of one family"):
        EditDataset(tmp_path / "built", "all", masks=["center"])  # type: ignore[arg-type]


def test_outputs_that_cannot_be_what_a_method_painted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The photos themselves, files of other photos, swapped channels and cut-out holes are scored, and named."""
    monkeypatch.setattr("dpseval.scoring.score.load_readers", samples.fake_readers(samples.FakeNetwork()))
    built = samples.make_built(tmp_path / "built")
    outputs = samples.make_outputs(tmp_path / "out", methods=("honest",))
    count = len(samples.IDS)
    for index, name in enumerate(samples.IDS):
        made = samples.make_output(index, 1)
        pictures = {
            "photos": samples.make_truth(index),
            "others": samples.make_output((index + 1) % count, 1),
            "channels": np.ascontiguousarray(made[..., ::-1]),
            "holes": made * samples.make_mask_pixels(index)[..., None],
        }
        for method, pixels in pictures.items():
            (outputs / method / "none").mkdir(parents=True, exist_ok=True)
            write_photo(outputs / method / "none" / f"{name}.png", pixels)
    scores = dpseval.score(outputs, built, dpseval.ScoreConfig(use_cache=False))
    notes = [note for note in scores.run["warnings"] if " outputs of " in note]
    assert len(notes) == 4
    same = f"in {count} of {count} outputs of photos the hole holds the photo itself: none was painted"
    assert same in notes
    for method in ("others", "channels", "holes"):
        assert any(f"of {count} outputs of {method} differ from their photos all around the hole" in x for x in notes)
