from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from dpsdata.contracts import MissingError
from dpsdata.dataset import BuildConfig, build_dataset
from dpsdata.images.codec import write_photo
from dpsdata.runtime.command_line import run_app
from dpsdata.weights import find_weights, list_weights
from dpsdata.weights import registry as weights_registry
from dpsdata.weights.store import card_path, install, tensors_path
from models import doctor
from models.cli import app
from models.doctor import CheckResult, diagnose, run_check
from models.editing import loading

ROOT = Path(__file__).resolve().parents[2]
EDIT_NAMES = [f"dps-edit-{name}" for name in ("g64", "g128", "g256", "f256")]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    monkeypatch.setenv("DPS_HOME", str(folder))
    return folder


@pytest.fixture(autouse=True)
def _nothing_bundled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever comes with the package, these tests start from a machine without weights."""

    def refuse(*arguments: object) -> None:
        raise MissingError("none")

    monkeypatch.setattr(doctor, "find_method_weights", refuse)
    monkeypatch.setattr(loading, "find_sources", refuse)


@pytest.fixture(scope="module")
def built_once(faces: Path, tiny_hed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("doctor") / "built"
    build_dataset(BuildConfig(source=faces, out=out, size=64, edges=str(tiny_hed), workers=1, masks=("center",)))
    return out


@pytest.fixture
def built(built_once: Path, tmp_path: Path) -> Path:
    return shutil.copytree(built_once, tmp_path / "built")


def make_ready() -> None:
    """Install small tensors under the names of the official editor: the doctor goes by name and hash."""
    for name in EDIT_NAMES:
        install(name, {"x": torch.zeros(2)}, {"licence": "test"})


def ask(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = run_app(app, ["doctor", *words])
    said = capsys.readouterr()
    assert "Traceback" not in said.out + said.err
    return code, said.out, said.err


def ask_json(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    code, out, _ = ask(capsys, "--json", *words)
    body = json.loads(out)
    return code, body


def named(body: dict[str, Any], name: str) -> dict[str, str]:
    (found,) = [item for item in body["findings"] if item["name"] == name]
    return found


def problems(body: dict[str, Any]) -> list[str]:
    return [item["name"] for item in body["findings"] if item["state"] == "problem"]


def test_bare_machine(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    code, out, err = ask(capsys)
    assert code == 5
    assert "problem  edit: cannot run" in out
    assert "         -> dps weights import FILE" in out
    assert "dps-edit-f256" in out
    assert err == "error: work stops at: edit; start with `dps weights import FILE`\n"
    assert not home.exists()  # looking makes nothing


def test_json_of_a_bare_machine(capsys: pytest.CaptureFixture[str]) -> None:
    code, body = ask_json(capsys)
    assert code == 5
    assert sorted(body) == ["findings", "schema_version", "version", "weights"]
    assert body["schema_version"] == 2
    assert problems(body) == ["edit"]
    for item in body["findings"]:
        assert sorted(item) == ["command", "name", "sentence", "state"]
        assert item["state"] in ("ok", "note", "problem")
        assert bool(item["command"]) == (item["state"] != "ok"), item
    names = {"python", "versions", "cpu", "gpu", "ray", "disk", "edit", "synthesis", "baselines", "metrics"}
    assert names <= {item["name"] for item in body["findings"]}
    assert "OMP_NUM_THREADS" in named(body, "cpu")["sentence"]
    assert "bf16" in named(body, "cpu")["sentence"]
    assert f"torch {torch.__version__}" in named(body, "versions")["sentence"]
    assert {file.name for file in list_weights()} <= {item["name"] for item in body["weights"]}
    weights = {item["name"]: item for item in body["weights"]}
    assert weights["hed-compact"]["status"] == "ok"
    assert len(weights["hed-compact"]["actual_sha256"]) == 64
    assert weights["scfegan"]["status"] == weights["inception-fid"]["status"] == "missing"
    assert ", ".join(EDIT_NAMES) in named(body, "edit")["sentence"]
    assert "can run: mean-color, telea, navier-stokes;" in named(body, "baselines")["sentence"]
    assert named(body, "metrics")["command"] == "dps weights get lpips-alex"


def test_a_machine_that_can_edit(capsys: pytest.CaptureFixture[str]) -> None:
    make_ready()
    code, body = ask_json(capsys)
    assert (code, problems(body)) == (0, [])
    assert named(body, "edit")["sentence"] == "official weights are there"
    assert named(body, "synthesis")["state"] == "note"
    install("inception-fid", {"x": torch.zeros(2)}, {})
    install("scfegan", {"x": torch.zeros(2)}, {})
    _, body = ask_json(capsys)
    assert "can run: PSNR, SSIM, L1, edges, FID;" in named(body, "metrics")["sentence"]
    assert "can run: scfegan, scfegan-refined, mean-color" in named(body, "baselines")["sentence"]
    card_path(EDIT_NAMES[0]).unlink()
    code, body = ask_json(capsys)
    assert named(body, f"weights {EDIT_NAMES[0]}")["state"] == "note"
    assert code == 5


def test_bundled_editor(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "find_sources", lambda weights, task: {"G64": Path("g")})
    code, body = ask_json(capsys)
    assert code == 0
    assert named(body, "edit")["sentence"] == "bundled weights are there"


def test_corrupt_weight_file(capsys: pytest.CaptureFixture[str]) -> None:
    make_ready()
    install("scfegan", {"x": torch.zeros(2)}, {})
    path = tensors_path("scfegan")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    code, body = ask_json(capsys)
    assert (code, problems(body)) == (5, ["weights scfegan"])
    found = named(body, "weights scfegan")
    assert str(path) in found["sentence"]
    assert "wrong hash" in found["sentence"]
    assert found["command"] == f"dps weights import {find_weights('scfegan').filename}"
    assert path.read_bytes() == bytes(data)  # not set aside: looking changes nothing
    assert "scfegan" in named(body, "baselines")["sentence"].partition("cannot")[2]
    install("scfegan", {"x": torch.zeros(2)}, {})  # what an import does
    assert ask(capsys)[0] == 0


def test_corrupt_editor_and_corrupt_metric(capsys: pytest.CaptureFixture[str]) -> None:
    make_ready()
    install("inception-fid", {"x": torch.zeros(2)}, {})
    for name in (EDIT_NAMES[2], "inception-fid"):
        tensors_path(name).write_bytes(b"cut")
    code, body = ask_json(capsys)
    assert code == 5
    # In the order of registration, which follows the imports.
    assert sorted(problems(body)) == sorted([f"weights {EDIT_NAMES[2]}", "weights inception-fid", "edit"])
    command = "dps weights path inception-fid || dps weights get inception-fid"
    assert named(body, "weights inception-fid")["command"] == command


def test_a_broken_package(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    make_ready()
    folder = find_weights("hed-compact").bundled_folder
    assert folder is not None
    copy = shutil.copytree(folder, tmp_path / "bundled")
    (copy / "hed_judge.safetensors").unlink()
    with (copy / "hed_compact.safetensors").open("ab") as stream:
        stream.write(b"x")
    monkeypatch.setattr(weights_registry, "_FILES", {
        name: SimpleNamespace(**{**vars(file), "bundled_folder": copy}) if file.bundled_folder == folder else file
        for name, file in weights_registry._FILES.items()
    })  # fmt: skip
    code, body = ask_json(capsys)
    assert (code, problems(body)) == (5, ["weights hed-compact", "weights hed-judge"])
    assert "--force-reinstall" in named(body, "weights hed-judge")["command"]


def test_full_disk(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    make_ready()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(total=10**9, used=10**9, free=0))
    code, body = ask_json(capsys)
    assert (code, problems(body)) == (5, ["disk", "disk-here"])
    assert "the disk is full" in named(body, "disk")["sentence"]
    assert "DPS_HOME" in named(body, "disk")["command"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB without a free byte."""
    place = tmp_path / "small"
    place.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    words = ["-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if not mount or not umount or subprocess.run([mount, *words], capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a small file system")
    try:
        (place / "filler").write_bytes(b"x" * shutil.disk_usage(place).free)
        yield place
    finally:
        subprocess.run([umount, str(place)], check=True)


def test_a_disk_that_is_really_full(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, small_disk: Path
) -> None:
    monkeypatch.setenv("DPS_HOME", str(small_disk / "home"))
    monkeypatch.chdir(ROOT)
    code, body = ask_json(capsys)
    assert (code, problems(body)) == (5, ["disk", "edit"])
    assert "0.00 GB free" in named(body, "disk")["sentence"]
    monkeypatch.setenv("DPS_HOME", str(ROOT / "nowhere"))
    with monkeypatch.context() as patch:  # a folder that a process stands in cannot be unmounted
        patch.chdir(small_disk)
        assert "disk-here" in problems(ask_json(capsys)[1])


def test_home_is_a_file(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("DPS_HOME", str(tmp_path / "file" / "home"))
    code, body = ask_json(capsys)
    assert code == 5
    assert named(body, "disk")["state"] == "note"
    assert "nothing can be written" in named(body, "disk")["sentence"]


@pytest.mark.parametrize("kind", ["absent", "empty", "text", "fake photos", "tensors", "a photo"])
def test_wrong_data_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path, kind: str) -> None:
    make_ready()
    place = tmp_path / "data"
    if kind != "absent":
        place.mkdir()
    if kind == "text":
        (place / "notes.txt").write_text("x")
    if kind == "fake photos":
        for number in range(3):
            (place / f"{number}.jpg").write_text("no photo")
    if kind == "tensors":
        (place / "faces.tfrecord").write_bytes(b"x")
    if kind == "a photo":
        place = place / "a.png"
        write_photo(place, torch.zeros((20, 20, 3), dtype=torch.uint8).numpy())
    code, body = ask_json(capsys, "--data", str(place))
    assert (code, problems(body)) == (5, ["data"])
    assert named(body, "data")["command"] == "dps doctor --data FOLDER_OF_PHOTOS"


def test_right_data_folder(capsys: pytest.CaptureFixture[str], faces: Path, tmp_path: Path) -> None:
    make_ready()
    code, body = ask_json(capsys, "--data", str(faces))
    assert (code, named(body, "data")["state"]) == (0, "ok")
    assert "6 photos, layout folder" in named(body, "data")["sentence"]
    pack = tmp_path / "my pack"
    pack.mkdir()
    for number, path in enumerate(sorted(faces.iterdir()), 1):
        shutil.copy(path, pack / f"{number:05}{path.suffix}")
    code, body = ask_json(capsys, "--data", str(pack))
    assert code == 0
    assert "layout data-pack" in named(body, "data")["sentence"]
    (pack / "00007.png").write_text("no photo")
    code, body = ask_json(capsys, "--data", str(pack))
    assert code == 0
    assert named(body, "data")["state"] == "note"
    assert "00007.png" in named(body, "data")["sentence"]
    assert named(body, "data")["command"] == f"dpsdata build '{pack}' BUILT"


def test_built_folder(capsys: pytest.CaptureFixture[str], built: Path) -> None:
    make_ready()
    code, body = ask_json(capsys, "--data", str(built))
    assert code == 0
    assert "6 samples of 64 px" in named(body, "data")["sentence"]


@pytest.mark.parametrize("harm", ["json", "manifest", "empty"])
def test_broken_built_folder(capsys: pytest.CaptureFixture[str], built: Path, harm: str) -> None:
    make_ready()
    manifest = built / "manifest.csv"
    if harm == "json":
        (built / "dataset.json").write_text("{")
    elif harm == "manifest":
        manifest.write_text("".join(manifest.read_text().splitlines(keepends=True)[:-1]))
    else:
        manifest.write_bytes(b"")
    code, body = ask_json(capsys, "--data", str(built))
    assert (code, problems(body)) == (5, ["data"])
    assert named(body, "data")["command"] == f"dpsdata build SOURCE {built}"


def test_debug_shows_the_traceback_and_only_then(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["doctor", "--data", str(tmp_path / "absent")]
    assert run_app(app, [*words, "--debug"]) == 5
    said = capsys.readouterr()
    assert "problem  data: " in said.out  # all findings come before
    assert "Traceback" in said.err
    assert run_app(app, words) == 5
    assert "Traceback" not in capsys.readouterr().err
    assert run_app(app, ["doctor", "--nothing"]) == 2


def test_torch_that_does_not_load(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    make_ready()
    monkeypatch.setitem(sys.modules, "torch", None)
    code, body = ask_json(capsys)
    assert (code, problems(body)) == (5, ["libraries", "device"])
    assert "torch does not load" in named(body, "libraries")["sentence"]


def test_opencv_without_libgl(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> object:
        if name == "cv2":
            raise ImportError("libGL.so.1: cannot open shared object file")
        return torch

    monkeypatch.setattr(doctor, "import_module", load)
    (found,) = [item for item in doctor.check_libraries() if item.name == "libraries"]
    assert found.state == "problem"
    assert "opencv-python-headless" in found.command


@pytest.mark.parametrize(("version", "state"), [((3, 10), "note"), ((3, 11), "ok"), ((3, 13), "ok"), ((3, 14), "note")])
def test_python(monkeypatch: pytest.MonkeyPatch, version: tuple[int, int], state: str) -> None:
    monkeypatch.setattr(sys, "version_info", version)
    assert next(doctor.check_libraries()).state == state


def test_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "core_count", lambda: 2)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert next(doctor.check_device()).state == "ok"
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert next(doctor.check_device()).command == "export OMP_NUM_THREADS=2"


def test_gpu_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "hip", None)

    def look(built_for: str | None, driver: str | None) -> CheckResult:
        monkeypatch.setattr(torch.version, "cuda", built_for)
        monkeypatch.setattr(doctor.shutil, "which", lambda name: driver)
        return list(doctor.check_device())[1]

    assert look(None, None).state == "ok"
    assert look("13.0", None).state == "ok"
    assert "built for the CPU alone" in look(None, "/bin/nvidia-smi").sentence
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    assert "CUDA_VISIBLE_DEVICES=7" in look("13.0", "/bin/nvidia-smi").sentence
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "Toy GPU")

    def refuse(*sizes: int, **options: Any) -> None:
        raise RuntimeError("no kernel image")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "zeros", refuse)
        assert "no kernel image" in look("13.0", None).sentence
    with monkeypatch.context() as patch:
        patch.setattr(torch, "zeros", lambda *sizes, device: torch.ones(1))
        assert look("13.0", None) == CheckResult(
            "gpu", "ok", "`--device auto` takes the GPU: Toy GPU, which torch computes on"
        )


def test_a_check_that_fails_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(error: Exception) -> list[CheckResult]:
        raise error

    for error in (PermissionError(13, "Permission denied"), ImportError("x"), MissingError("x"), ValueError("x")):
        (found,) = run_check("data", "mend it", lambda error=error: iter(fail(error)))  # type: ignore[misc]
        assert found.state == "problem"
        assert found.command
    with pytest.raises(KeyError):  # a mistake of ours is not hidden: `--debug` must be able to show it
        list(run_check("data", "mend it", lambda: iter(fail(KeyError("x")))))


def test_sentences_fit_in_a_line() -> None:
    assert CheckResult("x", "ok", "a\nb\x1b[31m\udcff").sentence == "a b [31m\\udcff"
    assert len(CheckResult("x", "ok", "x" * 5000).sentence) == 603


def test_help_and_module_load_no_heavy_library() -> None:
    code = (
        "import sys; import models.doctor; from models.cli import app; "
        "from dpsdata.runtime.command_line import run_app; "
        "code = run_app(app, ['doctor', '--help']); "
        "print('heavy:', sorted({'torch', 'cv2', 'numpy', 'PIL'} & set(sys.modules))); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert "--data" in done.stdout
    assert "heavy: []" in done.stdout


def test_asking_twice_says_the_same(faces: Path) -> None:
    first, second = ([item for item in diagnose(faces)[0] if "GB free" not in item.sentence] for _ in range(2))
    assert first == second


def test_ray_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(doctor, "version", lambda name: "2.60.0")
    assert "Ray 2.60.0; without --address it takes " in next(doctor.check_ray()).sentence
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    assert "the cluster at RAY_ADDRESS=127.0.0.1:1" in next(doctor.check_ray()).sentence

    def missing(name: str) -> str:
        raise doctor.PackageNotFoundError(name)

    monkeypatch.setattr(doctor, "version", missing)
    assert "not installed" in next(doctor.check_ray()).sentence
