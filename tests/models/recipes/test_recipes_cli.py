from __future__ import annotations

import hashlib
import runpy
import shlex
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from dpsdata.contracts import EnvironmentFailure
from dpsdata.images.codec import read_mask, read_photo
from dpsdata.runtime.command_line import run_app
from models.cli import app
from models.recipes import making
from models.recipes.catalogue import RECIPES, find_recipes
from models.recipes.making import shown_levels

shared = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "tiny_weights.py")))
EDIT_FILES = {"photo.png", "mask.png", "sketch.png", "command.txt", "figure.jpg", "run.json", "strip.png"}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    shared.write_tiny_weights(folder)
    return folder


@pytest.fixture(scope="module")
def only_edit(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of editing without those of synthesis."""
    folder = tmp_path_factory.mktemp("edit")
    for path in weights.glob("edit-*"):
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def tree(folder: Path) -> dict[str, str]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_all_recipes_and_the_one_without_weights(
    only_edit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    assert run_app(app, ["recipes", str(out), "--weights", str(only_edit)]) == 0
    said = capsys.readouterr()
    assert "4 recipes" in said.out
    assert "1 left out" in said.out
    (sentence,) = [text for text in said.err.splitlines() if text.startswith("left out:")]
    assert sentence.startswith("left out: face-from-a-sketch: ")
    assert "dps weights import FILE" in sentence
    for recipe in RECIPES[:4]:
        folder = out / recipe.name
        assert set(tree(folder)) >= EDIT_FILES | {"l0.png", "l0.5.png", "l1.png", "inputs/photo.png"}
        known = read_mask(folder / "mask.png") == 0
        photo = read_photo(folder / "photo.png")
        for name in ("l0.png", "l0.5.png", "l1.png"):
            result = read_photo(folder / name)
            assert np.array_equal(result[known], photo[known]), (recipe.name, name)
            assert not np.array_equal(result, photo), (recipe.name, name)
        assert (folder / "figure.jpg").stat().st_size < 60_000
    assert set(tree(out / "face-from-a-sketch")) == {"sketch.png", "command.txt", "figure.jpg"}
    rows = read_photo(out / "recipes.jpg").shape[0] / read_photo(out / "nose-surgery" / "figure.jpg").shape[0]
    assert rows == 5

    # The written command, run in the folder, gives the same pixels.
    folder = out / "nose-surgery"
    program, *words = shlex.split((folder / "command.txt").read_text())
    assert program == "dps"
    monkeypatch.chdir(folder)
    assert run_app(app, words) == 0
    for name in ("l0.png", "l0.5.png", "l1.png", "run.json", "strip.png"):
        assert (folder / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_a_face_from_a_sketch_where_weights_are(weights: Path, tmp_path: Path) -> None:
    words = ["recipes", "--only", "face-from-a-sketch", "--weights", str(weights), "--levels", "1,0.25"]
    assert run_app(app, [*words, str(tmp_path / "a")]) == 0
    assert run_app(app, [*words, str(tmp_path / "b")]) == 0
    assert tree(tmp_path / "a") == tree(tmp_path / "b"), "the same bytes"
    folder = tmp_path / "a" / "face-from-a-sketch"
    assert {path.name for path in folder.glob("l*.png")} == {"l0.25.png", "l1.png"}
    assert read_photo(folder / "l1.png").std() > 1


def test_missing_weights_leave_no_old_result(
    weights: Path, only_edit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["recipes", str(tmp_path), "--only", "face-from-a-sketch", "--levels", "0"]
    assert run_app(app, [*words, "--weights", str(weights)]) == 0
    folder = tmp_path / "face-from-a-sketch"
    (folder / "mine.txt").write_text("mine")
    assert (folder / "l0.png").is_file()
    capsys.readouterr()
    assert run_app(app, [*words, "--weights", str(only_edit)]) == 5
    assert "face-from-a-sketch: no weights" in capsys.readouterr().err
    assert set(tree(folder)) == {"sketch.png", "command.txt", "figure.jpg", "mine.txt"}


def test_wrong_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    (tmp_path / "file").write_text("")
    for words, reason in (
        ([str(out), "--only", "nose"], "rejuvenation, hair-implant, chin-surgery, nose-surgery, face-from-a-sketch"),
        ([str(out), "--only", ""], "--only: expected"),
        ([str(out), "--levels", "2"], "level"),
        ([str(tmp_path / "file")], "is a file"),
    ):
        assert run_app(app, ["recipes", *words]) == 2
        assert reason in capsys.readouterr().err
    assert not out.exists()


def test_a_dry_run_writes_nothing(only_edit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert run_app(app, ["recipes", str(out), "--dry-run", "--weights", str(only_edit)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [text.split(":")[0] for text in said[:5]] == [recipe.name for recipe in RECIPES]
    assert ["would be left out" in text for text in said[:5]] == [False] * 4 + [True]
    assert "nothing was written" in said[5]
    assert not out.exists()


def test_help_names_every_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app(app, ["recipes", "--help"]) == 0
    text = "".join(capsys.readouterr().out.split())
    assert all(recipe.name in text for recipe in RECIPES)


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "nose-surgery").write_text("in the way")
    with pytest.raises(EnvironmentFailure, match="nose-surgery"):
        making.make_recipes(find_recipes(("nose-surgery",)), tmp_path, (0.0,), lambda task: "bundled")


def test_shown_levels() -> None:
    assert shown_levels((1.0, 0.0)) == [0.0, 1.0]
    assert shown_levels((0.0, 0.25, 0.5, 0.75, 1.0)) == [0.0, 0.5, 1.0]
