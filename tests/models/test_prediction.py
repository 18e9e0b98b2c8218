from __future__ import annotations

import json
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from dpsdata import EditDataset
from dpsdata.contracts import UsageError
from dpsdata.dataset.manifest import ManifestRow, write_dataset
from dpsdata.images.codec import encode_png, read_grey, read_photo, read_sketch, write_mask, write_photo, write_sketch
from dpsdata.masks import make_mask
from dpsdata.runtime.command_line import run_app
from models.cli import app
from models.editing.editor import load_editor
from models.prediction.folder import FolderPrediction
from models.prediction.settings import PredictConfig

shared = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("tiny_weights.py"))))
ROOT = Path(__file__).resolve().parents[2]
SIZE = 64
IDS = ("a", "b__c", "d", "e", "last")
LEVELS = (0.0, 0.25, 1.0)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    shared.write_tiny_weights(folder)
    return folder


def make_built(folder: Path, size: int = SIZE) -> Path:
    """Five photos of noise with a few lines; masks of `dps` are stored, the last photo is in `train`."""
    for name in ("images", "sketches", "masks/dps"):
        (folder / name).mkdir(parents=True)
    rows = []
    for index, name in enumerate(IDS):
        generator = np.random.default_rng(index)
        sketch = np.zeros((size, size), np.uint8)
        sketch[10 + 5 * index, 5:60] = 1
        write_photo(folder / f"images/{name}.png", generator.integers(0, 256, (size, size, 3), dtype=np.uint8))
        write_sketch(folder / f"sketches/{name}.png", sketch)
        write_mask(folder / f"masks/dps/{name}.png", make_mask("dps", size, size, 0, name))
        split = "train" if name == "last" else "test"
        rows.append(ManifestRow(name, split, name, "", size, size, f"{index}", "", "", {"dps": "x"}, {}))
    write_dataset(folder, rows, {"size": size, "config": {"seed": 0}, "stages": [], "splits": {}})
    return folder


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_built(tmp_path_factory.mktemp("data") / "built")


@pytest.fixture(scope="module")
def config(built: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> PredictConfig:
    out = tmp_path_factory.mktemp("outputs") / "out"
    return PredictConfig(built, out, "dps", LEVELS, weights=str(weights), batch_size=3)


@pytest.fixture(scope="module")
def done(config: PredictConfig) -> Path:
    result = FolderPrediction(config).run()
    assert result == (4, 0, ())
    return config.out


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def words(config: PredictConfig, *more: str) -> list[str]:
    levels = ",".join(map(str, config.levels))
    head = ["predict", str(config.built), str(config.out), "--masks", config.masks, "--levels", levels]
    return [*head, "--weights", config.weights, *more]


def test_layout_is_the_one_that_scoring_reads(done: Path) -> None:
    expected = {"run.json"}
    for level in ("l0", "l0.25", "l1"):
        for folder in (f"dps/{level}", f"dps/{level}/refined", f"dps-g/{level}"):
            expected |= {f"{folder}/{name}.png" for name in IDS[:4]}
    assert set(files(done)) == expected


def test_pixels_are_the_editors_in_the_hole_and_the_stored_ones_around_it(done: Path, config: PredictConfig) -> None:
    editor = load_editor(config.weights, "edit")
    dataset = EditDataset(config.built, "test", "dps")
    changed_count = 0
    for sample in (dataset[index] for index in range(len(dataset))):
        name, hole = sample["id"], sample["mask"][0].numpy() == 1
        stored = read_photo(config.built / f"images/{name}.png")
        for level in LEVELS:
            out = editor.forward(sample["photo"][None], sample["sketch"][None], sample["mask"][None], level)
            for method, tensor in (("dps", out.inpainter_photo), ("dps-g", out.refiner_photo)):
                pixels = read_photo(done / method / f"l{level:g}" / f"{name}.png")
                assert np.array_equal(pixels[~hole], stored[~hole])
                exact = (np.clip(tensor[0].permute(1, 2, 0).numpy(), -1, 1) + 1) * 127.5
                assert np.abs(pixels[hole] - exact[hole]).max() <= 1
                changed_count += int((pixels != stored).any())
            refined = read_grey(done / "dps" / f"l{level:g}" / "refined" / f"{name}.png")
            assert (refined[~hole] == 255).all()
            assert np.abs(refined - 255 * (1 - out.refined_sketch[0, 0].numpy())).max() <= 1
            assert refined.min() < 250
    assert changed_count == 2 * len(LEVELS) * 4


@pytest.mark.parametrize("size", [48, 160])
def test_photos_of_another_size_are_resampled_and_given_back(config: PredictConfig, tmp_path: Path, size: int) -> None:
    large = replace(config, built=make_built(tmp_path / "large", size), out=tmp_path / "out", levels=(0.5,))
    assert FolderPrediction(large).run() == (4, 0, ())
    for name in IDS[:4]:
        hole = read_grey(large.built / f"masks/dps/{name}.png") == 255
        stored = read_photo(large.built / f"images/{name}.png")
        for method in ("dps", "dps-g"):
            pixels = read_photo(large.out / method / "l0.5" / f"{name}.png")
            assert np.array_equal(pixels[~hole], stored[~hole])
            assert (pixels[hole] != stored[hole]).any()
        refined = read_grey(large.out / "dps/l0.5/refined" / f"{name}.png")
        assert refined.shape == (size, size)
        assert (refined[~hole] == 255).all()
        assert refined.min() < 250


def test_the_batch_does_not_matter_and_a_repeat_gives_the_same_bytes(
    done: Path, config: PredictConfig, tmp_path: Path
) -> None:
    FolderPrediction(replace(config, out=tmp_path / "same")).run()
    assert files(tmp_path / "same") == files(done)
    FolderPrediction(replace(config, out=tmp_path / "one", batch_size=1)).run()
    singles = files(tmp_path / "one")
    assert singles.keys() == files(done).keys()
    assert singles["run.json"] == files(done)["run.json"]
    for name in singles.keys() - {"run.json"}:
        apart = read_photo(tmp_path / "one" / name).astype(int) - read_photo(done / name)
        assert np.abs(apart).max() <= 1, name


def test_run_file_tells_what_the_pixels_depend_on(done: Path, config: PredictConfig) -> None:
    stored = json.loads((done / "run.json").read_text())
    assert stored["dataset_root_hash"] == EditDataset(config.built, "all").root_hash
    assert (stored["masks"], stored["sketches"], stored["split"], stored["size"]) == ("dps", None, "test", SIZE)
    assert set(stored["methods"]) == {"dps", "dps-g"}
    method = stored["methods"]["dps"]
    assert method["levels"] == [0.0, 0.25, 1.0]
    assert set(method["weights"]) == {"G16", "G32", "G64", "F64"}
    assert method["precision"] == "fp32"


def test_an_interrupted_run_goes_on_at_the_sample(config: PredictConfig, done: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = FolderPrediction(replace(config, out=out, limit=2)).run()
    assert first.done_count == 2
    kept = out / "dps/l0/a.png"
    kept.write_bytes(b"not touched again")
    (out / "dps/l0.25/refined/b__c.png").unlink()
    job = FolderPrediction(replace(config, out=out))
    assert [job.ids[index] for index in job.pending] == ["b__c", "d", "e"]
    assert job.run() == (3, 1, ())
    assert kept.read_bytes() == b"not touched again"
    assert files(out).keys() == files(done).keys()
    assert FolderPrediction(replace(config, out=out)).run() == (0, 4, ())


def test_other_settings_in_the_same_folder_are_refused(done: Path, config: PredictConfig, tmp_path: Path) -> None:
    before = files(done)
    for other, named in (
        (replace(config, levels=(0.5,)), "(levels)"),
        (replace(config, masks="center"), "(masks)"),
        (replace(config, split="train"), "(split)"),
        (replace(config, sketches=config.built / "sketches"), "(sketches, sketches_sha256)"),
    ):
        with pytest.raises(UsageError, match="other settings") as caught:
            FolderPrediction(other)
        assert named in str(caught.value)
    assert files(done) == before
    unknown = tmp_path / "unknown"
    (unknown / "dps").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"without run\.json"):
        FolderPrediction(replace(config, out=unknown))
    (unknown / "run.json").write_text("[[[")
    with pytest.raises(UsageError, match="damaged"):
        FolderPrediction(replace(config, out=unknown))


def test_other_methods_in_the_run_file_are_kept(done: Path, config: PredictConfig, tmp_path: Path) -> None:
    stored = json.loads((done / "run.json").read_text())
    stored["methods"] = {"deepfillv2": {"weights": "w"}}
    (tmp_path / "run.json").write_text(json.dumps(stored))
    FolderPrediction(replace(config, out=tmp_path, limit=1)).run()
    assert set(json.loads((tmp_path / "run.json").read_text())["methods"]) == {"deepfillv2", "dps", "dps-g"}


def test_outputs_that_the_run_file_does_not_name_are_refused(done: Path, config: PredictConfig, tmp_path: Path) -> None:
    """Else they would pass as outputs of this run, whatever made them."""
    stored = json.loads((done / "run.json").read_text())
    stored["methods"] = {"telea": {}}
    (tmp_path / "run.json").write_text(json.dumps(stored))
    (tmp_path / "dps-g").mkdir()
    with pytest.raises(UsageError, match=r"outputs of dps-g of which run\.json says nothing"):
        FolderPrediction(replace(config, out=tmp_path))


def test_two_methods_that_begin_at_once_both_get_into_the_run_file(config: PredictConfig, tmp_path: Path) -> None:
    config = replace(config, out=tmp_path / "out", limit=1)
    first, second = (FolderPrediction(replace(config, method=name)) for name in ("telea", "mean-color"))
    first.run()
    second.run()
    assert set(json.loads((config.out / "run.json").read_text())["methods"]) == {"telea", "mean-color"}


def test_drawn_sketches_of_a_folder(config: PredictConfig, done: Path, tmp_path: Path) -> None:
    """The stored lines, drawn light on dark and read back thin, give the very same pictures; others do not."""
    drawn = tmp_path / "drawn"
    drawn.mkdir()
    for name in IDS[:4]:
        lines = read_sketch(config.built / f"sketches/{name}.png")
        (drawn / f"{name}.png").write_bytes(encode_png(lines * np.uint8(255)))
    same = replace(config, out=tmp_path / "same", sketches=drawn)
    FolderPrediction(same).run()
    ours, theirs = files(same.out), files(done)
    assert {name for name in ours if ours[name] != theirs[name]} == {"run.json"}

    thick = np.full((SIZE, SIZE), 255, np.uint8)
    thick[20:27, :] = 0
    (drawn / "a.png").write_bytes(encode_png(thick))
    (drawn / "d.png").unlink()
    (drawn / "e.png").write_bytes(encode_png(thick[:32]))
    with pytest.raises(UsageError, match="sketches_sha256"):
        FolderPrediction(same)
    result = FolderPrediction(replace(same, out=tmp_path / "other")).run()
    assert result.done_count == 2
    assert {name for name, _ in result.failures} == {"d", "e"}
    assert "its sketch has 64 x 32 px" in dict(result.failures)["e"]
    assert files(tmp_path / "other")["dps/l0/a.png"] != theirs["dps/l0/a.png"]


def test_masks_that_are_not_stored_are_drawn(config: PredictConfig, tmp_path: Path) -> None:
    job = FolderPrediction(replace(config, out=tmp_path, masks="center", levels=(0.5,), limit=1))
    assert job.run().done_count == 1
    hole = make_mask("center", SIZE, SIZE, 0, "a") == 1
    changed = (read_photo(tmp_path / "dps/l0.5/a.png") != read_photo(config.built / "images/a.png")).any(axis=2)
    assert changed.any()
    assert not (changed & ~hole).any()


def test_command_says_counts_and_what_is_next(
    config: PredictConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = replace(config, out=tmp_path / "out")
    assert run_app(app, words(here, "--limit", "2", "--dry-run")) == 0
    assert "2 photos to predict, 0 are there" in capsys.readouterr().out
    assert not here.out.exists()
    assert run_app(app, words(here, "--limit", "2", "--batch", "2")) == 0
    said = capsys.readouterr()
    assert "2 photos predicted, 0 already there, 0 failed" in said.out
    assert f"open {here.out / 'dps'}" in said.out
    assert said.err == ""


def test_a_damaged_photo_is_told_and_the_others_are_done(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_built(tmp_path / "built")
    (folder / "images/d.png").write_bytes(b"nothing")
    assert run_app(app, words(PredictConfig(folder, tmp_path / "out", "dps", (0.0,), weights=str(weights)))) == 3
    said = capsys.readouterr()
    assert "3 photos predicted, 0 already there, 1 failed" in said.out
    assert "failed: d:" in said.err
    assert {path.name for path in (tmp_path / "out/dps/l0").glob("*.png")} == {"a.png", "b__c.png", "e.png"}


def test_wrong_input_ends_with_a_sentence_and_writes_nothing(
    config: PredictConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = replace(config, out=tmp_path / "out")
    for command, code, reason in (
        (words(replace(here, weights="official")), 5, "dps weights import"),
        (words(replace(here, weights=str(tmp_path / "none"))), 5, "no such folder"),
        (words(replace(here, built=tmp_path / "none")), 5, "no built dataset"),
        (words(here, "--levels", "2"), 2, "[0, 1]"),
        (words(here, "--levels", "0.1,0.10000001"), 2, "both be written as l0.1"),
        (words(here, "--masks", "round"), 2, "expected one of dps"),
        (words(here, "--split", "nope"), 2, "expected all or one of"),
        (words(here, "--batch", "0"), 2, "at least 1 photo"),
        (words(here, "--limit", "0"), 2, "at least 1 photo"),
        (words(here, "--sketches", str(tmp_path / "no")), 2, "no such folder"),
        (words(here, "--sketches", str(tmp_path)), 5, "name them ID.png"),
        (["predict", *[str(config.built)] * 2, "--masks", "dps", "--weights", config.weights], 2, "is a built dataset"),
        (words(here, "--device", "abacus"), 2, "device"),
    ):
        assert run_app(app, command) == code, (command, capsys.readouterr().err)
        assert reason in capsys.readouterr().err, command
    assert not here.out.exists()


def test_help_of_predict_loads_no_heavy_library() -> None:
    code = (
        "import sys; from models.cli import app; from dpsdata.runtime.command_line import run_app; "
        "code = run_app(app, ['predict', '--help']); "
        "print('heavy:', sorted({'torch', 'cv2', 'numpy', 'pandas', 'skimage'} & set(sys.modules))); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert "heavy: []" in done.stdout
