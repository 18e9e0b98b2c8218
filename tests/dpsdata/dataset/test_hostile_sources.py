"""Everything that people have in a folder of photos: each file gets its correct image or its reason."""

from __future__ import annotations

import csv
import os
import struct
import zipfile
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from dpsdata import BuildConfig, build_dataset
from dpsdata.dataset.manifest import read_manifest
from dpsdata.images.codec import read_photo


def png_header_only(path: Path, width: int, height: int) -> None:
    """A PNG that claims a size and has next to no data."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    data = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + data)


@pytest.fixture
def rgb(faces: Path) -> np.ndarray:
    return np.ascontiguousarray(read_photo(faces / "face_0001.png"))


def built_ids(source: Path, out: Path, tiny_hed: Path) -> tuple[set[str], dict[str, str]]:
    build_dataset(BuildConfig(source=source, out=out, edges=str(tiny_hed), workers=1, masks=("center",)))
    ids = {row.id for row in read_manifest(out) if row.status == "ok"}
    with (out / "errors.csv").open(encoding="utf-8", newline="") as lines:
        return ids, {row["path"]: row["reason"] for row in csv.DictReader(lines)}


def test_good_photos_of_every_kind(rgb: np.ndarray, tmp_path: Path, tiny_hed: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    photo = Image.fromarray(rgb)
    photo.save(source / "plain.png")
    cv2.imwrite(str(source / "deep.png"), rgb[..., ::-1].astype(np.uint16) * 257)
    photo.convert("L").save(source / "grey.png")
    photo.quantize(64).save(source / "palette.png")
    photo.convert("RGBA").save(source / "alpha.png")
    photo.convert("CMYK").save(source / "cmyk.jpg", quality=95)
    photo.save(source / "wrong.jpg", format="PNG")
    photo.save(source / "älteste Tochter.png")
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # PIL's transpositions that undo each orientation's upright turn
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored = photo if orientation == 1 else photo.transpose(Image.Transpose(turns[orientation]))
        stored.save(source / f"exif{orientation}.png", exif=exif)
    ids, errors = built_ids(source, tmp_path / "out", tiny_hed)
    assert errors == {}
    assert len(ids) == 16
    for name in ids:
        found = read_photo(tmp_path / "out" / "images" / f"{name}.png").astype(int)
        expected = np.asarray(photo.convert("L").convert("RGB") if name == "grey" else photo).astype(int)
        limit = {"palette": 12.0, "cmyk": 6.0}.get(name, 0.0)
        assert np.abs(found - expected).mean() <= limit, name


def test_broken_things_each_have_their_reason(rgb: np.ndarray, tmp_path: Path, tiny_hed: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    outside = tmp_path / "outside.png"
    Image.fromarray(rgb).save(outside)
    Image.fromarray(rgb).save(source / "good.png")
    whole = cv2.imencode(".jpg", rgb)[1].tobytes()
    (source / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (source / "empty.jpg").write_bytes(b"")
    (source / "text.png").write_text("no picture")
    png_header_only(source / "bomb.png", 20_000, 20_000)
    (source / "dangling.png").symlink_to(tmp_path / "nowhere.png")
    (source / "escape.png").symlink_to(outside)
    (source / "folder.jpg").mkdir()
    os.mkfifo(source / "pipe.png")
    ids, errors = built_ids(source, tmp_path / "out", tiny_hed)
    assert ids == {"good"}
    expected = {"truncated.jpg", "empty.jpg", "text.png", "bomb.png", "dangling.png", "escape.png", "pipe.png"}
    assert expected <= set(errors) <= expected | {"folder.jpg"}
    assert all(errors.values())


def test_two_photos_of_one_name_both_come_in(rgb: np.ndarray, tmp_path: Path, tiny_hed: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    Image.fromarray(rgb).save(source / "x.png")
    Image.fromarray(rgb[:, ::-1]).save(source / "x.jpg")
    ids, errors = built_ids(source, tmp_path / "out", tiny_hed)
    assert errors == {}
    assert len(ids) == 2
    assert all(name.startswith("x-") and len(name) == 10 for name in ids)


def test_zip_with_paths_out_of_it(rgb: np.ndarray, faces: Path, tmp_path: Path, tiny_hed: Path) -> None:
    data = (faces / "face_0001.png").read_bytes()
    archive = tmp_path / "photos.zip"
    with zipfile.ZipFile(archive, "w") as members:
        members.writestr("good/1.png", data)
        members.writestr("../evil.png", data)
        members.writestr("/etc/evil.png", data)
        members.writestr("good/../../evil.png", data)
    before = set(tmp_path.rglob("*"))
    ids, errors = built_ids(archive, tmp_path / "out", tiny_hed)
    assert len(ids) == 1
    assert len(errors) == 3
    assert not [path for path in set(tmp_path.rglob("*")) - before if "evil" in path.name]
    found = read_photo(tmp_path / "out" / "images" / f"{ids.pop()}.png")
    np.testing.assert_array_equal(found, rgb)
