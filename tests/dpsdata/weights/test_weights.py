from __future__ import annotations

import hashlib
import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from dpsdata import weights
from dpsdata.contracts import EnvironmentFailure, ExitCode, MissingError, UsageError
from dpsdata.weights import WeightFile
from dpsdata.weights import store as weights_store

T = runpy.run_path(str(Path(__file__).with_name("toy_weights.py")))
TOY, TOY_BYTES, TOY_SHA256 = T["TOY"], T["TOY_BYTES"], T["TOY_SHA256"]
tree = T["tree"]


def test_the_known_files_are_named_as_their_authors_name_them() -> None:
    files = {file.name: file for file in weights.list_weights()}
    caffe = files["hed-caffe"]
    assert (caffe.filename, caffe.size) == ("hed_pretrained_bsds.caffemodel", 58_876_104)
    assert caffe.sha256 == "4b6937684bce9be1ef5163c78ec812dff9a23653bfbb451925210a64ecfaaac7"
    assert files["hed-controlnet"].size == 29_444_406
    assert {"hed-compact", "hed-judge", "hed-sniklaus", "hed-sniklaus-v1", "hed-xwjabc"} <= set(files)
    assert all(file.licence and file.purpose and file.page for file in files.values())


def test_registering_twice_is_fine_and_two_of_one_name_are_not() -> None:
    weights.register(TOY)
    with pytest.raises(UsageError, match="two different files"):
        weights.register(WeightFile("toy", "other.bin", None, "p", None, None, "l", "p", "models"))
    with pytest.raises(UsageError, match=r"'nothing' is not known.*hed-caffe"):
        weights.weights_path("nothing")


@pytest.mark.parametrize(
    "change",
    [{"name": "../x"}, {"name": "A"}, {"filename": "a/b"}, {"filename": ""}, {"sha256": "00"}, {"size": 0}],
)
def test_a_wrong_entry_is_refused(change: dict[str, Any]) -> None:
    values = {field: getattr(TOY, field) for field in TOY.__dataclass_fields__}
    with pytest.raises(UsageError):
        WeightFile(**values | change)


def test_missing_weights_name_the_one_command(sockets: list[Any]) -> None:
    with pytest.raises(MissingError, match="toy is not installed; run `dps weights get toy`") as caught:
        weights.weights_path("toy")
    assert caught.value.exit_code == ExitCode.MISSING
    with pytest.raises(MissingError, match=r"get hed_checkpoint.pt from .*dps weights import hed_checkpoint.pt"):
        weights.weights_path("hed-xwjabc")
    assert not weights.installed("toy")
    assert sockets == []


def test_get_says_what_it_does_then_downloads_checks_and_converts(home: Path, downloads: dict[str, Any]) -> None:
    downloads[TOY.url] = TOY_BYTES
    said: list[str] = []
    path = weights.get_weights("toy", announce=said.append)
    assert path == home / "weights" / "toy.safetensors"
    assert tree(home) == ["weights/toy.json", "weights/toy.safetensors"]
    text = "\n".join(said)
    assert "toy licence" in text
    assert TOY.url in text
    assert TOY_SHA256 in text
    card = json.loads((home / "weights" / "toy.json").read_text())
    assert card["verified"] is True
    assert card["source_sha256"] == TOY_SHA256
    assert card["kind"] == "toy"
    assert card["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    downloads.clear()  # a second time nothing is downloaded and nothing said
    said.clear()
    assert weights.get_weights("toy", announce=said.append) == path
    assert said == []


def test_nothing_is_said_on_stdout_and_the_licence_goes_to_stderr(
    downloads: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    downloads[TOY.url] = TOY_BYTES
    weights.get_weights("toy")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.index("toy licence") < err.index("installed")


def test_a_flipped_byte_on_the_way_is_kept_aside(home: Path, downloads: dict[str, Any]) -> None:
    flipped = TOY_BYTES[:-1] + b"S"
    downloads[TOY.url] = flipped
    with pytest.raises(MissingError) as caught:
        weights.get_weights("toy", announce=lambda line: None)
    text = str(caught.value)
    bad = home / "downloads" / "toy.bin.bad"
    assert bad.read_bytes() == flipped
    assert str(bad.with_suffix("")) in text
    assert TOY_SHA256 in text
    assert hashlib.sha256(flipped).hexdigest() in text
    assert "dps weights get toy" in text
    assert tree(home) == ["downloads/toy.bin.bad"]
    assert not weights.installed("toy")


def test_a_web_page_in_place_of_a_file_without_hash(home: Path, downloads: dict[str, Any]) -> None:
    url = weights.find_weights("hed-sniklaus").url
    assert url is not None
    downloads[url] = b"<html>gone</html>"
    with pytest.raises(MissingError, match="web page"):
        weights.get_weights("hed-sniklaus", announce=lambda line: None)
    assert tree(home) == ["downloads/network-bsds500.pytorch.bad"]


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (ConnectionError("no route"), MissingError),
        (ValueError("404"), MissingError),
        (OSError(28, "No space left on device"), EnvironmentFailure),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_a_download_that_breaks_leaves_nothing(
    home: Path, downloads: dict[str, Any], failure: BaseException, kind: type[BaseException]
) -> None:
    downloads[TOY.url] = failure
    with pytest.raises(kind) as caught:
        weights.get_weights("toy", announce=lambda line: None)
    assert tree(home) == []
    if kind is MissingError:
        assert "dps weights import toy.bin" in str(caught.value)
    if kind is EnvironmentFailure:
        assert "disk is full" in str(caught.value)


@pytest.mark.parametrize("by_variable", [True, False])
def test_offline_opens_no_socket(by_variable: bool, sockets: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    if by_variable:
        monkeypatch.setenv("DPS_OFFLINE", "1")
    for name in ("toy", "hed-caffe", "hed-xwjabc", "hed-compact", "hed-controlnet"):
        if not weights.installed(name):
            with pytest.raises(MissingError, match=r"dps weights import|part of the package"):
                weights.get_weights(name, offline=not by_variable, announce=lambda line: None)
    assert sockets == []
    weights.verify_weights()
    assert sockets == []


def test_without_offline_a_socket_would_be_opened(sockets: list[Any]) -> None:
    with pytest.raises(MissingError, match="could not be downloaded"):
        weights.get_weights("toy", announce=lambda line: None)
    assert sockets


def test_a_flipped_byte_in_the_cache_is_found_before_use(tmp_path: Path, home: Path) -> None:
    (tmp_path / "mail.dat").write_bytes(TOY_BYTES)
    report = weights.import_weights(tmp_path / "mail.dat")
    path = weights.weights_path("toy")
    assert [(done.name, done.verified, done.path) for done in report.installed] == [("toy", True, path)]
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert {s.name: s.status for s in weights.verify_weights()}["toy"] == "wrong hash"
    assert path.exists()
    with pytest.raises(MissingError) as caught:
        weights.weights_path("toy")
    for part in (str(path), before, hashlib.sha256(data).hexdigest(), "toy.safetensors.bad", "dps weights get toy"):
        assert part in str(caught.value)
    assert tree(home) == ["weights/toy.json", "weights/toy.safetensors.bad"]
    assert not weights.installed("toy")
    weights.import_weights(tmp_path / "mail.dat")
    assert {s.name: s.status for s in weights.verify_weights()}["toy"] == "ok"


def test_bundled_weights_are_checked_and_stay_in_place(bundle: Path) -> None:
    assert weights.get_weights("bundled-toy", offline=True) == bundle / "b.safetensors"
    (bundle / "b.safetensors").write_bytes(b"bundled Weights")
    with pytest.raises(MissingError, match=r"SHA-256 .* was expected; it is part of the package"):
        weights.weights_path("bundled-toy")
    assert (bundle / "b.safetensors").exists()
    (bundle / "b.safetensors").unlink()
    assert not weights.installed("bundled-toy")
    (bundle / "bundled.json").unlink()
    with pytest.raises(MissingError, match="part of the package"):
        weights.get_weights("bundled-toy")


def test_the_home_follows_the_variable_or_the_system(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert weights_store.home_folder() == home
    monkeypatch.delenv("DPS_HOME")
    assert weights_store.home_folder().name == "deep-plastic-surgery"
