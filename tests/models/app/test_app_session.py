"""The ten wrong things of a new user are sentences here, and the session goes on; no browser needed."""

from __future__ import annotations

import io
import json
import runpy
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dpsdata.contracts import MissingError, UsageError
from dpsdata.images.codec import encode_png, read_grey, read_photo
from dpsdata.runtime.command_line import run_app
from dpsdata.samples import crop_astronaut
from models.app.engine import Engine, Placement
from models.app.session import LEVELS, EditSession
from models.cli import app

shared = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "tiny_weights.py")))
HEIGHT, WIDTH = 90, 120


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    shared.write_tiny_weights(folder)
    return folder


@pytest.fixture(scope="module")
def engine(weights: Path) -> Engine:
    return Engine(str(weights))


@pytest.fixture
def session(engine: Engine) -> EditSession:
    return EditSession(engine)


def noise_png(height: int = HEIGHT, width: int = WIDTH) -> bytes:
    return encode_png(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def stroke(*points: float, width: float = 1) -> dict[str, Any]:
    return {"kind": "stroke", "erase": False, "width": width, "points": list(points)}


def drawing(mask: list[Any] | None = None, sketch: list[Any] | None = None, box: Any = None) -> str:
    return json.dumps({"mask": mask or [], "sketch": sketch or [], "box": box})


HOLE = [stroke(40, 40, 70, 50, width=20)]
LINE = [stroke(42, 40, 68, 48, width=2)]


def show(session: EditSession, text: str) -> None:
    session.shown = session.draw(text)


def test_an_edit_is_saved_and_repeated_by_the_command_line(session: EditSession, weights: Path, tmp_path: Path) -> None:
    opened = session.open_photo(noise_png(), "C:\\me and you.PNG")
    assert (opened["width"], opened["height"]) == (WIDTH, HEIGHT)
    show(session, drawing(HOLE, LINE, box=[10, 5, 80]))
    session.move(0.3)
    name, data = session.save_photo()
    assert name.endswith("-l0.3.png")
    photo, result = read_photo(noise_png()), read_photo(data)
    assert session.shown is not None
    known = session.shown.hole == 0
    assert np.array_equal(result[known], photo[known])
    assert not np.array_equal(result, photo)

    (tmp_path / "me.png").write_bytes(noise_png())
    for role in ("mask", "sketch"):
        (tmp_path / f"{role}.png").write_bytes(session.layer_file(drawing(HOLE, LINE), role))
    words = [f"{tmp_path}/me.png", "--mask", f"{tmp_path}/mask.png", "--sketch", f"{tmp_path}/sketch.png"]
    words += ["--weights", str(weights), "--box", "10,5,80,80", "--levels", "0.3", "-o", str(tmp_path / "cli")]
    words += ["--blend", "poisson", "--grain"]
    assert run_app(app, ["edit", *words]) == 0
    assert (tmp_path / "cli" / "l0.3.png").read_bytes() == data

    name, packed = session.save_edit()
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        archive.extractall(tmp_path)
    folder = tmp_path / name.removesuffix(".zip")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert before[folder / "l0.3.png"] == data
    assert before[folder / "inputs" / "photo.png"] == noise_png()
    assert run_app(app, ["edit", "--from", str(folder / "run.json"), "-o", str(tmp_path / "again")]) == 0
    again = {
        folder / path.relative_to(tmp_path / "again"): path.read_bytes()
        for path in (tmp_path / "again").rglob("*")
        if path.is_file()
    }
    assert again == before

    other = EditSession(session.engine)
    opened = other.open_edit([(name, packed)])
    assert opened["box"] == pytest.approx([10, 5, 80])
    assert other.level == 0.3
    assert other.notes == ()
    steps = {role: [{"kind": "file", "id": opened["layers"][role]["id"]}] for role in ("mask", "sketch")}
    show(other, drawing(steps["mask"], steps["sketch"]))
    assert other.save_photo()[1] == data


def test_levels_are_cached_for_a_drawing(session: EditSession, monkeypatch: pytest.MonkeyPatch) -> None:
    session.open_photo(noise_png(64, 64), "a.png")
    runs: list[float] = []
    edit = session.engine.edit
    monkeypatch.setattr(session.engine, "edit", lambda *words: (runs.append(words[4]), edit(*words))[1])
    for text in (drawing(HOLE, LINE), drawing(HOLE, LINE), drawing(HOLE)):
        show(session, text)
        for level in (*LEVELS, 0.3, 0.25):
            session.move(level)
            session.current()
    assert runs == [*LEVELS, 0.3] * 2
    monkeypatch.setattr("models.app.session._CACHE_BYTES", 1)
    session.move(0.9)
    session.current()
    session.current()
    assert runs[-1:] == [0.9]
    assert len(runs) == 13


def test_an_upload_equals_a_drawing(session: EditSession) -> None:
    session.open_photo(noise_png(), "a.png")
    drawn = session.draw(drawing(HOLE, LINE))
    steps = {}
    for role in ("mask", "sketch"):
        layer = session.add_layer(role, session.layer_file(drawing(HOLE, LINE), role), f"{role}.png")
        assert session.notes == ()
        steps[role] = [{"kind": "file", "id": layer["id"]}]
    uploaded = session.draw(drawing(steps["mask"], steps["sketch"]))
    assert np.array_equal(uploaded.hole, drawn.hole)
    assert np.array_equal(uploaded.lines, drawn.lines)
    assert uploaded.key == drawn.key
    with pytest.raises(UsageError, match="upload it again"):  # the sketch's file is none of the mask's
        session.draw(drawing(steps["sketch"], steps["mask"]))
    session.add_layer("mask", encode_png(255 - uploaded.mask), "m.png")
    assert "looks inverted" in session.notes[0]


def test_one_huge_photo(session: EditSession) -> None:
    session.open_photo(noise_png(), "kept.png")
    huge = io.BytesIO()
    Image.new("1", (12_000, 11_000)).save(huge, "PNG", compress_level=1)
    with pytest.raises(UsageError, match=r"^huge\.png cannot be opened as a photo: .*12000 x 11000.*\.$"):
        session.open_photo(huge.getvalue(), "huge.png")
    assert session.photo is not None
    assert session.photo.stem == "kept"


def test_two_a_text_file_as_photo(session: EditSession) -> None:
    for data in (b"dear diary", b""):
        with pytest.raises(
            UsageError, match=r"^diary\.txt cannot be opened as a photo: .*Choose a JPEG or PNG photo\.$"
        ):
            session.open_photo(data, "diary.txt")
    with pytest.raises(UsageError, match="Choose a photo first"):
        session.draw(drawing(HOLE, LINE))
    with pytest.raises(UsageError, match="Choose a photo first"):
        session.add_layer("mask", noise_png(), "m.png")


def test_three_and_four_empty_mask_and_empty_sketch(session: EditSession) -> None:
    session.open_photo(noise_png(), "a.png")
    with pytest.raises(UsageError, match=r"The hole is empty\. Paint over"):
        session.draw(drawing([], LINE))
    drawn = session.draw(drawing(HOLE, []))
    assert drawn.notes == ("There is no line, so the hole is filled without one.",)
    session.run_level(drawn, 1.0)


def test_five_a_sketch_of_another_size_or_kind(session: EditSession) -> None:
    session.open_photo(noise_png(), "a.png")
    with pytest.raises(UsageError, match=r"sketch s\.png has 60 x 50 px, but the photo has 120 x 90 px"):
        session.add_layer("sketch", encode_png(np.full((50, 60), 255, np.uint8)), "s.png")
    with pytest.raises(UsageError, match=r"s\.png cannot be opened as a sketch"):
        session.add_layer("sketch", b"no picture", "s.png")
    session.draw(drawing(HOLE, LINE))


def test_six_and_seven_two_faces_and_none(session: EditSession) -> None:
    face = crop_astronaut()
    session.open_photo(encode_png(np.concatenate([face, face[:, ::-1]], axis=1)), "two.png")
    assert session.notes == (
        "More than one face was found, and the largest is taken. Move the dashed square for another one.",
    )
    assert session.photo is not None
    assert session.photo.placement.box is not None
    wide = np.full((256, 512, 3), 128, np.uint8)
    wide[:, 128:384] = face
    session.open_photo(encode_png(wide), "one.png")
    assert session.notes == ()
    session.open_photo(noise_png(), "none.png")
    assert "No face was found. Move the dashed square" in session.notes[0]
    assert session.photo.placement == Placement((15, 0, 90, 90))


def test_eight_a_mask_outside_of_the_face(session: EditSession) -> None:
    session.open_photo(noise_png(), "a.png")
    with pytest.raises(UsageError, match="outside the dashed face square, so nothing would change"):
        session.draw(drawing(HOLE, LINE, box=[90, 60, 30]))
    drawn = session.draw(drawing(HOLE, LINE, box=[55, 0, 60]))
    assert "of the hole is outside the dashed square" in drawn.notes[0]
    with pytest.raises(UsageError, match="outside the photo"):
        session.draw(drawing(HOLE, LINE, box=[900, 900, 30]))
    outside = session.draw(drawing(HOLE, [*LINE, stroke(5, 80, 100, 80, width=2)]))
    assert "of the line is outside the hole (grey) and is ignored" in outside.notes[0]


def test_nine_another_photo_in_mid_run(session: EditSession) -> None:
    session.open_photo(noise_png(), "a.png")
    drawn = session.draw(drawing(HOLE, LINE))
    session.run_level(drawn, 0.0)
    session.open_photo(noise_png(70, 80), "b.png")
    patch = session.run_level(drawn, 0.5)
    assert patch.whole_photo(drawn.photo.pixels).shape == (HEIGHT, WIDTH, 3)
    with pytest.raises(UsageError, match="no result yet"):
        session.save_photo()


def test_ten_two_tabs_do_not_meet(engine: Engine) -> None:
    first, second = EditSession(engine), EditSession(engine)
    first.open_photo(noise_png(), "a.png")
    second.open_photo(encode_png(np.full((HEIGHT, WIDTH, 3), 90, np.uint8)), "b.png")
    alone = first.run_level(first.draw(drawing(HOLE, LINE)), 0.5).photo
    second.run_level(second.draw(drawing(HOLE, LINE)), 0.5)
    fresh = EditSession(engine)
    fresh.open_photo(noise_png(), "a.png")
    assert np.array_equal(fresh.run_level(fresh.draw(drawing(HOLE, LINE)), 0.5).photo, alone)


def test_levels_that_are_none(session: EditSession) -> None:
    session.open_photo(noise_png(), "a.png")
    for level in (-0.1, 1.1, float("nan")):
        with pytest.raises(UsageError, match="level"):
            session.move(level)


def test_changed_weights_are_told(weights: Path, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    for path in weights.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    session = EditSession(Engine(str(folder)))
    session.open_photo(noise_png(), "a.png")
    show(session, drawing(HOLE, LINE))
    _, packed = session.save_edit()
    session.engine.hashes["F64"] = "other"
    with pytest.raises(MissingError, match="weights"):
        session.save_edit()
    session.open_edit([("e.zip", packed)])
    assert "made with other weights" in session.notes[0]


def test_three_panels_and_eyes_open_as_they_ran(session: EditSession, weights: Path, tmp_path: Path) -> None:
    session.open_photo(noise_png(64, 64), "a.png")
    drawn = session.draw(drawing(HOLE, LINE))
    panels = [read_photo(noise_png(64, 64)), *(np.stack([item] * 3, axis=2) for item in (drawn.sketch, drawn.mask))]
    (tmp_path / "p.png").write_bytes(encode_png(np.concatenate(panels, axis=1)))
    out = tmp_path / "out"
    words = [str(tmp_path / "p.png"), "--weights", str(weights), "--levels", "0.5"]
    assert run_app(app, ["edit", *words, "-o", str(out)]) == 0
    opened = session.open_edit([(path.name, path.read_bytes()) for path in out.rglob("*") if path.is_file()])
    steps = {role: [{"kind": "file", "id": opened["layers"][role]["id"]}] for role in ("mask", "sketch")}
    show(session, drawing(steps["mask"], steps["sketch"]))
    assert np.array_equal(read_photo(session.save_photo()[1]), read_photo(out / "l0.5.png"))
    assert read_grey(session.layer_file(drawing(steps["mask"]), "mask")).shape == (64, 64)

    for role in ("mask", "sketch"):
        (tmp_path / f"{role}.png").write_bytes(session.layer_file(drawing(steps["mask"], steps["sketch"]), role))
    (tmp_path / "a.png").write_bytes(noise_png(64, 64))
    words = [f"{tmp_path}/a.png", "--mask", f"{tmp_path}/mask.png", "--sketch", f"{tmp_path}/sketch.png"]
    words += ["--weights", str(weights), "--levels", "0.5", "--eyes", "24,30,40,33", "--feather", "3"]
    assert run_app(app, ["edit", *words, "-o", str(out)]) == 0
    opened = session.open_edit([(path.name, path.read_bytes()) for path in out.rglob("*") if path.is_file()])
    steps = {role: [{"kind": "file", "id": opened["layers"][role]["id"]}] for role in ("mask", "sketch")}
    show(session, drawing(steps["mask"], steps["sketch"]))
    assert session.save_photo()[1] == (out / "l0.5.png").read_bytes()
