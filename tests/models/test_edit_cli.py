from __future__ import annotations

import hashlib
import io
import json
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

import models
from dpsdata.contracts import UsageError, parse_levels, parse_numbers
from dpsdata.images import codec
from dpsdata.images.codec import encode_png, read_grey, read_photo
from dpsdata.runtime.command_line import run_app
from dpsdata.weights import store
from models.cli import app
from models.editing.request import read_stored_run

shared = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("tiny_weights.py"))))
ROOT = Path(__file__).resolve().parents[2]
HEIGHT, WIDTH = 70, 90


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    shared.write_tiny_weights(folder)
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photo that EXIF turns by 90 degrees, a mask, a thick sketch that reaches out of the mask, and three panels."""
    folder = tmp_path_factory.mktemp("inputs")
    photo = np.random.default_rng(0).integers(0, 256, (WIDTH, HEIGHT, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(photo).save(folder / "photo.png", exif=exif)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[20:50, 30:70] = 255
    sketch = np.full((HEIGHT, WIDTH), 255, np.uint8)
    cv2.line(sketch, (10, 30), (60, 45), 0, 4)
    (folder / "mask.png").write_bytes(encode_png(mask))
    (folder / "sketch.png").write_bytes(encode_png(sketch))
    square = [np.stack([plane[:64, :64]] * 3, axis=2) for plane in (sketch, mask)]
    (folder / "panels.png").write_bytes(encode_png(np.concatenate([photo[:64, :64], *square], axis=1)))
    return folder


def edit_words(files: Path, weights: Path, out: Path, *more: str) -> list[str]:
    names = [str(files / "photo.png"), "--mask", str(files / "mask.png"), "--sketch", str(files / "sketch.png")]
    return ["edit", *names, "-o", str(out), "--weights", str(weights), "--align", "none", *more]


def run_process(words: list[str], threads: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from models.cli import main; main()", *words],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        check=False,
    )


def tree(folder: Path) -> dict[str, str]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@pytest.mark.slow
def test_processes_and_the_api_give_the_same_bytes(files: Path, weights: Path, tmp_path: Path) -> None:
    first, again, panels = tmp_path / "first", tmp_path / "again", tmp_path / "panels"
    done = run_process(edit_words(files, weights, first, "--levels", "0,0.25,1"), threads=1)
    assert done.returncode == 0, done.stderr
    assert "are outside the mask and are ignored" in done.stderr
    repeated = run_process(["edit", "--from", str(first / "run.json"), "-o", str(again)], threads=2)
    assert repeated.returncode == 0, repeated.stderr
    assert tree(first) == tree(again)
    threefold = ["edit", str(files / "panels.png"), "-o", str(panels), "--weights", str(weights), "--levels", ".5"]
    published = run_process(threefold, threads=2)
    assert published.returncode == 0, published.stderr

    editor = models.load_editor(weights)
    photo, mask = read_photo(files / "photo.png"), read_grey(files / "mask.png")
    results = editor.predict(photo, read_grey(files / "sketch.png"), mask, [0, 0.25, 1], align="none")
    for result, name in zip(results, ("l0.png", "l0.25.png", "l1.png"), strict=True):
        assert np.array_equal(read_photo(first / name), result.photo)
        assert (first / "refined" / name).read_bytes() == encode_png(result.refined_sketch)
        assert np.array_equal(read_photo(first / "refiner" / name), result.refiner_photo)
        written = np.asarray(Image.open(io.BytesIO((first / name).read_bytes())))
        assert written.shape == (HEIGHT, WIDTH, 3)
        assert np.array_equal(written[mask == 0], photo[mask == 0])
    whole = read_photo(files / "panels.png")
    painted = read_photo(panels / "l0.5.png")
    assert painted.shape == (64, 64, 3)
    known = whole[:, 128:, 0] == 0
    assert np.array_equal(painted[known], whole[:, :64][known])
    assert not np.array_equal(painted, whole[:, :64])


def test_what_a_run_leaves(files: Path, weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run_app(app, edit_words(files, weights, out, "--levels", "1,0.5,1", "--feather", "2")) == 0
    names = {"inputs/photo.png", "inputs/mask.png", "inputs/sketch.png", "strip.png", "run.json"}
    levels = {f"{folder}{level}.png" for folder in ("", "refined/", "refiner/") for level in ("l0.5", "l1")}
    assert set(tree(out)) == names | levels
    assert (out / "inputs/photo.png").read_bytes() == (files / "photo.png").read_bytes()
    strip = read_photo(out / "strip.png")
    assert strip.shape == (20 + HEIGHT, 3 * WIDTH + 8, 3)
    for column in range(3):  # a caption over each
        left = column * (WIDTH + 4)
        assert strip[:20, left : left + WIDTH].min() < 100
    assert np.array_equal(strip[20:, WIDTH + 4 : 2 * WIDTH + 4], read_photo(out / "l1.png"))
    run = json.loads((out / "run.json").read_text())
    assert run["config"]["levels"] == [1.0, 0.5]
    assert run["config"]["feather_px"] == 2
    assert run["inputs"]["mask"]["sha256"] == hashlib.sha256((files / "mask.png").read_bytes()).hexdigest()
    for network in ("G16", "G32", "G64", "F64"):
        path = weights / f"edit-{network}.safetensors"
        assert run["weights"][network] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert {"torch", "numpy", "opencv"} <= set(run["versions"])
    (out / "notes.txt").write_text("mine")
    assert run_app(app, edit_words(files, weights, out, "--levels", "0.25")) == 0
    assert not (out / "l0.5.png").exists(), "no levels of two runs in one folder"
    assert (out / "l0.25.png").exists()
    assert (out / "notes.txt").exists()


def test_each_weight_file_is_hashed_once_and_each_input_decoded_once(
    files: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []
    decoded: list[int] = []
    copies = shutil.copytree(weights, tmp_path / "weights", copy_function=shutil.copyfile)
    digest, decode = hashlib.file_digest, codec._decode_over

    def count_hash(stream: Any, name: str) -> Any:
        hashed.append(Path(stream.name).name)
        return digest(stream, name)

    def count_decode(source: Any, *rest: Any) -> Any:
        decoded.append(len(source))
        return decode(source, *rest)

    monkeypatch.setattr(store, "_SETTLED_NS", 0)  # the files are of just now
    monkeypatch.setattr(hashlib, "file_digest", count_hash)
    monkeypatch.setattr(codec, "_decode_over", count_decode)
    assert run_app(app, edit_words(files, copies, tmp_path / "out", "--levels", "0,1")) == 0
    assert sorted(hashed) == sorted(path.name for path in copies.glob("edit-*.safetensors"))
    assert sorted(decoded) == sorted((files / f"{role}.png").stat().st_size for role in ("photo", "mask", "sketch"))


def test_a_run_is_repeated_where_it_lies_and_with_moved_weights(files: Path, weights: Path, tmp_path: Path) -> None:
    out, moved = tmp_path / "out", tmp_path / "moved"
    assert run_app(app, edit_words(files, weights, out, "--levels", "0.3", "--box", "5,0,60,60", "--invert-mask")) == 0
    before = tree(out)
    (out / "l0.3.png").unlink()
    moved.mkdir()
    for path in weights.iterdir():
        (moved / path.name).write_bytes(path.read_bytes())
    assert run_app(app, ["edit", "--from", str(out), "--weights", str(moved)]) == 0
    assert tree(out) == before


def test_a_changed_run_is_refused(
    files: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run_app(app, edit_words(files, weights, out, "--levels", "0.3")) == 0
    text = (out / "run.json").read_text()
    stored = json.loads(text)

    def refused(changed: object, reason: str) -> None:
        (out / "run.json").write_text(changed if isinstance(changed, str) else json.dumps(changed))
        assert run_app(app, ["edit", "--from", str(out / "run.json")]) == 5
        assert reason in capsys.readouterr().err

    refused("[" * 100_000, "no JSON")
    refused({**stored, "schema_version": 9}, "schema_version 1")
    refused({**stored, "config": {**stored["config"], "levels": ["1"]}}, "its levels is")
    refused({**stored, "config": {**stored["config"], "levels": [2]}}, "level")
    refused({**stored, "config": {**stored["config"], "surprise": 1}}, "other options")
    refused({**stored, "config": {**stored["config"], "box": [1, 2]}}, "four numbers")
    stolen = {"file": "../../etc/passwd", "sha256": "0"}
    refused({**stored, "inputs": {**stored["inputs"], "photo": stolen}}, "its inputs name")
    refused({**stored, "weights": {**stored["weights"], "G16": "0" * 64}}, "these weights differ from those of the run")
    (out / "run.json").write_text(text)
    (out / "inputs" / "mask.png").write_bytes((files / "sketch.png").read_bytes())
    with pytest.raises(models.editing.loading.MissingError, match="the file was changed"):
        read_stored_run(out / "run.json")
    assert run_app(app, ["synthesize", "--from", str(out / "run.json")]) in (2, 5)


def test_a_face_from_a_sketch(files: Path, weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["synthesize", str(files / "sketch.png"), "-o", str(out), "--weights", str(weights), "--levels", "0,1"]
    assert run_app(app, words) == 0
    result = models.load_editor(weights, task="synthesis").predict(None, read_grey(files / "sketch.png"), None, [0, 1])
    assert np.array_equal(read_photo(out / "l1.png"), result[1].photo)
    before = tree(out)
    assert run_app(app, ["synthesize", "--from", str(out / "run.json"), "-o", str(tmp_path / "again")]) == 0
    assert tree(tmp_path / "again") == before


def test_without_weights_it_says_what_helps(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DPS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("models.weights.bundled.BUNDLED_FOLDER", tmp_path / "none")
    words = edit_words(files, tmp_path, tmp_path / "out")
    index = words.index("--weights")
    for command in (
        words[:index] + words[index + 2 :],
        ["synthesize", str(files / "sketch.png"), "-o", str(tmp_path / "out")],
    ):
        assert run_app(app, command) == 5
        message = capsys.readouterr().err
        assert "dps weights import FILE" in message
        preset = "tiny" if command[0] == "edit" else "lite-synthesis-256"
        assert f"dps train {preset} --data BUILT --out RUN" in message
    assert not (tmp_path / "out").exists()


def test_wrong_options_are_refused(
    files: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = edit_words(files, weights, tmp_path / "out")
    panels = ["edit", str(files / "photo.png"), "--weights", str(weights), "-o", str(tmp_path / "out")]
    (tmp_path / "small.png").write_bytes(encode_png(np.zeros((8, 8), np.uint8)))
    for command, code, reason in (
        (["edit"], 2, "PHOTO, --mask MASK, --sketch SKETCH and -o OUT are missing"),
        (["edit", str(files / "photo.png")], 2, "--mask MASK, --sketch SKETCH and -o OUT are missing"),
        (["synthesize"], 2, "SKETCH is missing"),
        ([*words, "--levels", "0,2"], 2, "level"),
        ([*words, "--levels", "0;1"], 2, "--levels: expected numbers"),
        ([*words, "--levels", "nan"], 2, "--levels: expected numbers"),
        ([*words, "--box", "1,2,3"], 2, "--box: expected 4 numbers"),
        ([*words, "--box", "0,0,9,9", "--eyes", "0,0,9,9"], 2, "exclude each other"),
        ([*words, "--feather", "-1"], 2, "feather"),
        ([*words, "--align", "face"], 2, "align: expected"),
        ([*words, "--precision", "fp8"], 2, "precision"),
        ([*words, "--from", "run.json"], 2, "--from reads the inputs"),
        (words[:6], 2, "-o OUT is missing"),
        (panels, 2, "no --mask and --sketch beside it"),
        ([*panels, "--mask", str(files / "mask.png")], 2, "--sketch SKETCH is missing"),
        ([*words, "--mask", str(tmp_path / "small.png")], 2, "photo 90 x 70"),
        ([*words, "--mask", str(tmp_path / "none.png")], 2, "the file does not exist"),
        (edit_words(files, weights, files / "mask.png"), 2, "is a file"),
        ([*words, "--weights", str(tmp_path / "nowhere")], 5, "no such folder"),
        (["edit", "--from", str(tmp_path / "run.json")], 5, "cannot be read"),
    ):
        assert run_app(app, command) == code, (command, capsys.readouterr().err)
        assert reason in capsys.readouterr().err, command
    assert not (tmp_path / "out").exists()


def test_numbers() -> None:
    assert parse_levels("1, 0.5,.5,0.50") == (1.0, 0.5)
    assert parse_numbers("-1,2.5,3,4", "--box", 4) == (-1, 2.5, 3, 4)
    for text in ("", "1,,2", "a", "inf"):
        with pytest.raises(UsageError):
            parse_numbers(text, "--box")


@pytest.mark.parametrize("command", ["edit", "synthesize"])
def test_help_loads_no_heavy_library(command: str) -> None:
    code = (
        "import sys; from models.cli import app; from dpsdata.runtime.command_line import run_app; "
        f"code = run_app(app, [{command!r}, '--help']); "
        "print('heavy:', sorted({'torch', 'cv2', 'numpy', 'pandas', 'skimage'} & set(sys.modules))); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert "heavy: []" in done.stdout
