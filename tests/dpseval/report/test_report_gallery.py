"""The gallery's files: shared, bounded, replaced, and never read from outside of the folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dpsdata.contracts import UsageError
from dpsdata.images.codec import read_photo
from dpseval.report.gallery import THUMBNAIL_BYTES, GalleryItem, Panel, error_map, read_gallery, save_gallery


def photo(seed: int, side_px: int = 64) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side_px, side_px, 3)).astype(np.uint8)


def test_error_map_by_hand() -> None:
    truth = np.full((1, 4, 3), 100, np.uint8)
    output = truth.copy()
    output[0, 1] += 32
    output[0, 2] += 64
    output[0, 3] = 255
    colours = error_map(output, truth)
    assert colours[0, 0].max() <= 4
    brightness = colours[0].astype(int).sum(axis=1)
    assert brightness[0] < brightness[1] < brightness[2] == brightness[3]


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(0, 256, dtype=np.uint8), (300, 2))
    panels = [Panel("input", photo(1)), Panel("mask", ramp, "42 %"), Panel("truth", photo(1))]
    save_gallery(tmp_path, [GalleryItem("a/ü<", "worst psnr", 0.25, panels)])
    (item,) = read_gallery(tmp_path)
    assert (item.id, item.reason, item.hole_ratio) == ("a/ü<", "worst psnr", 0.25)
    assert [(panel.label, panel.caption) for panel in item.panels] == [("input", ""), ("mask", "42 %"), ("truth", "")]
    assert item.panels[0].jpeg == item.panels[2].jpeg
    assert len(list((tmp_path / "gallery").glob("*.jpg"))) == 2  # equal pictures share a file
    assert item.panels[1].jpeg is not None
    assert read_photo(item.panels[1].jpeg).shape == (150, 256, 3)  # 300 x 512, brought to 256 px


def test_a_second_save_replaces_the_first(tmp_path: Path) -> None:
    save_gallery(tmp_path, [GalleryItem("x", "sample", 0.1, [Panel("input", photo(1))])])
    foreign = tmp_path / "gallery" / "notes.txt"
    foreign.write_text("mine")
    save_gallery(tmp_path, [GalleryItem("y", "sample", 0.1, [Panel("input", photo(2))])])
    assert len(list((tmp_path / "gallery").glob("*.jpg"))) == 1
    assert foreign.exists()


def test_same_pictures_same_bytes(tmp_path: Path) -> None:
    contents = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        save_gallery(
            tmp_path / name, [GalleryItem("x", "sample", 0.1, [Panel("input", photo(1)), Panel("b", photo(2))])]
        )
        contents.append({path.name: path.read_bytes() for path in (tmp_path / name / "gallery").iterdir()})
    assert contents[0] == contents[1]


def test_many_pictures_get_smaller(tmp_path: Path) -> None:
    panels = [Panel("noise", photo(1, 208))] * 80
    save_gallery(tmp_path, [GalleryItem("x", "sample", 0.1, panels)])
    (item,) = read_gallery(tmp_path)
    assert sum(len(panel.jpeg or b"") for panel in item.panels) <= THUMBNAIL_BYTES


@pytest.mark.parametrize(
    "pixels", [np.zeros((4, 4), np.float32), np.zeros((4, 4, 3, 1), np.uint8), np.zeros((0, 4), np.uint8)]
)
def test_no_picture_is_refused(tmp_path: Path, pixels: np.ndarray) -> None:
    with pytest.raises(UsageError, match="panel 'input': expected uint8"):
        save_gallery(tmp_path, [GalleryItem("x", "sample", 0.1, [Panel("input", pixels)])])


@pytest.mark.parametrize("name", ["../../secret.jpg", "/etc/hostname", "0123456789abcdef.jpg", "x.jpg", ""])
def test_other_files_are_never_shown(tmp_path: Path, name: str) -> None:
    save_gallery(tmp_path, [GalleryItem("x", "sample", 0.1, [Panel("input", photo(1))])])
    (tmp_path / "secret.jpg").write_bytes(b"\xff\xd8\xffsecret")
    (tmp_path / "gallery" / "0123456789abcdef.jpg").symlink_to(tmp_path / "secret.jpg")
    index = tmp_path / "gallery" / "gallery.json"
    rows = json.loads(index.read_text())
    rows[0]["panels"][0]["file"] = name
    index.write_text(json.dumps(rows))
    assert read_gallery(tmp_path)[0].panels[0].jpeg is None


def test_what_is_no_jpeg_is_not_shown(tmp_path: Path) -> None:
    save_gallery(tmp_path, [GalleryItem("x", "sample", 0.1, [Panel("input", photo(1))])])
    next((tmp_path / "gallery").glob("*.jpg")).write_bytes(b"<script>alert(1)</script>")
    assert read_gallery(tmp_path)[0].panels[0].jpeg is None


def test_a_report_without_pictures(tmp_path: Path) -> None:
    assert read_gallery(tmp_path) == []
