from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import dpseval
from dpsdata.contracts import MissingError, UsageError
from dpsdata.images.codec import write_photo
from dpsdata.runtime.command_line import run_app
from dpseval import PairingError, ScoreConfig
from dpseval.cli import app
from dpseval.pairing.files import FINDING_KINDS, PairingIssue, count_kinds
from dpseval.scoring.pixel_workers import find_inverted

samples = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("score_samples.py"))))
SETS = ("ours/l0", "ours/l1", "theirs/none")


@pytest.fixture
def built(tmp_path: Path) -> Path:
    return samples.make_built(tmp_path / "built")


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    samples.make_outputs(tmp_path / "out", methods=("ours",), levels=("l0", "l1"))
    return samples.make_outputs(tmp_path / "out", methods=("theirs",))


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    scorer = samples.FakeNetwork()
    monkeypatch.setattr("dpseval.scoring.score.load_readers", samples.fake_readers(scorer))
    return scorer


def remove(built: Path, outputs: Path) -> None:
    for place in SETS:
        (outputs / place / "b__c.png").unlink()


def remove_one(built: Path, outputs: Path) -> None:
    (outputs / "ours/l1/b__c.png").unlink()


def add_stranger(built: Path, outputs: Path) -> None:
    write_photo(outputs / "ours/l0/stranger.png", samples.make_output(0, 9))


def add_second(built: Path, outputs: Path) -> None:
    write_photo(outputs / "ours/l0/b__c.jpg", samples.make_output(1, 9))


def take_other_build(built: Path, outputs: Path) -> None:
    (outputs / "run.json").write_text(json.dumps({"dataset_root_hash": "f" * 64, "masks": "dps"}))


def shrink(built: Path, outputs: Path) -> None:
    write_photo(outputs / "ours/l0/b__c.png", samples.make_output(1, 9)[:60])


def cut(built: Path, outputs: Path) -> None:
    path = outputs / "ours/l0/b__c.png"
    path.write_bytes(path.read_bytes()[:-400])


def write_noise(built: Path, outputs: Path) -> None:
    (outputs / "ours/l0/b__c.png").write_bytes(b"no picture at all")


def save(outputs: Path, mode: str, name: str = "b__c.png", **options: object) -> None:
    picture = Image.fromarray(samples.make_output(1, 9)).convert(mode)
    picture.save(outputs / "ours/l0" / name, **options)


def write_16_bits(built: Path, outputs: Path) -> None:
    Image.fromarray(samples.make_output(1, 9)[..., 0].astype(np.uint16) * 257).save(outputs / "ours/l0/b__c.png")


def write_alpha(built: Path, outputs: Path) -> None:
    save(outputs, "RGBA")


def write_palette(built: Path, outputs: Path) -> None:
    save(outputs, "P")


def write_grey(built: Path, outputs: Path) -> None:
    save(outputs, "L")


def turn(built: Path, outputs: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    save(outputs, "RGB", exif=exif.tobytes())


def soften(built: Path, outputs: Path) -> None:
    mask = samples.make_mask_pixels(1) * np.uint8(255)
    mask[12, 16:44] = 128
    Image.fromarray(mask).save(built / "masks/dps/b__c.png")


def shrink_mask(built: Path, outputs: Path) -> None:
    Image.fromarray(samples.make_mask_pixels(1)[:50] * np.uint8(255)).save(built / "masks/dps/b__c.png")


def blacken(built: Path, outputs: Path) -> None:
    Image.fromarray(np.zeros((samples.SIZE, samples.SIZE), np.uint8)).save(built / "masks/dps/b__c.png")


def invert_mask(built: Path, outputs: Path) -> None:
    Image.fromarray((1 - samples.make_mask_pixels(1)) * np.uint8(255)).save(built / "masks/dps/b__c.png")


def paint_outside(built: Path, outputs: Path) -> None:
    hole = samples.make_mask_pixels(1)[..., None] == 1
    noise = np.random.default_rng(4).integers(0, 256, (samples.SIZE, samples.SIZE, 3), dtype=np.uint8)
    write_photo(outputs / "ours/l0/b__c.png", np.where(hole, samples.make_truth(1), noise))


def invert_sketch(built: Path, outputs: Path) -> None:
    grey = np.asarray(Image.open(built / "sketches/b__c.png").convert("L"))
    Image.fromarray(255 - grey).save(built / "sketches/b__c.png")


CASES: list[tuple[Callable[[Path, Path], None], str]] = [
    (remove, "missing"),
    (remove_one, "unequal-ids"),
    (add_stranger, "extra"),
    (add_second, "duplicate"),
    (take_other_build, "other-dataset"),
    (shrink, "wrong-size"),
    (shrink_mask, "wrong-size"),
    (cut, "unreadable"),
    (write_noise, "unreadable"),
    (write_16_bits, "16-bit"),
    (write_alpha, "alpha"),
    (write_palette, "color-mode"),
    (write_grey, "color-mode"),
    (turn, "exif-rotated"),
    (soften, "soft-mask"),
    (blacken, "empty-mask"),
    (invert_mask, "inverted-mask"),
    (paint_outside, "inverted-mask"),
    (invert_sketch, "inverted-sketch"),
]


def test_every_kind_has_a_case() -> None:
    assert {kind for _, kind in CASES} == set(FINDING_KINDS)


@pytest.mark.parametrize(("damage", "kind"), CASES, ids=[f"{kind}-{case.__name__}" for case, kind in CASES])
def test_a_finding_is_named_refused_and_can_be_allowed(
    damage: Callable[[Path, Path], None],
    kind: str,
    built: Path,
    outputs: Path,
    tmp_path: Path,
    network: SimpleNamespace,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage(built, outputs)
    before = samples.list_files(outputs), samples.list_files(built)
    words = [
        "score",
        str(outputs),
        "--data",
        str(built),
        "-o",
        str(tmp_path / "report"),
        "--cache",
        str(tmp_path / "c"),
    ]
    words += ["--masks", "dps", "--workers", "1", "--device", "cpu"]
    assert run_app(app, words) == 3
    said = capsys.readouterr()
    assert f"\n{kind}: " in f"\n{said.out}"
    assert f"--allow {kind}" in said.err
    assert not (tmp_path / "report").exists()
    config = ScoreConfig(masks="dps", allow=(kind,), cache=tmp_path / "c", device="cpu")
    scores = dpseval.score(outputs, built, config)
    counts = scores.results["allowed_findings"]
    assert counts[kind] >= 1
    ids = set(scores.per_image["id"])
    if kind in ("extra", "other-dataset"):
        assert ids == set(samples.IDS)
    elif kind == "unequal-ids":
        assert ids == set(samples.IDS)
        per_set = scores.per_image.groupby(["method", "level"], dropna=False)["id"].nunique()
        assert sorted(per_set) == [3, 4, 4]
        assert any("different photos" in note for note in scores.run["warnings"])
    else:
        assert ids == {"a", "d", "e"}
        assert scores.results["left_out"] == ["b__c"]
        assert any("1 photos are left out" in note for note in scores.run["warnings"])
    assert (samples.list_files(outputs), samples.list_files(built)) == before


def test_findings_of_headers_come_before_any_forward(
    built: Path, outputs: Path, tmp_path: Path, network: SimpleNamespace
) -> None:
    shrink(built, outputs)
    soften(built, outputs)
    remove_one(built, outputs)
    with pytest.raises(PairingError) as caught:
        dpseval.score(outputs, built, ScoreConfig(masks="dps", cache=tmp_path / "c", device="cpu"))
    assert count_kinds(caught.value.findings) == {"missing": 1, "unequal-ids": 1, "wrong-size": 1, "soft-mask": 1}
    assert "missing (1), unequal-ids (1), wrong-size (1), soft-mask (1)" in str(caught.value)
    assert network.seen == []


def test_findings_of_pixels_are_all_listed(
    built: Path, outputs: Path, tmp_path: Path, network: SimpleNamespace
) -> None:
    hole = samples.make_mask_pixels(0)[..., None] == 1
    write_photo(outputs / "theirs/none/a.png", np.where(hole, samples.make_truth(0), 255 - samples.make_truth(0)))
    path = outputs / "theirs/none/e.png"
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(PairingError) as caught:
        dpseval.score(outputs, built, ScoreConfig(masks="dps", cache=tmp_path / "c", device="cpu"))
    assert [(item.kind, item.id) for item in caught.value.findings] == [("inverted-mask", "a"), ("unreadable", "e")]
    assert network.seen == []  # the first photo has one already


def test_nothing_is_left(built: Path, outputs: Path, tmp_path: Path, network: SimpleNamespace) -> None:
    for name in samples.IDS:
        (outputs / f"theirs/none/{name}.png").write_bytes(b"x")
    config = ScoreConfig(masks="dps", allow=("unreadable",), cache=tmp_path / "c", device="cpu")
    with pytest.raises(dpseval.pairing.files.FindingsError, match="no photo remains"):
        dpseval.score(outputs, built, config)


def test_a_damaged_photo_of_the_dataset(built: Path, outputs: Path, tmp_path: Path, network: SimpleNamespace) -> None:
    config = ScoreConfig(masks="dps", cache=tmp_path / "c", device="cpu")
    path = built / "images/a.png"
    data = path.read_bytes()
    path.write_bytes(data[:-400])
    with pytest.raises(MissingError, match="dpsdata verify"):
        dpseval.score(outputs, built, config)
    path.unlink()
    with pytest.raises(MissingError, match="dpsdata verify"):
        dpseval.score(outputs, built, config)


def test_reports_and_caches_stay_out_of_the_sources(built: Path, outputs: Path) -> None:
    for option in ({"out": outputs / "report"}, {"out": built}, {"cache": built / "cache"}):
        with pytest.raises(UsageError, match="nothing is ever written"):
            dpseval.score(outputs, built, ScoreConfig(masks="dps", **option))


@pytest.mark.parametrize("name", ["index.html", "run.json"])
def test_a_report_replaces_no_file_of_another_kind(built: Path, outputs: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / name).write_text("mine")
    with pytest.raises(UsageError, match="is not part of a report"):
        dpseval.score(outputs, built, ScoreConfig(masks="dps", out=folder))
    assert [path.name for path in folder.iterdir()] == [name]


def test_an_inverted_mask_is_told_from_a_good_output() -> None:
    truth, mask = samples.make_truth(0), samples.make_mask_pixels(0)
    hole = mask[..., None] == 1
    painted = samples.make_output(0, 1)
    assert find_inverted(painted, truth, mask) == ""
    assert find_inverted(truth, truth, mask) == ""
    drifted = np.where(hole, painted, np.clip(truth.astype(int) + 3, 0, 255)).astype(np.uint8)
    assert find_inverted(drifted, truth, mask) == ""
    assert "white must be the hole" in find_inverted(np.where(hole, truth, painted ^ 255), truth, mask)
    lossy = np.where(hole, np.clip(truth.astype(int) + 1, 0, 255), 255 - truth).astype(np.uint8)
    assert "white must be the hole" in find_inverted(lossy, truth, mask)
    assert find_inverted(painted, truth, np.ones_like(mask)) == ""


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="expected one of missing, extra"):
        ScoreConfig(allow=("misssing",))


def test_the_sentence_of_a_finding() -> None:
    assert str(PairingIssue("alpha", "x.png", "mode RGBA")) == "alpha: x.png: mode RGBA"
