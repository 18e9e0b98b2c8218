"""`dps predict --method`: several methods in one folder of outputs."""

from __future__ import annotations

import json
import runpy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from dpsdata.contracts import MissingError, UsageError
from dpsdata.images.codec import encode_png, read_mask, read_photo
from dpsdata.runtime.command_line import run_app
from models.cli import app
from models.prediction.folder import FolderPrediction
from models.prediction.settings import PredictConfig

samples = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("method_samples.py"))))
SIZE = 128


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A built folder, weights, and outputs of dps at two levels."""
    folder = tmp_path_factory.mktemp("methods")
    samples.make_built(folder / "built", SIZE)
    samples.write_dps(folder / "dps", SIZE)
    samples.write_baselines(folder / "run")
    config = config_of(folder, folder / "out", "dps")
    assert FolderPrediction(config).run() == (3, 0, ())
    return folder


def config_of(place: Path, out: Path, method: str) -> PredictConfig:
    weights = place / ("dps" if method == "dps" else "run")
    return PredictConfig(place / "built", out, "dps", (0.0, 0.5), weights=str(weights), batch_size=2, method=method)


def words(place: Path, out: Path, method: str, *more: str) -> list[str]:
    return ["predict", str(place / "built"), str(out), "--masks", "dps", "--method", method, *more]


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_method_without_a_level_is_written_once_and_only_the_hole_changes(place: Path, tmp_path: Path) -> None:
    for method in ("deepfillv2-guided", "scfegan", "mean-color"):
        config = config_of(place, tmp_path / "out", method)
        assert FolderPrediction(config).run() == (3, 0, ())
        assert {path.name for path in (tmp_path / "out" / method).iterdir()} == {"none"}
        for name in samples.IDS:
            stored = read_photo(place / f"built/images/{name}.png")
            found = read_photo(tmp_path / f"out/{method}/none/{name}.png")
            hole = read_mask(place / f"built/masks/dps/{name}.png") == 1
            assert np.array_equal(found[~hole], stored[~hole])
            assert (found[hole] != stored[hole]).any()
        assert FolderPrediction(config).run() == (0, 3, ())
    again = tmp_path / "again"
    FolderPrediction(config_of(place, again, "scfegan")).run()
    wanted = {name: data for name, data in files(tmp_path / "out").items() if name.startswith("scfegan/")}
    assert {name: data for name, data in files(again).items() if name != "run.json"} == wanted


def test_all_methods_share_one_run_file_that_states_each(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for method in ("dps", "deepfillv2", "scfegan", "telea"):
        FolderPrediction(replace(config_of(place, out, method), limit=1)).run()
    stored = json.loads((out / "run.json").read_text())
    methods = stored["methods"]
    assert set(methods) == {"dps", "dps-g", "deepfillv2", "scfegan", "telea"}
    assert methods["dps"]["levels"] == methods["dps-g"]["levels"] == [0.0, 0.5]
    assert methods["scfegan"]["levels"] is None
    assert set(methods["scfegan"]["weights"]) == {"scfegan.safetensors"}
    assert (methods["scfegan"]["seed"], methods["scfegan"]["network_px"]) == (0, None)
    about = methods["scfegan"]["about"]
    assert (about["origin"], about["images_seen"], about["guided"]) == ("retrained", 1234, True)
    assert about["licence"] == "for tests alone"
    assert methods["telea"]["about"]["origin"] == "no weights"
    assert methods["telea"]["about"]["reads"] == "8-bit photo, radius 3 px"


def test_other_weights_or_another_seed_in_the_same_folder_are_refused(place: Path, tmp_path: Path) -> None:
    config = replace(config_of(place, tmp_path / "out", "scfegan"), limit=1)
    FolderPrediction(config).run()
    with pytest.raises(UsageError, match=r"other settings \(seed\)"):
        FolderPrediction(replace(config, seed=1))
    weights = tmp_path / "other"
    weights.mkdir()
    original = (place / "run/weights/scfegan.safetensors").read_bytes()
    (weights / "scfegan.safetensors").write_bytes(original[:-4] + b"\0\0\0\0")
    with pytest.raises(UsageError, match=r"other settings \(weights\)"):
        FolderPrediction(replace(config, weights=str(weights)))
    # Levels mean nothing to it, so they are no other settings.
    assert FolderPrediction(replace(config, levels=(1.0,))).pending == []
    # What is said of a method may change with a version.
    stored = json.loads((tmp_path / "out/run.json").read_text())
    stored["methods"]["scfegan"]["about"] = {"title": "of an older version"}
    (tmp_path / "out/run.json").write_text(json.dumps(stored))
    FolderPrediction(config).run()
    assert json.loads((tmp_path / "out/run.json").read_text())["methods"]["scfegan"]["about"]["title"] == "SC-FEGAN"


def test_scfegan_refined_reads_gs_sketch_at_each_level(place: Path, tmp_path: Path) -> None:
    config = config_of(place, tmp_path / "none", "scfegan-refined")
    with pytest.raises(MissingError, match="--method dps"):
        FolderPrediction(config)
    out = tmp_path / "out"
    FolderPrediction(config_of(place, out, "dps")).run()
    for name, row in (("a", 40), ("d", 80)):
        refined = np.full((SIZE, SIZE), 255, np.uint8)
        refined[row : row + 3] = 60
        refined[row + 10] = 150  # paler than one half
        (out / f"dps/l0.5/refined/{name}.png").write_bytes(encode_png(refined))
    (out / "dps/l0.5/refined/b__c.png").unlink()
    result = FolderPrediction(replace(config, out=out)).run()
    assert result.done_count == 2
    assert [name for name, _ in result.failures] == ["b__c"]

    drawn = tmp_path / "drawn"
    drawn.mkdir()
    thin = np.full((SIZE, SIZE), 255, np.uint8)
    for name, row in (("a", 41), ("d", 81)):
        thin[:] = 255
        thin[row] = 0
        (drawn / f"{name}.png").write_bytes(encode_png(thin))
    by_hand = replace(config_of(place, tmp_path / "by_hand", "scfegan"), sketches=drawn)
    FolderPrediction(by_hand).run()
    stored = json.loads((out / "run.json").read_text())["methods"]
    assert stored["scfegan-refined"]["refined_by"] == stored["dps"]["weights"]
    for name in ("a", "d"):
        ours = read_photo(out / f"scfegan-refined/l0.5/{name}.png").astype(int)
        theirs = read_photo(tmp_path / f"by_hand/scfegan/none/{name}.png")
        at_zero = read_photo(out / f"scfegan-refined/l0/{name}.png")
        # Thinning shortens a line by a pixel at most at the border of the photo, which the network hardly sees.
        assert np.abs(ours - theirs).mean() < 0.2
        assert np.abs(ours - at_zero).mean() > 0.2


def test_command_says_the_method_its_weights_and_what_is_missing(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DPS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("models.methods.weights.has_bundled_baseline", lambda stem: False)
    out = tmp_path / "out"
    assert run_app(app, words(place, out, "scfegan", "--weights", str(place / "run"), "--limit", "1")) == 0
    said = capsys.readouterr().out
    assert "SC-FEGAN: retrained weights" in said
    assert "licence: for tests alone" in said
    assert "1 photos of test x no level: 1 photos predicted" in said
    assert f"open {out / 'scfegan'}" in said
    for method, more, code, reason in (
        ("deepfillv2", [], 5, "dps train lite-deepfillv2-256 "),
        ("deepfillv2-guided", [], 5, "never released"),
        ("telea", ["--weights", "official"], 2, "needs no weights"),
        ("dps-g", [], 2, "run --method dps"),
        ("lama", [], 2, "expected one of dps"),
        ("scfegan", ["--weights", str(place / "run"), "--precision", "bf16"], 2, "fp32 alone"),
    ):
        assert run_app(app, words(place, tmp_path / "no", method, *more)) == code, method
        assert reason in capsys.readouterr().err
    assert not (tmp_path / "no").exists()
