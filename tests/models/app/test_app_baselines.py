"""Other methods behind the same page: which are offered, what they get, what is kept of them."""

from __future__ import annotations

import json
import runpy
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from dpsdata.contracts import MissingError, UsageError
from dpsdata.images.codec import encode_png, read_photo
from models.app import engine as app_engine
from models.app.engine import BaselineEngine, Engine, find_baselines, name_baseline, name_editors, say_limits
from models.app.session import EditSession
from models.editing.photo_frame import box_frame, whole_frame
from models.methods.one_photo import fill_photo
from models.methods.predictor import LoadOptions, load_method
from models.methods.registry import METHODS

FOLDER = Path(__file__).parents[1]
samples = SimpleNamespace(**runpy.run_path(str(FOLDER / "method_samples.py")))
PHOTO = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
BOX = (30, 10, 70)
HOLE = [{"kind": "stroke", "erase": False, "width": 16, "points": [50, 40, 75, 48]}]
LINE = [{"kind": "stroke", "erase": False, "width": 2, "points": [48, 40, 76, 46]}]
DRAWING = json.dumps({"mask": HOLE, "sketch": LINE, "box": BOX})


@pytest.fixture(scope="module")
def engine(weights: Path) -> Engine:
    return Engine(str(weights))


@pytest.fixture
def found(weights: Path) -> dict[str, BaselineEngine]:
    return {baseline.method.name: baseline for baseline in find_baselines(str(weights))}


@pytest.fixture
def session(engine: Engine) -> EditSession:
    opened = EditSession(engine)
    opened.open_photo(encode_png(PHOTO), "me.png")
    return opened


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []

    def load(name: str, options: LoadOptions) -> object:
        names.append(name)
        return load_method(name, options)

    monkeypatch.setattr(app_engine, "load_method", load)
    return names


def show(session: EditSession, text: str = DRAWING) -> np.ndarray:
    session.shown = session.draw(text)
    return read_photo(session.save_photo()[1])


def test_only_methods_with_weights_are_offered(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loads: list[str]
) -> None:
    monkeypatch.setenv("DPS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("models.methods.weights.has_bundled_baseline", lambda stem: False)
    assert find_baselines(None) == []
    (tmp_path / "own").mkdir()
    shutil.copy(weights / "weights" / "scfegan.safetensors", tmp_path / "own")
    assert [(baseline.method.name, baseline.weights) for baseline in find_baselines(str(tmp_path / "own"))] == [
        ("scfegan", str(tmp_path / "own"))
    ]

    bundled = weights / "weights" / "deepfillv2-guided.safetensors"
    monkeypatch.setattr("models.methods.weights.has_bundled_baseline", lambda stem: stem == "deepfillv2-guided")
    monkeypatch.setattr("models.methods.weights.weights_path", lambda name: bundled)
    monkeypatch.setattr("models.methods.weights.find_weights", lambda name: SimpleNamespace(licence="for tests"))
    for named in (None, "official", str(tmp_path / "none")):
        assert [(baseline.method.name, baseline.weights) for baseline in find_baselines(named)] == [
            ("deepfillv2-guided", "bundled")
        ]
    assert loads == []


@pytest.mark.parametrize("name", app_engine.BASELINES)
def test_one_result_in_the_placed_square_and_every_known_pixel_kept(
    name: str, session: EditSession, found: dict[str, BaselineEngine], weights: Path
) -> None:
    session.choose(found[name])
    result = show(session)
    drawn, patch = session.current()
    assert patch.level is None
    assert session.save_photo()[0] == f"me-{name}.png"
    assert np.array_equal(result[drawn.hole == 0], PHOTO[drawn.hole == 0])
    predictor = load_method(name, LoadOptions(str(weights)))
    frame = box_frame(90, 120, 256, (30, 10, 70, 70))
    expected = fill_photo(predictor, PHOTO, drawn.sketch, drawn.mask, frame=frame, blend="poisson", grain=True)
    assert np.array_equal(result, expected[0].photo)
    assert not np.array_equal(expected, fill_photo(predictor, PHOTO, drawn.sketch, drawn.mask, (), "none")[0].photo)

    bare = json.dumps({"mask": HOLE, "sketch": [], "box": BOX})
    reads_lines = METHODS[name].takes_sketch
    assert (not np.array_equal(show(session, bare), result)) == reads_lines
    with pytest.raises(UsageError, match=r"`dps edit --from` repeats, .*Save this result as PNG or JPEG"):
        session.save_edit()
    assert ("does not read the lines" in " ".join(drawn.notes)) == (not reads_lines)
    assert session.draw(bare).notes == (
        ("There is no line, so the hole is filled without one.",) if reads_lines else ()
    )


def test_results_of_methods_are_kept_apart_and_kept(
    session: EditSession, engine: Engine, found: dict[str, BaselineEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[str] = []
    for baseline in (engine, *found.values()):
        name, edit = baseline.method.name, baseline.edit
        monkeypatch.setattr(baseline, "edit", lambda *words, name=name, edit=edit: (runs.append(name), edit(*words))[1])
    results = {}
    for _ in range(2):
        for baseline in (engine, *found.values()):
            session.choose(baseline)
            assert session.shown is None
            result = show(session)
            assert np.array_equal(results.setdefault(baseline.method.name, result), result)
            session.move(0.5)
    assert runs == ["dps", "deepfillv2", "deepfillv2-guided", "scfegan"]
    assert len({result.tobytes() for result in results.values()}) == 4
    # What runs stays with the method it was started by.
    drawn = session.draw(DRAWING)
    session.choose(engine)
    assert session.run_level(drawn, 0.3).level is None
    show(session)
    session.move(0.3)
    assert session.save_photo()[0] == "me-l0.3.png"
    assert session.save_edit()[0] == "me-edit.zip"


def test_a_baseline_is_loaded_at_its_first_edit_and_leaves_when_another_comes(
    session: EditSession, found: dict[str, BaselineEngine], loads: list[str]
) -> None:
    other = EditSession(session.editor)
    other.open_photo(encode_png(255 - PHOTO), "other.png")
    for tab in (session, other):
        tab.choose(found["scfegan"])
        show(tab)
    assert loads == ["scfegan"]
    session.choose(found["deepfillv2"])
    show(session)
    seat = found["scfegan"]._seat
    assert seat._predictor is not None
    assert seat._predictor.method.name == "deepfillv2"
    assert seat is found["deepfillv2"]._seat
    assert loads == ["scfegan", "deepfillv2"]


def test_weights_that_went_wrong_are_a_sentence_and_the_next_press_works(
    session: EditSession, weights: Path, tmp_path: Path
) -> None:
    path = tmp_path / "scfegan.safetensors"
    shutil.copy(weights / "weights" / "scfegan.safetensors", path)
    (baseline,) = [baseline for baseline in find_baselines(str(tmp_path)) if baseline.method.name == "scfegan"]
    session.choose(baseline)
    whole = path.read_bytes()
    path.write_bytes(whole[:1000])
    with pytest.raises(MissingError, match=r"scfegan\.safetensors"):
        show(session)
    shutil.copy(weights / "weights" / "deepfillv2.safetensors", path)
    with pytest.raises(MissingError):
        show(session)
    samples.write_network(path, samples.lively(samples.ScFegan(samples.ScFeganConfig(2)), 1.0), {})
    with pytest.raises(MissingError, match=r"changed since the start; stop dps app"):
        show(session)
    path.write_bytes(whole)
    show(session)


def test_an_edit_opens_while_a_baseline_is_chosen(session: EditSession, found: dict[str, BaselineEngine]) -> None:
    session.move(0.75)
    show(session)
    packed = session.save_edit()
    session.choose(found["scfegan"])
    opened = session.open_edit([packed])
    assert opened["box"] == pytest.approx([30, 10, 70])
    assert session.notes == ("This edit was made with Deep Plastic Surgery; SC-FEGAN is chosen now.",)
    assert session.level == 0.75
    assert not session.exact
    steps = {role: [{"kind": "file", "id": opened["layers"][role]["id"]}] for role in ("mask", "sketch")}
    text = json.dumps({**steps, "box": None})
    soft = show(session, text)
    session.exact = True
    assert not np.array_equal(soft, show(session, text))


def test_the_words_of_methods() -> None:
    dps, plain, fegan = (METHODS[name] for name in ("dps", "deepfillv2", "scfegan"))
    assert name_editors(["bundled"]) == ["Deep Plastic Surgery"]
    assert name_editors(["official", "bundled"])[1] == "Deep Plastic Surgery, bundled weights"
    assert [name_baseline(method) for method in (fegan, plain)] == [
        "SC-FEGAN, no level",
        "DeepFillv2, no level, no line",
    ]
    assert say_limits(dps) == ()
    assert say_limits(plain)[1] == "DeepFillv2 does not read the lines."
    assert say_limits(fegan) == ("SC-FEGAN has no level, so there is one result.",)


def test_the_frame_of_another_photo_is_refused(weights: Path) -> None:
    predictor = load_method("deepfillv2", LoadOptions(str(weights)))
    grey = np.full((90, 120), 255, np.uint8)
    with pytest.raises(UsageError, match=r"frame: it was made for a photo of 64 x 64 px, .* 120 x 90 px"):
        fill_photo(predictor, PHOTO, grey, grey, frame=whole_frame(64, 64, 256))
