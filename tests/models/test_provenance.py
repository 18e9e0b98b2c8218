"""The mark of an edit, read by Pillow's own XMP reader, beside what a photo says already."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from dpsdata.contracts import MissingError, UsageError
from dpsdata.images.codec import encode_png, read_photo
from dpsdata.images.photo_file import read_photo_file
from dpsdata.runtime.command_line import run_app
from models.app.engine import Engine
from models.app.session import EditSession
from models.cli import app
from models.editing.provenance import hash_stored, inspect_file, read_mark, write_mark
from models.editing.request import read_stored_run

SIDE = 128
OWN = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<r:Description r:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
    b' xmlns:e="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmp:CreatorTool="Camera 1">'
    b"<dc:creator><r:Seq><r:li>A. Person</r:li></r:Seq></dc:creator>"
    b"<e:DigitalSourceType>http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture</e:DigitalSourceType>"
    b"</r:Description></r:RDF></x:xmpmeta>"
)


def described(data: bytes) -> list[dict[str, Any]]:
    """What Pillow and defusedxml make of a file's XMP."""
    pytest.importorskip("defusedxml", reason="Pillow's XMP reader needs defusedxml")
    found = Image.open(io.BytesIO(data)).getxmp()["xmpmeta"]["RDF"]["Description"]
    return found if isinstance(found, list) else [found]


def check_marked(data: bytes, kind: str = "compositeWithTrainedAlgorithmicMedia") -> str:
    """Hash of the request; every property stands once."""
    merged: dict[str, Any] = {}
    for part in described(data):
        for key, value in part.items():
            assert key == "about" or key not in merged, f"{key} twice"
            merged[key] = value
    assert merged["DigitalSourceType"] == f"http://cv.iptc.org/newscodes/digitalsourcetype/{kind}"
    assert str(merged["CreatorTool"]).startswith("Deep Plastic Surgery ")
    return str(merged["RequestSHA256"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("inputs")
    photo = np.random.default_rng(0).integers(60, 190, (SIDE, SIDE, 3), dtype=np.uint8)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(photo).save(place / "photo.jpg", quality=95, icc_profile=profile, xmp=OWN, dpi=(300, 300))
    mask, sketch = np.zeros((SIDE, SIDE), np.uint8), np.full((SIDE, SIDE), 255, np.uint8)
    mask[40:80, 30:70] = 255
    sketch[60, 35:60] = 0
    (place / "mask.png").write_bytes(encode_png(mask))
    (place / "sketch.png").write_bytes(encode_png(sketch))
    return place


def edit(folder: Path, out: Path, *more: str) -> None:
    words = [f"{folder}/photo.jpg", "--mask", f"{folder}/mask.png", "--sketch", f"{folder}/sketch.png"]
    assert run_app(app, ["edit", *words, "--align", "none", "--levels", "0.25,1", *more, "-o", str(out)]) == 0


def test_every_edited_picture_of_the_command_line_is_marked(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(folder, tmp_path / "out")
    digest = hash_stored(read_stored_run(tmp_path / "out"))
    names = ("l0.25.png", "l1.png", "refiner/l1.png", "strip.png")
    assert {check_marked((tmp_path / "out" / name).read_bytes()) for name in names} == {digest}
    assert described((tmp_path / "out" / "l1.png").read_bytes())[0]["creator"]["Seq"]["li"] == "A. Person"
    capsys.readouterr()
    assert run_app(app, ["inspect", f"{tmp_path}/out/l0.25.png"]) == 0
    told = capsys.readouterr().out
    assert digest in told
    assert "level:   0.25" in told
    assert "hole:    1,600 px of 16,384, x 30 to 69, y 40 to 79" in told
    assert told.count("\n") == 6 + len(read_stored_run(tmp_path / "out").weights_sha256)

    (tmp_path / "sent.png").write_bytes((tmp_path / "out" / "l1.png").read_bytes())
    assert run_app(app, ["inspect", f"{tmp_path}/sent.png"]) == 0
    assert "hole" not in capsys.readouterr().out
    edit(folder, tmp_path / "other", "--feather", "4")
    assert hash_stored(read_stored_run(tmp_path / "other")) != digest
    (tmp_path / "other" / "l1.png").write_bytes((tmp_path / "sent.png").read_bytes())
    with pytest.raises(MissingError, match="of another request"):
        inspect_file(tmp_path / "other" / "l1.png")


def test_the_mark_can_be_left_out_and_runs_repeat_byte_for_byte(folder: Path, tmp_path: Path) -> None:
    edit(folder, tmp_path / "bare", "--no-provenance")
    data = (tmp_path / "bare" / "l1.png").read_bytes()
    assert read_photo_file(data).metadata.xmp == OWN
    assert b"CreatorTool" not in (tmp_path / "bare" / "strip.png").read_bytes()
    edit(folder, tmp_path / "marked")
    assert np.array_equal(read_photo(data), read_photo(tmp_path / "marked" / "l1.png"))
    for name in ("bare", "marked"):
        assert run_app(app, ["edit", "--from", f"{tmp_path}/{name}", "-o", f"{tmp_path}/again"]) == 0
        for path in (tmp_path / name).rglob("*.*"):
            assert (tmp_path / "again" / path.relative_to(tmp_path / name)).read_bytes() == path.read_bytes()
    assert run_app(app, ["inspect", f"{tmp_path}/bare/strip.png"]) == 3
    assert run_app(app, ["inspect", str(folder / "nothing.png")]) == 2
    assert run_app(app, ["synthesize", str(folder / "sketch.png"), "--levels", "1", "-o", f"{tmp_path}/drawn"]) == 0
    check_marked((tmp_path / "drawn" / "l1.png").read_bytes(), "trainedAlgorithmicMedia")


def test_the_app_marks_png_and_jpeg_which_keeps_its_profile(folder: Path, tmp_path: Path) -> None:
    session = EditSession(Engine("bundled"))
    session.open_photo((folder / "photo.jpg").read_bytes(), "me.jpg")
    layers = {role: session.add_layer(role, (folder / f"{role}.png").read_bytes(), role) for role in ("mask", "sketch")}
    steps = {role: [{"kind": "file", "id": layer["id"]}] for role, layer in layers.items()}
    session.run(json.dumps({**steps, "box": None}), 0.25)
    png, jpeg = session.save_photo()[1], session.save_jpeg()[1]
    digest = check_marked(png)
    assert check_marked(jpeg) == digest
    found, own = Image.open(io.BytesIO(jpeg)), Image.open(folder / "photo.jpg")
    assert found.info["icc_profile"] == own.info["icc_profile"]
    assert found.info["dpi"] == own.info["dpi"]
    assert np.abs(read_photo(jpeg).astype(int) - read_photo(png)).mean() < 2
    (tmp_path / "me.jpg").write_bytes(jpeg)
    mark, _ = inspect_file(tmp_path / "me.jpg")
    assert mark is not None
    assert mark.request_sha256 == digest
    assert hash_stored_zip(session, tmp_path) == digest
    session.marked = False
    assert read_photo_file(session.save_photo()[1]).metadata.xmp == OWN


def hash_stored_zip(session: EditSession, place: Path) -> str:
    import zipfile

    name, packed = session.save_edit()
    zipfile.ZipFile(io.BytesIO(packed)).extractall(place)
    return hash_stored(read_stored_run(place / name.removesuffix(".zip")))


@pytest.mark.parametrize(
    "own", [None, OWN, b"", b"no xml", b"<x><!DOCTYPE a></r:RDF>", OWN.replace(b"r:RDF", b"rdf:RDF "), b"\xff\xfe<\0"]
)
def test_any_packet_gets_one_mark_and_a_newer_one_replaces_it(own: bytes | None) -> None:
    first = write_mark(own, "1" * 64)
    second = write_mark(first, "2" * 64)
    assert len(second) == len(first)
    for packet, digit in ((first, "1"), (second, "2")):
        assert packet.count(b"DigitalSourceType") == 1
        mark = read_mark(packet)
        assert mark is not None
        assert mark.request_sha256 == digit * 64
    assert read_mark(own) is None


def test_a_picture_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"dear diary")
    with pytest.raises(UsageError, match="pass a PNG or JPEG"):
        inspect_file(tmp_path / "a.png")
