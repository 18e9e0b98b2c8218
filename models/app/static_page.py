"""The editor as a static folder, `dps page`: no server, no Python; the networks run in the tab.

OUT/index.html   OUT/web/        our page, the same as that of `dps app`
OUT/networks/    edit.onnx in half precision, edit.json, and lines.onnx, the bundled edge detector
OUT/runtime/     ONNX Runtime as WebAssembly, from the npm registry by the lock file beside the page
OUT/sw.js        keeps all of it for offline use
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tempfile
from importlib import resources
from pathlib import Path

from dpsdata.contracts import EnvironmentFailure, UsageError
from dpsdata.runtime.files import write_failure
from dpsdata.samples import sample_face_file
from models.app.opened_photo import LINES_PX
from models.editing.loading import load_editing_net
from models.editing.run import hash_weights
from models.weights.onnx import export_detector, export_onnx

_RUNTIME = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
_LOCK = ("package.json", "package-lock.json")
_MARK = '<html lang="en" data-engine="page">'
_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; connect-src 'self' data: blob:; "
    "script-src 'self' 'wasm-unsafe-eval'"
)
_MAX_SECONDS = 600


def build_page(out: Path, weights: str) -> int:
    """Write the page.

    Args:
        out: folder to write; an older page there is replaced.
        weights: as in `load_editing_net`.

    Returns:
        Bytes of the whole folder.

    Raises:
        UsageError: `out` holds something else, or the weights do not make a whole model.
        MissingError: there are no such weights, or they are damaged.
        EnvironmentFailure: npm or the extra `onnx` is not installed, the registry cannot be reached, or `out` cannot be
            written.
    """
    if out.exists() and not (out.is_dir() and (not any(out.iterdir()) or _is_page(out))):
        raise UsageError(f"{out}: it holds something other than a page; name a new folder")
    if shutil.which("npm") is None:
        raise EnvironmentFailure("dps page needs npm for the runtime; install Node.js 20 or newer, then run it again")
    web = resources.files("models.app") / "web"
    files = {path.name: path.read_bytes() for path in web.iterdir() if path.is_file()}
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as place:
            made = Path(place) / "page"
            for name in ("web", "runtime"):
                (made / name).mkdir(parents=True)
            export_onnx(load_editing_net(weights, "edit"), made / "networks", "fp16", hash_weights(weights, "edit"))
            (made / "networks" / "lines.onnx").write_bytes(export_detector(LINES_PX))
            _fetch_runtime(Path(place) / "npm", {name: files[name] for name in _LOCK}, made / "runtime")
            for name, data in files.items():
                if name not in (*_LOCK, "index.html", "sw.js"):
                    (made / "web" / name).write_bytes(data)
            (made / "web" / "sample.jpg").write_bytes(sample_face_file(1).read_bytes())
            (made / "index.html").write_text(_write_index(files["index.html"].decode()), encoding="utf-8")
            _write_worker(made, files["sw.js"].decode())
            size = sum(path.stat().st_size for path in made.rglob("*") if path.is_file())
            if out.exists():
                shutil.rmtree(out)
            made.rename(out)
    except OSError as error:
        raise write_failure(out, error) from error
    return size


def _is_page(out: Path) -> bool:
    index = out / "index.html"
    return index.is_file() and _MARK in index.read_text(encoding="utf-8", errors="replace")


def _fetch_runtime(place: Path, lock: dict[str, bytes], out: Path) -> None:
    place.mkdir()
    for name, data in lock.items():
        (place / name).write_bytes(data)
    words = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    try:
        done = subprocess.run(words, cwd=place, capture_output=True, text=True, timeout=_MAX_SECONDS, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        raise EnvironmentFailure("npm got no answer from its registry; check the connection and run it again") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise EnvironmentFailure(f"npm could not fetch the runtime ({lines[0] if lines else 'no reason given'})")
    source = place / "node_modules" / "onnxruntime-web"
    for name in _RUNTIME:
        shutil.copyfile(source / "dist" / name, out / name)
    version = json.loads((source / "package.json").read_text(encoding="utf-8"))
    notice = f"onnxruntime-web {version['version']}, Microsoft Corporation, {version['license']} licence\n"
    (out / "NOTICE.txt").write_text(notice, encoding="utf-8")


def _write_index(text: str) -> str:
    text = text.replace('<html lang="en">', _MARK).replace("leaves this machine", "leaves this tab")
    policy = f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    return text.replace("<meta charset", f"{policy}\n<meta charset")


def _write_worker(made: Path, text: str) -> None:
    names = sorted(path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file())
    digest = hashlib.sha256()
    for name in names:
        digest.update(name.encode() + (made / name).read_bytes())
    listed = json.dumps(["./", *names])
    text = text.replace("dps-VERSION", f"dps-{digest.hexdigest()[:16]}").replace('["FILES"]', listed)
    (made / "sw.js").write_text(text, encoding="utf-8")
