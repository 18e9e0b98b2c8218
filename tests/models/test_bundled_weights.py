"""What comes inside the package: small enough, whole, hash-checked, and trained."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dpsdata.contracts import MissingError
from dpsdata.runtime.device import keyed_generator
from dpsdata.weights import find_weights, weights_path
from models import load_editor
from models.editing.loading import find_sources
from models.methods.predictor import LoadOptions, load_method, say_method
from models.weights import bundled as bundled_weights
from models.weights.bundled import (
    BUNDLED_FOLDER,
    bundled_baseline_name,
    bundled_networks,
    bundled_sources,
    has_bundled_baseline,
)


def test_the_editing_networks_are_there_and_fit_in_24_mb() -> None:
    sources = bundled_sources("edit")
    assert set(sources) == set(bundled_networks("edit"))
    assert sum(path.stat().st_size for path in sources.values()) <= 24_000_000
    assert (BUNDLED_FOLDER / "edit" / "MODEL_CARD.md").is_file()


def test_every_file_of_the_hashes_has_its_card_with_terms_and_images_seen() -> None:
    for name, entry in json.loads((BUNDLED_FOLDER / "edit" / "bundled.json").read_text()).items():
        card = json.loads((BUNDLED_FOLDER / "edit" / entry["file"]).with_suffix(".json").read_text())
        assert card["network"].lower() == name.rsplit("-", 1)[1]
        assert card["images_seen"] > 0
        assert "research use" in card["licence"]


def test_the_baselines_are_there_and_fit_in_12_mb() -> None:
    size = 0
    for stem in ("deepfillv2", "deepfillv2-guided", "scfegan"):
        assert has_bundled_baseline(stem), stem
        path = weights_path(bundled_baseline_name(stem))
        size += path.stat().st_size
        card = json.loads(path.with_suffix(".json").read_text())
        assert card["method"] == stem
        assert card["images_seen"] > 0
        assert "research use" in card["licence"]
        assert (path.parent / "MODEL_CARD.md").is_file()
        predictor = load_method(stem, LoadOptions("bundled"))
        assert predictor.provenance.origin == "bundled"
        assert "bundled weights" in say_method(predictor)
    assert size <= 12_000_000


def test_a_damaged_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "edit"
    shutil.copytree(BUNDLED_FOLDER / "edit", copy)
    path = next(copy.glob("G*.safetensors"))
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(bytes(data))
    name = bundled_weights.bundled_name("edit", path.stem)
    file = replace(find_weights(name), bundled_folder=copy)
    monkeypatch.setattr("dpsdata.weights.find_weights", lambda wanted: file)
    with pytest.raises(MissingError, match="SHA-256"):
        bundled_sources("edit")


def test_a_task_without_bundled_networks_names_the_commands_that_help(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.weights.bundled.BUNDLED_FOLDER", tmp_path)
    with pytest.raises(MissingError, match="dps weights import FILE"):
        find_sources("bundled", "synthesis")


def test_the_synthesis_networks_paint_a_face_where_the_outline_is() -> None:
    editor = load_editor(task="synthesis")
    rows, columns = np.mgrid[:128, :128]
    results = {}
    for shift in (-16, 16):
        radius = np.hypot((rows - 66) / 44, (columns - 64 - shift) / 32)
        sketch = np.where(np.abs(radius - 1) < 0.04, 0, 255).astype(np.uint8)
        (result,) = editor.predict(None, sketch, None, [0.0])
        results[shift] = result.photo.astype(float)
        assert result.photo.std() > 15, "not grey"
    # Skin is redder than blue, and lies where the oval was drawn.
    warmth = {shift: (photo[..., 0] - photo[..., 2])[44:96] for shift, photo in results.items()}
    centre = {
        shift: float((np.clip(warm, 0, None).sum(0) * np.arange(128)).sum() / np.clip(warm, 0, None).sum())
        for shift, warm in warmth.items()
    }
    assert centre[16] - centre[-16] > 3  # of the 32 px that the drawing moved; 5.7 were seen


def test_they_paint_a_face_and_not_grey_and_the_level_does_something() -> None:
    from dpsdata.images.arrays import resize_photo
    from dpsdata.samples import read_sample_face

    editor = load_editor()
    size = editor.resolution
    photo = np.ascontiguousarray(resize_photo(read_sample_face(1), 256))
    height, width = photo.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    mask[height // 3 : 2 * height // 3, width // 3 : 2 * width // 3] = 255
    sketch = np.full((height, width), 255, np.uint8)
    step = height // 16
    sketch[height // 2 - step : height // 2 + step, width // 2] = 0
    sketch[height // 2, width // 2 - 2 * step : width // 2 + 2 * step] = 0
    low, high = editor.predict(photo, sketch, mask, [0.0, 1.0], align="none")
    hole = mask > 0
    assert np.array_equal(low.photo[~hole], photo[~hole])
    assert low.photo[hole].std() > 8
    assert np.abs(low.photo[hole].astype(int) - high.photo[hole]).mean() > 0.5
    # Nearer to the photo than a box of its mean colour is.
    mean = photo[~hole].mean(0)
    assert np.abs(low.photo[hole] - photo[hole].astype(float)).mean() < np.abs(mean - photo[hole]).mean()
    noise = keyed_generator(0, "photo", "test").integers(0, 256, (size, size, 3), dtype=np.uint8)
    assert len(editor.predict(noise, sketch[:size, :size], mask[:size, :size], [0.5], align="none")) == 1
