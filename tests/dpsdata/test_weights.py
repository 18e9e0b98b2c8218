from __future__ import annotations

import hashlib
import io
import json
import os
import runpy
import socket
import stat
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pooch
import pytest
import torch
from typer.testing import CliRunner

from dpsdata import weights, weights_archive, weights_import, weights_registry, weights_store
from dpsdata.contracts import DpsError, EnvironmentFailure, ExitCode, MissingError, UsageError
from dpsdata.weights import Imported, WeightFile
from dpsdata.weights_cli import weights_app

P = runpy.run_path(str(Path(__file__).parent / "hed" / "public_layouts.py"))

TOY_BYTES = b"TOY! the published toy weights"
TOY_SHA256 = hashlib.sha256(TOY_BYTES).hexdigest()
TOY = WeightFile(
    name="toy",
    filename="toy.bin",
    url="https://toy.invalid/toy.bin",
    page="https://toy.invalid",
    size=len(TOY_BYTES),
    sha256=TOY_SHA256,
    licence="toy licence",
    purpose="testing",
    room="models",
)


def import_toy(path: Path) -> Imported | None:
    data = path.read_bytes()
    if not data.startswith(b"TOY!"):
        return None
    if data == b"TOY! cut":
        raise MissingError(f"{path}: a toy that is cut off; get it again")
    return Imported("toy", {"x": torch.tensor([float(len(data))])}, {"kind": "toy"})


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    monkeypatch.setenv("DPS_HOME", str(folder))
    monkeypatch.delenv("DPS_OFFLINE", raising=False)
    monkeypatch.setattr(weights_registry, "_FILES", dict(weights_registry._FILES))
    monkeypatch.setattr(weights_import, "_IMPORTERS", list(weights_import._IMPORTERS))
    weights.register(TOY)
    weights.register_importer(import_toy)
    return folder


@pytest.fixture(autouse=True)
def sockets(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """No test may reach the network; those that forbid sockets look into this list."""
    opened: list[Any] = []

    def refuse(*args: Any, **kwargs: Any) -> None:
        opened.append(args)
        raise OSError("the tests open no socket")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return opened


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A server made of a dict: URL -> bytes or the exception to raise half-way."""
    served: dict[str, Any] = {}

    class FakeDownloader:
        def __init__(self, progressbar: bool = False, **options: Any) -> None:
            assert progressbar is sys.stderr.isatty()
            assert options["timeout"] > 0

        def __call__(self, url: str, output_file: str, pooch: Any, check_only: bool = False) -> None:
            content = served[url]
            Path(output_file).write_bytes(b"half" if isinstance(content, BaseException) else content)
            if isinstance(content, BaseException):
                raise content

    monkeypatch.setattr(pooch, "HTTPDownloader", FakeDownloader)
    return served


def tree(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_the_known_files_are_named_as_their_authors_name_them() -> None:
    files = {file.name: file for file in weights.list_weights()}
    caffe = files["hed-caffe"]
    assert (caffe.filename, caffe.size) == ("hed_pretrained_bsds.caffemodel", 58_876_104)
    assert caffe.sha256 == "4b6937684bce9be1ef5163c78ec812dff9a23653bfbb451925210a64ecfaaac7"
    assert files["hed-controlnet"].size == 29_444_406
    assert {"hed-compact", "hed-judge", "hed-sniklaus", "hed-sniklaus-v1", "hed-xwjabc"} <= set(files)
    assert all(file.licence and file.purpose and file.page for file in files.values())
    assert weights.registered_names() == list(files)


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


def test_another_training_is_taken_but_not_called_verified(tmp_path: Path) -> None:
    (tmp_path / "mine.bin").write_bytes(b"TOY! my own training, of another length")
    assert not weights.import_weights(tmp_path / "mine.bin").installed[0].verified
    status = next(status for status in weights.verify_weights() if status.name == "toy")
    assert (status.status, status.verified) == ("ok", False)


def test_damage_and_a_step_down_are_refused(tmp_path: Path) -> None:
    (tmp_path / "flipped").write_bytes(TOY_BYTES[:-1] + b"S")
    with pytest.raises(MissingError, match="damaged") as caught:
        weights.import_weights(tmp_path / "flipped")
    assert TOY_SHA256 in str(caught.value)
    (tmp_path / "good").write_bytes(TOY_BYTES)
    weights.import_weights(tmp_path / "good")
    (tmp_path / "mine").write_bytes(b"TOY! other")
    with pytest.raises(MissingError, match="published toy is installed"):
        weights.import_weights(tmp_path / "mine")
    assert (tmp_path / "flipped").exists()


def test_a_full_caffemodel_is_imported_and_read_back(tmp_path: Path) -> None:
    from dpsdata.hed.checkpoints import read_checkpoint, recognise

    state = P["random_state"](P["caffe_shapes"](64))
    (tmp_path / "from a mail").write_bytes(P["caffemodel"](state))
    (done,) = weights.import_weights(tmp_path / "from a mail").installed
    assert (done.name, done.verified) == ("hed-caffe", False)
    found = read_checkpoint(weights.weights_path("hed-caffe"))
    assert (found.variant, found.width) == ("caffe", 64)
    wanted = recognise(state).tensors
    assert all(torch.equal(tensor, wanted[key]) for key, tensor in found.tensors.items())
    with pytest.raises(MissingError, match="own format needs no import"):
        weights.import_weights(done.path)


def test_a_small_hed_does_not_take_the_place_of_the_published_one(tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(P["caffemodel"](P["random_state"](P["caffe_shapes"](8))))
    with pytest.raises(MissingError, match="width 8"):
        weights.import_weights(tmp_path / "small")
    assert not weights.installed("hed-caffe")


def test_what_nobody_knows_is_described(tmp_path: Path) -> None:
    torch.save({"embedding.weight": torch.zeros(2), "head.bias": torch.zeros(1)}, tmp_path / "net.pth")
    with pytest.raises(MissingError, match=r"a torch file with 2 entries such as embedding.weight, head.bias"):
        weights.import_weights(tmp_path / "net.pth")
    (tmp_path / "broken").write_bytes(b"TOY! cut")
    with pytest.raises(MissingError, match="a toy that is cut off"):
        weights.import_weights(tmp_path / "broken")
    with pytest.raises(MissingError, match="no such file"):
        weights.import_weights(tmp_path / "nowhere")


def make_zip(path: Path, members: dict[str, bytes], links: dict[str, str] | None = None) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
        for name, target in (links or {}).items():
            info = zipfile.ZipInfo(name)
            info.create_system = 3
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, target)
    return path


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


def test_a_folder_and_two_files_of_one_name_keep_the_verified_one(tmp_path: Path) -> None:
    folder = tmp_path / "Downloads"
    folder.mkdir()
    (folder / "a.bin").write_bytes(b"TOY! something else")
    (folder / "b.bin").write_bytes(TOY_BYTES)
    (folder / "c.bin").write_bytes(b"TOY! something else")
    report = weights.import_weights(folder)
    assert [(done.source, done.verified) for done in report.installed] == [("Downloads/b.bin", True)]
    assert "published toy is installed" in dict(report.skipped)["c.bin"]


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


def test_a_kill_between_tensors_and_card_leaves_it_not_installed(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "toy").write_bytes(TOY_BYTES)

    def stop(*args: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(weights_store, "write_text_atomic", stop)
        with pytest.raises(KeyboardInterrupt):
            weights.import_weights(tmp_path / "toy")
    assert tree(home) == ["weights/toy.safetensors"]
    assert not weights.installed("toy")
    for content in ("", "[]", "{}", '{"sha256": 3}', "[" * 100_000):
        (home / "weights" / "toy.json").write_text(content)
        assert not weights.installed("toy")


def test_the_same_file_gives_the_same_bytes(tmp_path: Path, home: Path) -> None:
    (tmp_path / "toy").write_bytes(TOY_BYTES)
    found = []
    for _ in range(2):
        weights.import_weights(tmp_path / "toy")
        found.append([(home / name).read_bytes() for name in tree(home)])
    assert found[0] == found[1]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundled"
    folder.mkdir()
    (folder / "b.safetensors").write_bytes(b"bundled weights")
    entry = {"file": "b.safetensors", "sha256": hashlib.sha256(b"bundled weights").hexdigest(), "size": 15}
    (folder / "bundled.json").write_text(json.dumps({"bundled-toy": entry}))
    weights.register(
        WeightFile("bundled-toy", "b.safetensors", None, "bundled", None, None, "MIT", "x", "dpsdata", folder)
    )
    return folder


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


def test_a_home_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "toy").write_bytes(TOY_BYTES)
    monkeypatch.setenv("DPS_HOME", str(tmp_path / "file"))
    with pytest.raises(EnvironmentFailure, match="DPS_HOME"):
        weights.import_weights(tmp_path / "toy")


def run(*arguments: str) -> Any:
    return CliRunner().invoke(weights_app, arguments)


def test_commands(tmp_path: Path, home: Path, downloads: dict[str, Any], bundle: Path) -> None:
    downloads[TOY.url] = TOY_BYTES
    rows = json.loads(run("list", "--json").stdout)
    assert {row["name"]: row["installed"] for row in rows}["toy"] is False
    text = run("list").stdout
    assert "toy  [not installed]" in text
    assert "bundled-toy  [bundled]" in text
    refused = run("get", "toy", "--offline")
    assert isinstance(refused.exception, MissingError)
    got = run("get", "toy")
    assert got.stdout.strip() == str(home / "weights" / "toy.safetensors")
    assert "toy licence" in got.stderr
    assert run("path", "toy").stdout == got.stdout
    assert {row["name"]: row["status"] for row in json.loads(run("verify", "--json").stdout)}["toy"] == "ok"
    (tmp_path / "toy").write_bytes(TOY_BYTES)
    assert "verified" in run("import", str(tmp_path / "toy")).stdout
    archive = make_zip(tmp_path / "a.zip", {"toy": TOY_BYTES, "x": b"x"})
    taken = run("import", "--json", str(archive))
    assert [row["name"] for row in json.loads(taken.stdout)] == ["toy"]
    assert "passed over x" in taken.stderr
    (home / "weights" / "toy.safetensors").write_bytes(b"x")
    wrong = run("verify")
    assert isinstance(wrong.exception, MissingError)
    assert "toy: wrong hash" in wrong.stdout
    assert isinstance(run("path", "nothing").exception, UsageError)


def test_listing_imports_neither_torch_nor_cv2() -> None:
    code = (
        "import sys; from dpsdata.weights_cli import weights_app; from dpsdata import weights; weights.list_weights();"
        "weights.installed('hed-caffe'); print([m for m in ('torch', 'cv2', 'pooch', 'requests') if m in sys.modules])"
    )
    root = Path(weights.__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": str(root)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == "[]"


def test_every_error_of_an_importer_is_expected(tmp_path: Path) -> None:
    generator = np.random.Generator(np.random.PCG64(1))
    starts: list[bytes] = [b"", b"PK\x03\x04", b"\x80\x02\x8a\x0a", b"TOY?", b"\x12\x40", b"\0" * 257 + b"ustar\x0000"]
    make: Callable[[int], bytes] = generator.bytes
    for index, start in enumerate(starts * 5):
        path = tmp_path / f"random{index}"
        path.write_bytes(start + make(600))
        with pytest.raises(DpsError):
            weights.import_weights(path)
