"""HEIC photos, as phones write them, through the extra `[heif]`."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dpsdata.cli import app
from dpsdata.dataset.manifest import read_manifest
from dpsdata.images.codec import probe_image, read_alpha, read_photo
from dpsdata.runtime.command_line import run_app

pillow_heif = pytest.importorskip("pillow_heif", reason="the extra [heif] is not installed")
ROWS, COLUMNS = np.mgrid[0:96, 0:128]
PHOTO = np.stack([ROWS * 2, COLUMNS * 2 - 20, 200 - ROWS - COLUMNS // 2], 2).clip(0, 255).astype(np.uint8)


def heic(pixels: np.ndarray, **options: object) -> bytes:
    stream = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(pixels)).save(stream, quality=95, **options)
    return stream.getvalue()


def error(found: np.ndarray, expected: np.ndarray) -> float:
    assert found.shape == expected.shape
    return float(np.abs(found.astype(int) - expected).mean())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_heic_is_upright_once(orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    stream = io.BytesIO()
    Image.fromarray(PHOTO).save(stream, "JPEG", quality=97, exif=exif)
    expected = read_photo(stream.getvalue())
    data = heic(PHOTO, exif=exif.tobytes())
    assert error(read_photo(data), expected) < 3
    assert probe_image(data) == (expected.shape[1], expected.shape[0])


def test_alpha_and_depth_of_a_heic() -> None:
    alpha = np.full(PHOTO.shape[:2], 255, np.uint8)
    alpha[:30] = 0
    data = heic(np.dstack([PHOTO, alpha]))
    assert error(read_alpha(data), alpha) < 2
    assert read_photo(data)[:24].mean() > 250, "transparent pixels are white"
    assert error(read_photo(data)[40:], PHOTO[40:]) < 3
    deep = pillow_heif.from_bytes("RGB;16", (128, 96), (PHOTO.astype("<u2") * 257).tobytes())
    stream = io.BytesIO()
    deep.save(stream, quality=95)
    assert error(read_photo(stream.getvalue()), PHOTO) < 3


def test_a_folder_of_heic_is_built(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "IMG_0001.HEIC").write_bytes(heic(PHOTO))
    (tmp_path / "src" / "IMG_0002.jpg").write_bytes(heic(PHOTO[::-1]))  # renamed by a chat program
    (tmp_path / "src" / "IMG_0003.heic").write_bytes(heic(PHOTO)[:900])
    words = [
        "build",
        str(tmp_path / "src"),
        str(tmp_path / "out"),
        "--size",
        "64",
        "--masks",
        "center",
        "--workers",
        "1",
    ]
    assert run_app(app, words) == 3
    rows = {row.id: row for row in read_manifest(tmp_path / "out")}
    assert {name: row.status for name, row in rows.items()} == {
        "IMG_0001": "ok", "IMG_0002": "ok", "IMG_0003": "failed",
    }  # fmt: skip
    assert (rows["IMG_0001"].width, rows["IMG_0001"].height) == (128, 96)
    first, second = (read_photo(tmp_path / f"out/images/IMG_000{number}.png") for number in (1, 2))
    assert error(first[::-1], second) < 6
