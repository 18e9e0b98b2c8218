from __future__ import annotations

import io
import os
import runpy
import tarfile
from pathlib import Path

import pytest

from dpsdata import weights
from dpsdata.contracts import MissingError
from dpsdata.weights import archive as weights_archive

T = runpy.run_path(str(Path(__file__).with_name("toy_weights.py")))
TOY, TOY_BYTES = T["TOY"], T["TOY_BYTES"]
tree, make_zip = T["tree"], T["make_zip"]


def test_an_archive_with_bad_paths_gives_the_good_file_alone(tmp_path: Path, home: Path) -> None:
    members = {
        "readme.txt": b"TOY! text is never weights",
        "deep/er/toy.bin": TOY_BYTES,
        "../evil.bin": TOY_BYTES,
        "a/../../evil.bin": TOY_BYTES,
        "/evil.bin": TOY_BYTES,
        "C:\\evil.bin": TOY_BYTES,
        "..\\evil.bin": TOY_BYTES,
        "other.bin": b"what is this",
    }
    report = weights.import_weights(make_zip(tmp_path / "drive.zip", members, {"link.bin": "/etc/passwd"}))
    assert [(done.name, done.source) for done in report.installed] == [("toy", "drive.zip/deep/er/toy.bin")]
    reasons = dict(report.skipped)
    assert len(reasons) == 7
    assert sum("leads out" in reason for reason in reasons.values()) == 5
    assert "link" in reasons["link.bin"]
    assert "12 bytes" in reasons["other.bin"]
    assert not list(tmp_path.rglob("evil*"))
    assert tree(home) == ["weights/toy.json", "weights/toy.safetensors"]


def test_a_tar_is_taken_too_and_its_links_are_not(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "hed-data.tar", "w") as archive:
        for name, data in {"data/toy.bin": TOY_BYTES, "../evil.bin": TOY_BYTES}.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("data/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    report = weights.import_weights(tmp_path / "hed-data.tar")
    assert [done.name for done in report.installed] == ["toy"]
    assert set(dict(report.skipped)) == {"../evil.bin", "data/link"}


def test_an_archive_without_weights_says_what_was_seen(tmp_path: Path, home: Path) -> None:
    path = make_zip(tmp_path / "x.zip", {"notes.bin": b"hello", "cut.bin": b"TOY! cut", "photo.jpg": b"x"})
    with pytest.raises(MissingError, match=r"nothing in it was recognised \(cut.bin: a toy that is cut off"):
        weights.import_weights(path)
    with pytest.raises(MissingError, match="no file that could be weights"):
        weights.import_weights(make_zip(tmp_path / "y.zip", {"photo.jpg": b"x"}))
    assert tree(home) == []


def test_limits_of_archives(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights_archive, "MEMBER_BYTES_LIMIT", 1000)
    monkeypatch.setattr(weights_archive, "ARCHIVE_BYTES_LIMIT", 1500)
    with pytest.raises(MissingError, match="unpacks to more"):
        weights.import_weights(make_zip(tmp_path / "bomb.zip", {"a": bytes(2_000_000)}))
    with pytest.raises(MissingError, match="unpacks to more"):
        weights.import_weights(make_zip(tmp_path / "two.zip", {"a": bytes(900), "b": bytes(900)}))
    monkeypatch.setattr(weights_archive, "FILE_COUNT_LIMIT", 3)
    with pytest.raises(MissingError, match="more than 3 files"):
        weights.import_weights(make_zip(tmp_path / "many.zip", {f"{i}": b"x" for i in range(5)}))
    assert tree(home) == []


def test_a_damaged_archive_is_one_sentence(tmp_path: Path, home: Path) -> None:
    data = bytearray(make_zip(tmp_path / "x.zip", {"toy.bin": os.urandom(4000)}).read_bytes())
    data[2000] ^= 0xFF
    (tmp_path / "flipped.zip").write_bytes(data)
    with pytest.raises(MissingError, match="damaged"):
        weights.import_weights(tmp_path / "flipped.zip")
    (tmp_path / "cut.zip").write_bytes(data[:2000])
    with pytest.raises(MissingError, match="cut off"):
        weights.import_weights(tmp_path / "cut.zip")
    assert tree(home) == []
