"""Photos and datasets at `s3://` and `http://`: a real S3 server behind a proxy that cuts connections."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import socket
import struct
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dpsdata import EditDataset
from dpsdata.cli import app
from dpsdata.contracts import EnvironmentFailure, UsageError
from dpsdata.images.codec import encode_png, read_photo
from dpsdata.runtime.command_line import run_app
from dpsdata.sources import remote
from dpsdata.sources.remote import local_copy, show_place
from dpseval.cli import app as scores_app
from models.cli import app as models_app

s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed: pip install 'deep-plastic-surgery[remote]'")
moto = pytest.importorskip("moto.server", reason="moto's server is not installed: pip install 'moto[server]'")

SECRET = "s3cr3t-of-nobody"


class Proxy:
    """A TCP proxy before a server: cuts one connection off once so many bytes went in a direction."""

    def __init__(self, port: int) -> None:
        self.server, self.left = port, {"up": 0, "down": 0}
        self.cuts = 0
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def cut_after(self, byte_count: int, direction: str) -> None:
        self.left[direction] = byte_count

    def _serve(self) -> None:
        while True:
            client, _ = self._listener.accept()
            upstream = socket.create_connection(("127.0.0.1", self.server))
            for ends in ((client, upstream, "up"), (upstream, client, "down")):
                threading.Thread(target=self._pass, args=ends, daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, direction: str) -> None:
        try:
            while data := source.recv(1 << 14):
                if self._is_to_cut(len(data), direction):
                    for end in (source, target):  # a reset, not a farewell
                        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        end.close()
                    return
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def _is_to_cut(self, size: int, direction: str) -> bool:
        with self._lock:
            if self.left[direction] <= 0:
                return False
            self.left[direction] -= size
            self.cuts += self.left[direction] <= 0
            return self.left[direction] <= 0


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    running = moto.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def proxy(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Proxy:
    """A proxy before an empty S3 with the bucket `faces`, an empty cache, credentials in the environment."""
    port = server.get_host_and_port()[1]
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DPS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id-of-nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(remote, "_PAUSE_S", 0.01)
    urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/moto-api/reset", method="POST"))
    made = Proxy(port)
    point_to(made.port, monkeypatch)
    s3fs.S3FileSystem().mkdir("faces")
    return made


def point_to(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def photos(proxy: Proxy, faces: Path) -> str:
    """Six photos in the bucket."""
    for path in faces.iterdir():
        s3fs.S3FileSystem().put_file(str(path), f"faces/photos/{path.name}")
    return "s3://faces/photos"


class SilentSite(http.server.SimpleHTTPRequestHandler):
    """Serves a folder and prints nothing."""

    def log_message(self, format: str, *words: object) -> None:
        pass


Build = Callable[..., tuple[int, str]]


@pytest.fixture
def build(tiny_hed: Path, capsys: pytest.CaptureFixture[str]) -> Build:
    """`dpsdata build` of 64 px; exit code and all that was printed."""

    def run(source: object, out: object, *words: str, form: str = "webdataset") -> tuple[int, str]:
        words = ("--size", "64", "--edges", str(tiny_hed), "--workers", "1", "--masks", "center", *words)
        return call(capsys, "build", source, out, "--format", form, "--shard-size", "2", *words)

    return run


def call(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    code = run_app(app, [str(word) for word in words])
    told = capsys.readouterr()
    return code, told.out + told.err


def objects(prefix: str) -> set[str]:
    return {name.removeprefix(f"{prefix}/") for name in s3fs.S3FileSystem(use_listings_cache=False).find(prefix)}


@pytest.mark.slow
def test_build_verify_train_and_score_at_s3_with_cut_connections(
    proxy: Proxy, photos: str, faces: Path, build: Build, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(faces, tmp_path / "photos")
    assert build(tmp_path / "photos", tmp_path / "built")[0] == 0
    proxy.cut_after(60_000, "down")
    proxy.cut_after(60_000, "up")
    code, told = build(photos, "s3://faces/built")
    assert (code, proxy.cuts) == (0, 2), told
    assert "6 samples in s3://faces/built (0 already there)" in told
    assert "s3://faces/photos: 6 objects, 6 to copy" in told
    found = s3fs.S3FileSystem(use_listings_cache=False)
    local = {path.relative_to(tmp_path / "built").as_posix(): path for path in (tmp_path / "built").rglob("*")}
    plain = {name for name, path in local.items() if path.is_file() and ".build" not in path.parts}
    assert {name for name in objects("faces/built") if not name.startswith(".build/")} == plain
    for name in plain:
        assert found.cat_file(f"faces/built/{name}") == local[name].read_bytes(), name
    proxy.cut_after(20_000, "down")
    code, told = call(capsys, "verify", "s3://faces/built")
    assert (code, proxy.cuts) == (0, 3), told
    assert "6 samples, 24 files checked" in told

    words = ["train", "tiny", "--data", "s3://faces/built", "--out", str(tmp_path / "run"), "--device", "cpu"]
    code = run_app(models_app, [*words, "--images-scale", "0.0005"])
    told = capsys.readouterr().err
    assert code == 0, told
    assert "0 to copy" in told  # verify has copied it already

    dataset = EditDataset("s3://faces/built", "all")
    for row in dataset.rows:
        photo = read_photo(dataset.files.source(f"images/{row.id}.png")).copy()
        photo[16:48, 16:48] = 127
        found.pipe_file(f"faces/outputs/grey/none/{row.id}.png", encode_png(photo))
    words = ["score", "s3://faces/outputs", "--data", "s3://faces/built", "-o", str(tmp_path / "report")]
    code = run_app(scores_app, [*words, "--masks", "center", "--split", "all", "--device", "cpu", "--no-cache"])
    assert code == 0, capsys.readouterr().err
    assert (tmp_path / "report" / "scores.json").is_file()
    for path in [path for path in tmp_path.rglob("*") if path.is_file()]:
        assert SECRET.encode() not in path.read_bytes()


def test_a_build_is_resumed_here_and_from_another_machine(
    photos: str, build: Build, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    send = s3fs.S3FileSystem.put_file

    def refuse_last(self: Any, path: str, address: str) -> None:
        if address.endswith("dataset.json"):
            raise PermissionError("AccessDenied for " + SECRET)
        send(self, path, address)

    with monkeypatch.context() as patch:
        patch.setattr(s3fs.S3FileSystem, "put_file", refuse_last)
        code, told = build(photos, "s3://faces/built")
    assert code == 1
    assert "error: s3://faces/built: access is refused" in told
    assert SECRET not in told
    assert "dataset.json" not in objects("faces/built")
    code, told = call(capsys, "verify", "s3://faces/built")
    assert (code, "no built dataset here" in told) == (5, True)
    code, told = build(photos, "s3://faces/built")
    assert code == 0
    assert "6 samples in s3://faces/built (6 already there)" in told
    before = s3fs.S3FileSystem(use_listings_cache=False).cat_file("faces/built/dataset.json")

    monkeypatch.setenv("DPS_HOME", str(tmp_path / "elsewhere"))
    code, told = build(photos, "s3://faces/built")  # photos are read again there, and no shard is made
    assert code == 0
    assert "6 objects to put there (0.0 MB)" in told, told
    assert s3fs.S3FileSystem(use_listings_cache=False).cat_file("faces/built/dataset.json") == before
    code, told = build(photos, "s3://faces/built", "--limit", "4", "--overwrite")
    assert code == 0
    assert call(capsys, "verify", "s3://faces/built")[0] == 0
    # Shards that this build has no more are gone; a damaged one is made again.
    assert len([name for name in objects("faces/built") if name.endswith(".tar")]) < 4
    name = next(name for name in sorted(objects("faces/built")) if name.endswith(".tar"))
    s3fs.S3FileSystem().pipe_file(f"faces/built/{name}", b"no shard")
    assert call(capsys, "verify", "s3://faces/built")[0] == 3
    assert build(photos, "s3://faces/built", "--limit", "4")[0] == 0
    assert call(capsys, "verify", "s3://faces/built")[0] == 0


def test_what_changed_is_copied_and_what_went_is_removed(photos: str, faces: Path) -> None:
    copy = local_copy(photos)
    assert {path.name for path in copy.iterdir()} == {path.name for path in faces.iterdir()}
    files = s3fs.S3FileSystem()
    files.rm_file("faces/photos/astronaut.png")
    files.pipe_file("faces/photos/face_0001.png", b"other")
    (copy / "face_0002.png").write_bytes(b"changed here")
    assert local_copy(Path(photos)) == copy
    assert not (copy / "astronaut.png").exists()
    assert (copy / "face_0001.png").read_bytes() == b"other"
    assert (copy / "face_0002.png").read_bytes() == (faces / "face_0002.png").read_bytes()


def test_a_page_of_links_and_a_zip_are_read_by_http(
    faces: Path, build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DPS_HOME", str(tmp_path / "home"))
    shutil.copytree(faces, tmp_path / "site" / "some faces")
    shutil.make_archive(str(tmp_path / "site" / "faces"), "zip", faces)
    handler = functools.partial(SilentSite, directory=str(tmp_path / "site"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        place = f"http://127.0.0.1:{site.server_port}"
        roots = []
        for name in ("some%20faces", "faces.zip?token=abc"):
            code, told = build(f"{place}/{name}", tmp_path / name[:5], form="files")
            assert code == 0, told
            assert "abc" not in told
            roots.append(told.partition("root hash ")[2].split()[0])
        assert roots[0] == roots[1]
        code, told = build(f"{place}/faces.zip", f"{place}/out")
        assert (code, "can be read, but not written to" in told) == (2, True), told
        code, told = build(f"{place}/none.zip", tmp_path / "out")
        assert (code, "no such bucket or object" in told) == (5, True), told
        site.shutdown()


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("verify", "s3://lost/built"), 5, "s3://lost/built: no"),
        (("build", "s3://faces/none", "{tmp}"), 5, "s3://faces/none: nothing is there"),
        (("build", "{faces}", "s3://lost/out", "--format", "webdataset"), 5, "s3://lost/out: no such bucket"),
        (("build", "{faces}", "s3://faces/out"), 2, "an address holds shards, not single files; add --format"),
        (("build", "s3://faces/a", "s3://faces/a/b", "--format", "webdataset"), 2, "must not contain each other"),
        (("verify", f"s3://me:{SECRET}@faces/a"), 2, "s3://faces/a: an address with credentials"),
        (("verify", "nowhere://faces/a"), 2, "fsspec does not know nowhere://"),
        (("preview", "s3://faces/a"), 2, "this command reads datasets in folders of this machine"),
        (("sample", "s3://faces/a"), 2, "s3://...: only `dpsdata build SRC s3://BUCKET/OUT"),
    ],
)
def test_errors_are_one_sentence(
    proxy: Proxy, faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int,
    sentence: str,
) -> None:  # fmt: skip
    typed = [word.replace("{faces}", str(faces)).replace("{tmp}", str(tmp_path / "out")) for word in words]
    found, told = call(capsys, *typed)
    assert found == code, told
    assert sentence in told
    assert told.count("error: ") == 1
    assert SECRET not in told


def test_refused_and_cut_off(
    proxy: Proxy, photos: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask_for_keys(count: str) -> None:
        place = f"http://127.0.0.1:{proxy.server}/moto-api/reset-auth"
        plain = {"Content-Type": "text/plain"}
        urllib.request.urlopen(urllib.request.Request(place, count.encode(), plain, method="POST"))

    ask_for_keys("0")
    try:
        code, told = call(capsys, "verify", photos)
    finally:
        ask_for_keys("inf")
    assert (code, "error: s3://faces/photos: access is refused; set credentials" in told) == (1, True), told
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    point_to(port, monkeypatch)
    code, told = call(capsys, "verify", photos)
    assert (code, "the connection failed 4 times" in told, SECRET in told) == (1, True, False), told


def test_names_that_lead_elsewhere_are_refused(proxy: Proxy, tmp_path: Path) -> None:
    import boto3

    boto3.client("s3").put_object(Bucket="faces", Key="odd/../../x.png", Body=b"x")
    with pytest.raises(UsageError, match=r"the object '\.\./\.\./x\.png' cannot be a file"):
        local_copy("s3://faces/odd")
    assert not list(tmp_path.rglob("x.png"))


def test_without_fsspec(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(EnvironmentFailure, match=r"needs fsspec.*pip install 'deep-plastic-surgery\[remote\]'"):
        local_copy("s3://faces/a")


def test_addresses_are_shown_without_secrets() -> None:
    assert show_place(Path("s3://bucket/a/b")) == "s3://bucket/a/b"
    assert show_place(f"https://me:{SECRET}@host/a.zip?X-Amz-Signature=abc") == "https://host/a.zip"
    assert show_place("C:/photos") == "C:/photos"
    assert show_place("folder/photos") == "folder/photos"
