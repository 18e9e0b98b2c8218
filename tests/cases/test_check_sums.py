"""Files of a built folder that were changed since: nothing is made of them, whatever reads them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dpsdata.cli import app as dpsdata_app
from dpsdata.contracts import BrokenImageError
from dpsdata.dataset import BuildConfig, build_dataset
from dpsdata.dataset.torch_dataset import EditDataset
from dpsdata.runtime.command_line import run_app
from dpsdata.samples import write_sample_faces
from dpseval.cli import app as dpseval_app
from models.cli import app as models_app

OTHER = "face_0002.png"


@pytest.fixture(scope="module")
def built(tiny_hed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("check_sums")
    write_sample_faces(folder / "faces", 3, 0)
    out = folder / "built"
    build_dataset(
        BuildConfig(
            folder / "faces", out, size=64, masks=("center",), split="ratio:0,0,1", workers=1, edges=str(tiny_hed)
        )
    )
    return out


def change(path: Path, how: str) -> None:
    if how == "of another photo":
        shutil.copy(path.with_name("face_0003.png"), path)
        return
    pixels = np.array(Image.open(path))
    pixels.reshape(-1)[:300] = 255 - pixels.reshape(-1)[:300]
    Image.fromarray(pixels).save(path)


@pytest.mark.parametrize(("kind", "how"), [("images", "of another photo"), ("sketches", "some pixels")])
def test_changed_files_are_not_read(built: Path, tmp_path: Path, kind: str, how: str) -> None:
    copy = tmp_path / "built"
    shutil.copytree(built, copy)
    words = ["--masks", "center", "--method", "mean-color"]
    assert run_app(models_app, ["predict", str(copy), str(tmp_path / "before"), *words]) == 0
    change(copy / kind / OTHER, how)
    assert run_app(models_app, ["predict", str(copy), str(tmp_path / "out"), *words]) == 3
    assert not (tmp_path / "out" / "mean-color" / "none" / OTHER).exists()
    words = ["--data", str(copy), "-o", str(tmp_path / "report"), "--workers", "1"]
    assert run_app(dpseval_app, ["score", str(tmp_path / "before"), *words]) in (3, 5)
    assert run_app(dpsdata_app, ["export", str(copy), str(tmp_path / "exported"), "--to", "imagefolder"]) == 5
    assert run_app(models_app, ["train", "tiny", "--data", str(copy), "--out", str(tmp_path / "run")]) not in (0, 130)
    samples = EditDataset(copy, "test", "center")
    assert samples[0]["id"] == "face_0001"
    with pytest.raises(BrokenImageError, match=f"{kind}/{OTHER} has changed since it was built; run `dpsdata verify`"):
        samples[1]


def test_a_changed_mask_is_not_read(built: Path, tmp_path: Path) -> None:
    copy = tmp_path / "built"
    shutil.copytree(built, copy)
    change(copy / "masks/center" / OTHER, "some pixels")
    with pytest.raises(BrokenImageError, match=f"masks/center/{OTHER} has changed since it was built"):
        EditDataset(copy, "test", "center")[1]
    assert (
        run_app(models_app, ["predict", str(copy), str(tmp_path / "out"), "--masks", "center", "--method", "telea"])
        == 3
    )


def test_no_numbers_and_no_levels_come_of_changed_files(built: Path, tiny_hed: Path, tmp_path: Path) -> None:
    copy = tmp_path / "built"
    shutil.copytree(built, copy)
    sketch = copy / "sketches" / OTHER
    before = sketch.read_bytes()
    change(sketch, "some pixels")
    for command in ("stats", "preview"):
        assert run_app(dpsdata_app, [command, str(copy)]) == 3
    Image.new("L", (64, 64), 255).save(sketch)
    sketch.write_bytes(sketch.read_bytes().ljust(len(before), b"\0"))  # what is kept is told by its size
    words = ["build", str(built.parent / "faces"), str(copy), "--size", "64", "--masks", "center", "--workers", "1"]
    words += ["--split", "ratio:0,0,1", "--edges", str(tiny_hed), "--levels", "0.5"]
    assert run_app(dpsdata_app, words) == 3
    assert f"sketches/{OTHER} has changed since it was built" in (copy / "errors.csv").read_text()
    assert run_app(dpsdata_app, [*words, "--retry-failed"]) == 0
    assert sketch.read_bytes() == before
    assert run_app(dpsdata_app, ["verify", str(copy)]) == 0


def test_a_photo_that_was_replaced_is_built_again_whatever_its_date(tiny_hed: Path, tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for number, level in enumerate((60, 90)):
        Image.new("RGB", (80, 80), (level, 40, 0)).save(source / f"{number}.bmp")
    config = BuildConfig(source, tmp_path / "out", size=64, masks=("center",), workers=1, edges=str(tiny_hed))
    first, photo = build_dataset(config), source / "0.bmp"
    before = photo.stat()
    shutil.copy(source / "1.bmp", photo)
    os.utime(photo, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (photo.stat().st_size, photo.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    again = build_dataset(config)
    assert (again.reused_count, again.root_hash != first.root_hash) == (1, True)
