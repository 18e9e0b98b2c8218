"""`dps page`: its JavaScript against Python, and the whole page in Chromium, served as plain files and offline."""

from __future__ import annotations

import base64
import functools
import hashlib
import http.server
import json
import re
import shutil
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from dpsdata.contracts import EnvironmentFailure, UsageError
from dpsdata.hed import load_hed
from dpsdata.images.codec import encode_png, read_grey, read_photo
from dpsdata.runtime.command_line import run_app
from dpsdata.samples import read_sample_face
from dpsdata.sketch import dilate_sketch, simplify_edges, smooth_sketch
from dpsdata.sketch.simplify import thin_lines
from models.app.edit_folder import open_edit
from models.app.static_page import build_page
from models.cli import app
from models.editing.compositing import find_target, paste
from models.editing.photo_frame import box_frame, whole_frame
from models.editing.provenance import hash_request, hash_stored, inspect_file
from models.editing.request import EditRequest

WEB = Path(__file__).resolve().parents[3] / "models" / "app" / "web"
CHROMIUM = Path("/usr/bin/chromium")
SCRIPT = """
import { readFileSync } from "node:fs";
const im = await import(process.argv[1]);
const bytes = (text) => new Uint8Array(Buffer.from(text, "base64"));
const text = (made) => Buffer.from(made.buffer, made.byteOffset, made.byteLength).toString("base64");
const out = JSON.parse(readFileSync(0)).map((c) => {
  const frame = c.box ? im.boxFrame(c.width, c.height, c.size, c.box) : im.wholeFrame(c.width, c.height, c.size);
  const rgba = new Uint8ClampedArray(bytes(c.rgba)), hole = bytes(c.hole), lines = bytes(c.lines);
  const thin = im.thinLines(im.takeMarks(lines.map((value, at) => value & hole[at]), frame), c.size);
  return { photo: text(im.takePhoto(rgba, frame)), mask: text(im.takeMarks(hole, frame)), thin: text(thin),
    sketch: text(im.dilateSketch(thin, c.size, c.level, c.pen)),
    pasted: text(im.paste(rgba, new Float32Array(bytes(c.painted).buffer), hole, frame)),
    blended: text(im.paste(rgba, new Float32Array(bytes(c.painted).buffer), hole, frame, true)) };
});
process.stdout.write(JSON.stringify(out));
"""
# Width and height of the photo, size of the model, box, level.
CASES: list[tuple[int, int, int, tuple[int, int, int] | None, float]] = [
    (512, 512, 128, None, 0.3),
    (512, 512, 128, (40, 30, 300), 0.5),
    (400, 300, 128, (-20, 10, 280), 1.0),
    (128, 128, 128, None, 0.0),
    (500, 500, 256, None, 0.25),
    (300, 300, 128, (50, 50, 90), 0.6),
]


def text(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_pre_and_post_processing_in_javascript_equal_python() -> None:
    asked: list[dict[str, Any]] = []
    expected: list[dict[str, Any]] = []
    for index, (width, height, size, box, level) in enumerate(CASES):
        face = read_sample_face(index + 1)
        photo = np.asarray(cv2.resize(face, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        hole, lines = np.zeros((2, height, width), np.uint8)
        cv2.ellipse(hole, (width // 2, height // 2), (width // 5, height // 6), 10, 0, 360, 1, -1)
        cv2.line(lines, (int(width * 0.35), int(height * 0.45)), (int(width * 0.7), int(height * 0.55)), 1, 5)
        cv2.circle(lines, (width // 2, height // 2), width // 12, 1, 3)
        noise = np.random.default_rng(index).uniform(-2, 2, (size, size, 3)).astype(np.float32)
        painted = np.clip(cv2.GaussianBlur(noise, (0, 0), 1), -1, 1).transpose(2, 0, 1).copy()
        pen = 11 if size == 128 else 21
        rgba = np.dstack([photo, np.full((height, width), 255, np.uint8)])
        asked.append(
            {"width": width, "height": height, "size": size, "box": box, "level": level, "pen": pen, "rgba": text(rgba),
             "hole": text(hole), "lines": text(lines), "painted": text(painted)}
        )  # fmt: skip
        frame = whole_frame(height, width, size)
        if box is not None:
            frame = box_frame(height, width, size, (*box, box[2]))
        thin = thin_lines(frame.take_marks(lines & hole))
        drawn = smooth_sketch(torch.from_numpy(thin[None, None].astype(np.float32)))
        target = find_target(hole, frame, 0)
        assert target is not None
        pasted, blended = (
            np.dstack([paste(photo, torch.from_numpy(painted), target, frame, None, *how), rgba[..., 3]])
            for how in (("none", False), ("poisson", True))
        )
        assert not np.array_equal(pasted, blended)
        expected.append(
            {"photo": frame.take_photo(photo).transpose(2, 0, 1) / np.float32(127.5) - 1,
             "mask": frame.take_marks(hole), "thin": thin,
             "sketch": dilate_sketch(drawn, torch.tensor([level]), pen)[0, 0].numpy(),
             "pasted": pasted, "blended": blended}
        )  # fmt: skip
    words = ["node", "--input-type=module", "-e", SCRIPT, f"file://{WEB}/imaging.js"]
    done = subprocess.run(words, input=json.dumps(asked), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    steps = {"photo": 1.01 / 127.5, "mask": 0, "thin": 0, "sketch": 1e-6, "pasted": 1, "blended": 1}
    for got, wanted in zip(json.loads(done.stdout), expected, strict=True):
        for name, most in steps.items():
            found = np.frombuffer(base64.b64decode(got[name]), wanted[name].dtype).reshape(wanted[name].shape)
            difference = np.abs(found.astype(np.float64) - wanted[name])
            assert difference.max() <= most, name


ZIP_SCRIPT = """
import { readFileSync, writeFileSync } from "node:fs";
const [folder, web] = process.argv.slice(1);
const { packEdit, readEdit, requestOf } = await import(`${web}/edit_file.js`);
const { sha256 } = await import(`${web}/mark.js`);
const blobs = Object.fromEntries(["mask.png", "sketch.png", "photo.jpg"].map((name) => [name, new Blob([readFileSync(`${folder}/${name}`)])]));
const inputs = {};
for (const [name, blob] of Object.entries(blobs)) inputs[name.split(".")[0]] = await sha256(await blob.arrayBuffer());
const request = { config: requestOf(1, [4, 5.5, 100], false, true), inputs, weights: { g: "aa", f: "bb" } };
const packed = await packEdit(request, blobs, "0.4.0", "l1.png", blobs["mask.png"], "me-edit", ["a note"]);
writeFileSync(`${folder}/page.zip`, Buffer.from(await packed.arrayBuffer()));
for (const name of ["page.zip", "deflated.zip"]) {
  const found = await readEdit([new File([readFileSync(`${folder}/${name}`)], name)]);
  if (found.run.config.levels[0] !== 1 || Object.keys(found.inputs).sort().join() !== "mask,photo,sketch") throw new Error(name);
}
const told = await readEdit([new File([readFileSync(`${folder}/changed.zip`)], "a.zip")]).catch((error) => error.message);
process.stdout.write(String(told));
"""  # noqa: E501


LINES_SCRIPT = """
import { readFileSync } from "node:fs";
const { findLines } = await import(process.argv[1]);
const edges = new Float32Array(new Uint8Array(readFileSync(0)).buffer), size = 256;
for (let at = 0; at < edges.length; at += size * size) process.stdout.write(findLines(edges.subarray(at, at + size * size), size));
"""  # noqa: E501


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_photos_own_lines_in_javascript_equal_python_bit_by_bit() -> None:
    faces = np.stack([cv2.resize(read_sample_face(i), (256, 256), interpolation=cv2.INTER_AREA) for i in (1, 2, 3)])
    noise = np.random.default_rng(0).random((1, 256, 256), np.float32)
    edges = np.concatenate([load_hed("hed-compact").detect(faces.astype(np.uint8)), noise, np.zeros_like(noise)])
    words = ["node", "--input-type=module", "-e", LINES_SCRIPT, f"file://{WEB}/own_lines.js"]
    done = subprocess.run(words, input=edges.tobytes(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    found = np.frombuffer(done.stdout, np.uint8).reshape(edges.shape)
    assert found[0].sum() > 200
    assert np.array_equal(found, simplify_edges(torch.from_numpy(edges)[:, None])[:, 0].numpy())


PROFILE_SCRIPT = """
import { readFileSync, writeFileSync } from "node:fs";
const { markedJpeg, markedPng, readProfile } = await import(process.argv[1]);
const [, , folder] = process.argv;
for (const name of ["a.jpg", "a.png", "a.webp"]) {
  const profile = await readProfile(new Blob([readFileSync(`${folder}/${name}`)]));
  for (const [end, write] of [["jpg", markedJpeg], ["png", markedPng]]) {
    const made = await write(new Blob([readFileSync(`${folder}/bare.${end}`)]), profile, { level: 1 }, "0.4.0");
    writeFileSync(`${folder}/${name}.${end}`, Buffer.from(await made.arrayBuffer()));
  }
}
const none = await Promise.all(["bare.png", "cut.jpg"].map(async (name) => readProfile(new Blob([readFileSync(`${folder}/${name}`)]))));
process.stdout.write(JSON.stringify(none));
"""  # noqa: E501


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@pytest.mark.parametrize("size", [600, 150_000])
def test_the_profile_of_the_photo_is_in_the_saved_picture(tmp_path: Path, size: int) -> None:
    profile = bytes(16) + b"RGB " + np.random.default_rng(0).bytes(size)
    picture = Image.fromarray(read_sample_face(1)[::8, ::8])
    picture.save(tmp_path / "bare.png")
    picture.save(tmp_path / "bare.jpg", icc_profile=b"of the browser" * 20)
    for name in ("a.jpg", "a.png", "a.webp"):
        picture.save(tmp_path / name, icc_profile=profile)
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:100])
    words = ["node", "--input-type=module", "-e", PROFILE_SCRIPT, f"file://{WEB}/mark.js", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[null,null]"
    for name in ("a.jpg", "a.png", "a.webp"):
        for end in ("jpg", "png"):
            with Image.open(tmp_path / f"{name}.{end}") as saved:
                saved.load()
                assert saved.info["icc_profile"] == profile
                assert "compositeWithTrainedAlgorithmicMedia" in str(saved.getxmp())


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_edits_are_saved_and_opened_as_dps_app_does(tmp_path: Path) -> None:
    for name in ("mask.png", "sketch.png", "photo.jpg"):
        (tmp_path / name).write_bytes(encode_png(np.full((8, 8), len(name), np.uint8)))
    config = EditRequest("edit", (1,), align="none", blend="poisson", grain=True)
    names = {role: next(tmp_path.glob(f"{role}.*")).name for role in ("mask", "sketch", "photo")}
    hashes = {role: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for role, name in names.items()}
    inputs = {role: {"file": f"inputs/{name}", "sha256": hashes[role]} for role, name in names.items()}
    run = json.dumps({"schema_version": 1, "config": asdict(config), "inputs": inputs, "weights": {}})
    for target, change in (("deflated.zip", b""), ("changed.zip", b"x")):
        with zipfile.ZipFile(tmp_path / target, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("e/run.json", run)
            for name in names.values():
                archive.writestr(f"e/inputs/{name}", (tmp_path / name).read_bytes() + change)
    words = ["node", "--input-type=module", "-e", ZIP_SCRIPT, str(tmp_path), f"file://{WEB}"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "is not the file that run.json names" in done.stdout
    stored = open_edit([("page.zip", (tmp_path / "page.zip").read_bytes())])
    assert (stored.request.blend, stored.request.grain, stored.request.box) == ("poisson", True, (4, 5.5, 100, 100))
    assert stored.inputs["photo"].data == (tmp_path / "photo.jpg").read_bytes()
    request = {"config": stored.config, "inputs": hashes, "weights": {"g": "aa", "f": "bb"}}
    assert hash_stored(stored) == hash_request(**request)
    assert zipfile.ZipFile(tmp_path / "page.zip").testzip() is None


def test_the_lock_file_names_no_registry_and_the_page_no_other_host() -> None:
    lock = (WEB / "package-lock.json").read_text()
    assert "resolved" not in lock
    assert not re.search(r"https?://(?!opencollective|github)", lock)
    assert not list(WEB.glob("*.wasm"))


def test_a_folder_with_something_else_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "diary.txt").write_text("dear")
    with pytest.raises(UsageError, match="something other than a page"):
        build_page(tmp_path, "bundled")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(EnvironmentFailure, match=r"Node\.js 20"):
        build_page(tmp_path / "new", "bundled")
    assert [path.name for path in tmp_path.iterdir()] == ["diary.txt"]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Any]]:
    out = tmp_path_factory.mktemp("page") / "out"
    pytest.importorskip("onnxscript", reason="the extra `onnx` is not installed")
    try:
        size = build_page(out, "bundled")
    except EnvironmentFailure as error:
        pytest.skip(f"the page cannot be built here: {error}")
    assert size < 60e6
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(out)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/", server
    server.server_close()


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM.is_file(), reason="Debian's chromium is not at /usr/bin/chromium")
def test_the_page_paints_what_dps_edit_paints_and_works_offline(address: tuple[str, Any], tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    place, server = address
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        context = browser.new_context(bypass_csp=True)
        page = context.new_page()
        page.set_default_timeout(120_000)
        hosts, complaints = set(), []
        page.on("request", lambda request: hosts.add(re.sub(r"^(\w+:)(//[^/:]*)?.*$", r"\1\2", request.url)))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
        page.goto(place)
        page.wait_for_selector("body[data-ready]")
        page.evaluate("navigator.serviceWorker.ready")
        page.wait_for_function("caches.keys().then((names) => names.length > 0)")

        def save(kind: str) -> bytes:
            with page.expect_download() as caught:
                page.click(f"[data-save={kind}]")
            return Path(caught.value.path()).read_bytes()

        def draw_and_compare(index: int, levels: tuple[float, ...]) -> None:
            photo = encode_png(read_sample_face(index))
            page.evaluate("document.getElementById('stage').classList.remove('open')")
            page.set_input_files("#file", {"name": "me.png", "mimeType": "image/png", "buffer": photo})
            page.wait_for_selector("#stage.open")
            page.evaluate("""async () => {
              const stroke = (width, ...points) => ({ kind: "stroke", erase: false, width, points });
              await dps.surface.drawing.add({ role: "mask", steps: [stroke(70, 200, 300, 320, 320)] });
              await dps.surface.drawing.add({ role: "sketch", steps: [stroke(4, 190, 300, 250, 325, 320, 315)] });
              dps.changed();
            }""")
            folder = tmp_path / str(index)
            folder.mkdir()
            (folder / "photo.png").write_bytes(photo)
            for level in levels:
                page.locator("#level").fill(str(level))
                page.wait_for_function("document.body.dataset.shown === dps.key() && dps.surface.result")
                (folder / f"page-{level}.png").write_bytes(save("png"))
            for role in ("mask", "sketch"):
                (folder / f"{role}.png").write_bytes(save(role))
            words = [f"{folder}/photo.png", "--mask", f"{folder}/mask.png", "--sketch", f"{folder}/sketch.png"]
            words += ["--align", "none", "--levels", ",".join(map(str, levels))]
            assert run_app(app, ["edit", *words, "--blend", "poisson", "--grain", "-o", f"{folder}/cli"]) == 0
            assert run_app(app, ["edit", *words, "-o", f"{folder}/exact"]) == 0
            hole = read_photo(folder / "mask.png")[..., 0] > 127

            def compare(page_file: str, cli_file: str) -> None:
                got, wanted = read_photo(folder / page_file), read_photo(folder / cli_file)
                assert np.array_equal(got[~hole], read_photo(photo)[~hole])
                assert np.abs(got.astype(int) - wanted).max() <= 1
                assert (got[hole] != read_photo(photo)[hole]).any()

            for level in levels:
                compare(f"page-{level}.png", f"cli/l{level:g}.png")
            if index == 1:
                page.check("#exact")
                page.wait_for_function("document.body.dataset.shown === dps.key() && dps.surface.result")
                (folder / "exact.png").write_bytes(save("png"))
                compare("exact.png", f"exact/l{levels[-1]:g}.png")
                page.uncheck("#exact")
                page.wait_for_function("document.body.dataset.shown === dps.key() && dps.surface.result")
            assert inspect_file(folder / f"page-{levels[0]}.png")[0] is not None
            (folder / "page.jpg").write_bytes(save("jpeg"))
            assert inspect_file(folder / "page.jpg")[0] is not None

        def save_edit_and_open_it() -> None:
            drawn = "[dps.surface.drawing.steps('mask').length, dps.level, dps.exact]"
            (tmp_path / "edit.zip").write_bytes(save("zip"))
            shutil.unpack_archive(tmp_path / "edit.zip", tmp_path / "edit")
            (stored,) = (tmp_path / "edit").iterdir()
            assert any(line.startswith("level") for line in inspect_file(stored / "l1.png")[1])
            assert run_app(app, ["edit", "--from", str(stored), "-o", str(tmp_path / "again")]) == 0
            again = read_photo(tmp_path / "again" / "l1.png").astype(int)
            assert np.abs(again - read_photo(stored / "l1.png")).max() <= 1
            shown = page.evaluate("dps.surface.result.image.src")
            page.set_input_files("#file", str(tmp_path / "edit.zip"))
            page.wait_for_function("dps.surface.drawing.steps('sketch').every((step) => step.kind === 'file')")
            page.wait_for_function("document.body.dataset.shown === dps.key() && dps.surface.result")
            assert page.evaluate(drawn) == [1, 1, False]
            assert page.evaluate("dps.surface.result.image.src") == shown

        def take_own_lines() -> None:
            page.click("#lines")
            page.wait_for_function("dps.surface.drawing.steps('sketch').length === 2")
            hole, lines = read_grey(save("mask")) > 127, read_grey(save("sketch")) < 128
            before = read_grey(tmp_path / "4" / "sketch.png") < 128
            assert (lines & hole & ~before).sum() > 100
            assert (lines & before).sum() == before.sum(), "what was drawn before stays"

        for index in (1, 2, 3, 4):
            draw_and_compare(index, (0.0, 0.5, 1.0))
        save_edit_and_open_it()
        take_own_lines()
        context.set_offline(True)
        server.shutdown()
        page.reload()
        page.wait_for_selector("body[data-ready]")
        draw_and_compare(5, (0.0, 0.5, 1.0))
        browser.close()
    assert hosts <= {"http://127.0.0.1", "data:", "blob:http:", "blob:"}
    assert complaints == []
