from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from dpsdata.contracts import EnvironmentFailure
from dpsdata.runtime.files import is_temporary_name, write_bytes_atomic, write_failure, write_text_atomic


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_content_is_replaced_and_nothing_else_stays(tmp_path: Path) -> None:
    write_bytes_atomic(tmp_path / "a.bin", b"old")
    write_bytes_atomic(tmp_path / "a.bin", b"new\n")
    write_text_atomic(str(tmp_path / "ä.txt"), "naïve\r\nline\n")
    assert (tmp_path / "a.bin").read_bytes() == b"new\n"
    assert (tmp_path / "ä.txt").read_bytes() == "naïve\r\nline\n".encode()
    assert names(tmp_path) == ["a.bin", "ä.txt"]


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "disk is full"), (errno.EACCES, "permission"), (errno.EROFS, "read-only"), (errno.EIO, "error")],
)
def test_a_failed_move_leaves_the_old_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    (tmp_path / "a").write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(EnvironmentFailure, match=words) as caught:
        write_bytes_atomic(tmp_path / "a", b"new")
    assert str(tmp_path / "a") in str(caught.value)
    assert (tmp_path / "a").read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_an_interrupt_leaves_no_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_bytes_atomic(tmp_path / "a", b"new")
    assert names(tmp_path) == []


def test_a_really_full_disk() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this machine")
    with pytest.raises(OSError, match="No space") as caught, Path("/dev/full").open("wb", buffering=0) as stream:
        stream.write(b"x")
    assert "the disk is full" in str(write_failure("out.png", caught.value))


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    for place, words in (("none/a", "does not exist"), ("file/a", "is a file"), ("folder", "folder of this name")):
        with pytest.raises(EnvironmentFailure, match=words):
            write_bytes_atomic(tmp_path / place, b"x")
    assert names(tmp_path) == ["file", "folder"]


def test_a_long_name_fits(tmp_path: Path) -> None:
    name = "x" * 250
    write_bytes_atomic(tmp_path / name, b"x")
    assert names(tmp_path) == [name]
    with pytest.raises(EnvironmentFailure, match="too long"):
        write_bytes_atomic(tmp_path / ("x" * 300), b"x")
    assert names(tmp_path) == [name]


def test_temporary_names_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(Path, "replace", lambda self, _: seen.append(self.name))
    write_bytes_atomic(tmp_path / "a", b"x")
    assert [is_temporary_name(name) for name in seen] == [True]
    assert not is_temporary_name("a.png")
