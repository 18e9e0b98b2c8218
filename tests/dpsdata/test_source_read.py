from __future__ import annotations

import os
import pickle
import threading
import zipfile
import zlib
from pathlib import Path

import pytest

from dpsdata.contracts import BrokenImageError
from dpsdata.sources.layouts import SourceSample, find_samples, read_sample, sample_stamp
from dpsdata.sources.scan import open_zip


def _zip(file: Path, *paths: str) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in paths:
            archive.writestr(path, path.encode())
    return file


def test_damaged_member(tmp_path: Path) -> None:
    file = tmp_path / "s.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.jpg", b"photo-bytes")
    file.write_bytes(file.read_bytes().replace(b"photo-bytes", b"photo-bytez"))
    (sample,) = find_samples(file).samples
    with pytest.raises(BrokenImageError, match="damaged"):
        read_sample(sample)


def test_zip_is_opened_once(tmp_path: Path) -> None:
    file = _zip(tmp_path / "s.zip", "a.jpg")
    assert open_zip(file) is open_zip(file)
    first = open_zip(file)
    _zip(file, "a.jpg", "b.jpg")
    assert open_zip(file) is not first


def _read_path(path: Path) -> bytes:
    return read_sample(SourceSample("x", path.name, path))


def test_reading_never_blocks_on_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.jpg"
    os.mkfifo(pipe)
    reasons: list[str] = []

    def read() -> None:
        try:
            _read_path(pipe)
        except BrokenImageError as error:
            reasons.append(str(error))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(timeout=5)
    assert reasons == ["not an ordinary file but a pipe, a socket or a device"]


def test_reasons_of_broken_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "dangling.jpg").symlink_to("nowhere")
    (tmp_path / "big.jpg").write_bytes(bytes(11))
    monkeypatch.setattr("dpsdata.sources.scan.MAX_SAMPLE_BYTES", 10)
    for name, reason in {
        "empty.jpg": "0 bytes",
        "dangling.jpg": "a link to a file that does not exist",
        "gone.jpg": "the file does not exist",
        "big.jpg": "more than the 10 bytes",
        ".": "a folder",
    }.items():
        with pytest.raises(BrokenImageError, match=reason):
            _read_path(tmp_path / name)


def test_stamps_follow_the_content(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "a.jpg").write_bytes(b"photo")
    (sample,) = find_samples(tmp_path / "s").samples
    before = sample_stamp(sample)
    assert before == sample_stamp(sample)
    sample.file.write_bytes(b"something else")
    assert sample_stamp(sample) != before
    sample.file.unlink()
    assert sample_stamp(sample) == "missing"
    (member,) = find_samples(_zip(tmp_path / "s.zip", "a.jpg")).samples
    assert sample_stamp(member) == "5-" + f"{zlib.crc32(b'a.jpg'):08x}"


def test_samples_travel_to_workers(tmp_path: Path) -> None:
    listing = find_samples(_zip(tmp_path / "s.zip", "a.jpg"))
    assert pickle.loads(pickle.dumps(listing)) == listing
