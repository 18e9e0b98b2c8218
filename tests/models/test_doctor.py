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
from models.cli import app
from models.doctor import machine as doctor_machine
from models.doctor import weights as doctor_weights
from models.doctor.checks import diagnose
from models.doctor.findings import Finding, printable, run_check
from models.editing import loading
from models.methods import weights as method_weights

ROOT = Path(__file__).resolve().parents[2]
HAS_BUNDLED_NET = doctor_weights._has_bundled_net
EDIT_NAMES = [f"dps-edit-{name}" for name in ("g64", "g128", "g256", "f256")]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    monkeypatch.setenv("DPS_HOME", str(folder))
    return folder


@pytest.fixture(autouse=True)
def _nothing_bundled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever comes with the package, these tests start from a machine without weights."""

    def refuse(method: object, weights: str) -> None:
        raise MissingError("none")

    monkeypatch.setattr(method_weights, "find_method_weights", refuse)
    monkeypatch.setattr(doctor_weights, "_has_bundled_net", lambda task: False)


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
    assert body["exit_code"] == code
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
    assert sorted(body) == ["data", "exit_code", "findings", "schema_version", "tasks", "version", "weights"]
    assert (body["schema_version"], body["data"]) == (1, None)
    assert problems(body) == ["edit"]
    for item in body["findings"]:
        assert sorted(item) == ["command", "name", "sentence", "state"]
        assert item["state"] in ("ok", "note", "problem")
        assert bool(item["command"]) == (item["state"] != "ok"), item
    names = {
        "python",
        "torch",
        "libraries",
        "device",
        "threads",
        "ray",
        "disk",
        "edit",
        "synthesis",
        "baselines",
        "metrics",
    }
    assert names <= {item["name"] for item in body["findings"]}
    assert "OMP_NUM_THREADS" in named(body, "threads")["sentence"]
    assert {file.name for file in list_weights()} <= {item["name"] for item in body["weights"]}
    statuses = {item["name"]: item["status"] for item in body["weights"]}
    assert statuses["hed-compact"] == "ok"
    assert statuses["scfegan"] == statuses["inception-fid"] == "missing"
    tasks = {item["name"]: item for item in body["tasks"]}
    assert tasks["edit"]["lacking"] == EDIT_NAMES
    assert tasks["telea"]["can_run"] is True
    assert tasks["lpips"] == {
        "name": "lpips", "kind": "metric", "can_run": False, "origin": "none", "lacking": ["lpips-alex"]
    }  # fmt: skip


def test_a_machine_that_can_edit(capsys: pytest.CaptureFixture[str]) -> None:
    make_ready()
    code, body = ask_json(capsys)
    assert (code, problems(body)) == (0, [])
    assert named(body, "edit")["sentence"] == "official weights are there"
    assert named(body, "synthesis")["state"] == "note"
    install("inception-fid", {"x": torch.zeros(2)}, {})
    install("scfegan", {"x": torch.zeros(2)}, {})
    _, body = ask_json(capsys)
    tasks = {item["name"]: item["can_run"] for item in body["tasks"]}
    assert tasks["fid"] is tasks["scfegan"] is tasks["scfegan-refined"] is True
    assert tasks["lpips"] is tasks["deepfillv2"] is False
    card_path(EDIT_NAMES[0]).unlink()
    code, body = ask_json(capsys)
    assert {item["name"]: item["can_run"] for item in body["tasks"]}["scfegan-refined"] is False  # it is fed by G
    assert named(body, f"weights {EDIT_NAMES[0]}")["state"] == "note"
    assert code == 5


def test_bundled_editor(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_weights, "_has_bundled_net", lambda task: task == "edit")
    code, body = ask_json(capsys)
    assert code == 0
    assert named(body, "edit")["sentence"] == "bundled weights are there"


def test_what_counts_as_bundled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "g").write_bytes(b"x")
    monkeypatch.setattr(loading, "find_sources", lambda weights, task: {"G64": tmp_path / "g"})
    assert HAS_BUNDLED_NET("edit")
    monkeypatch.setattr(loading, "find_sources", lambda weights, task: {"G64": tmp_path / "g", "F64": tmp_path / "f"})
    assert not HAS_BUNDLED_NET("edit")

    def refuse(weights: str, task: str) -> None:
        raise MissingError("none")

    monkeypatch.setattr(loading, "find_sources", refuse)
    assert not HAS_BUNDLED_NET("edit")


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
    assert {item["name"]: item["can_run"] for item in body["tasks"]}["scfegan"] is False
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


@pytest.mark.parametrize(
    ("free", "state"), [(49_999_999, "problem"), (50_000_000, "note"), (1_999_999_999, "note"), (2_000_000_000, "ok")]
)
def test_how_full_the_disk_is(monkeypatch: pytest.MonkeyPatch, home: Path, free: int, state: str) -> None:
    asked: list[Path] = []

    def usage(path: Path) -> SimpleNamespace:
        asked.append(path)
        return SimpleNamespace(total=10**12, used=0, free=free)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    found = doctor_machine.check_disk("disk", home / "a" / "b", "weights")
    assert found.state == state
    assert asked == [home.parent]  # the nearest folder that is there


def test_full_disk(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    make_ready()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(total=10**9, used=10**9, free=0))
    code, body = ask_json(capsys)
    assert (code, problems(body)) == (5, ["disk"])
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
    assert body["data"] == {"kind": "unknown", "layout": "unknown", "count": 0}
    assert named(body, "data")["command"] == "dps doctor --data FOLDER_OF_PHOTOS"


def test_right_data_folder(capsys: pytest.CaptureFixture[str], faces: Path, tmp_path: Path) -> None:
    make_ready()
    code, body = ask_json(capsys, "--data", str(faces))
    assert (code, body["data"]) == (0, {"kind": "photos", "layout": "folder", "count": 6})
    assert named(body, "data")["state"] == "ok"
    pack = tmp_path / "my pack"
    pack.mkdir()
    for number, path in enumerate(sorted(faces.iterdir()), 1):
        shutil.copy(path, pack / f"{number:05}{path.suffix}")
    code, body = ask_json(capsys, "--data", str(pack))
    assert (code, body["data"]["layout"]) == (0, "data-pack")
    (pack / "00007.png").write_text("no photo")
    code, body = ask_json(capsys, "--data", str(pack))
    assert code == 0
    assert named(body, "data")["state"] == "note"
    assert "00007.png" in named(body, "data")["sentence"]
    assert named(body, "data")["command"] == f"dpsdata build '{pack}' BUILT"


def test_built_folder(capsys: pytest.CaptureFixture[str], built: Path) -> None:
    make_ready()
    code, body = ask_json(capsys, "--data", str(built))
    assert (code, body["data"]) == (0, {"kind": "built", "layout": "built", "count": 6})
    assert "6 samples of 64 px" in named(body, "data")["sentence"]


@pytest.mark.parametrize("harm", ["photo", "masks", "dataset", "json", "manifest", "empty"])
def test_broken_built_folder(capsys: pytest.CaptureFixture[str], built: Path, harm: str) -> None:
    make_ready()
    manifest = built / "manifest.csv"
    if harm == "photo":
        next((built / "images").iterdir()).unlink()
    elif harm == "masks":
        shutil.rmtree(built / "masks")
    elif harm == "dataset":
        (built / "dataset.json").unlink()
    elif harm == "json":
        (built / "dataset.json").write_text("{")
    elif harm == "manifest":
        manifest.write_text("".join(manifest.read_text().splitlines(keepends=True)[:-1]))
    else:
        manifest.write_bytes(b"")
    code, body = ask_json(capsys, "--data", str(built))
    assert (code, problems(body)) == (5, ["data"])
    assert named(body, "data")["command"] == f"dpsdata build SOURCE {built}"


def test_outputs_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path, faces: Path) -> None:
    make_ready()
    out = tmp_path / "outputs"
    photo = next(faces.glob("*.png"))
    for part in ("dps/l0", "dps/l0.25", "telea/none"):
        (out / part).mkdir(parents=True)
        for name in ("a", "b"):
            shutil.copy(photo, out / part / f"{name}.png")
    code, body = ask_json(capsys, "--data", str(out))
    assert (code, body["data"]) == (0, {"kind": "outputs", "layout": "outputs", "count": 6})
    assert "dps: l0, l0.25; telea: none" in named(body, "data")["sentence"]
    (out / "dps" / "l0" / "a.png").unlink()
    code, body = ask_json(capsys, "--data", str(out))
    assert (code, named(body, "data")["state"]) == (0, "note")
    assert "dps/l0 has the fewest: 1 of 2" in named(body, "data")["sentence"]
    (out / "run.json").write_text("{")
    code, body = ask_json(capsys, "--data", str(out))
    assert (code, problems(body)) == (5, ["data"])


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
    assert (code, problems(body)) == (5, ["torch"])
    assert named(body, "torch")["command"] == "pip install torch torchvision"
    assert named(body, "device")["state"] == named(body, "threads")["state"] == "note"


def test_opencv_without_libgl(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> None:
        if name == "cv2":
            raise ImportError("libGL.so.1: cannot open shared object file")

    monkeypatch.setattr(doctor_machine, "import_module", load)
    found = doctor_machine.check_libraries()
    assert found.state == "problem"
    assert "opencv-python-headless" in found.command


@pytest.mark.parametrize(("version", "state"), [((3, 10), "note"), ((3, 11), "ok"), ((3, 13), "ok"), ((3, 14), "note")])
def test_python(version: tuple[int, int], state: str) -> None:
    assert doctor_machine.check_python(version).state == state


def test_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_machine, "core_count", lambda: 2)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert doctor_machine.check_threads().state == "ok"
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert doctor_machine.check_threads().command == "export OMP_NUM_THREADS=2"


def test_device_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def look(built_for: str | None, driver: str | None) -> Finding:
        monkeypatch.setattr(torch.version, "cuda", built_for)
        monkeypatch.setattr(doctor_machine.shutil, "which", lambda name: driver)
        return doctor_machine.check_device()

    assert look(None, None).state == "ok"
    assert "built for the CPU alone" in look(None, None).sentence
    assert look(None, "/bin/nvidia-smi").state == "note"
    assert "no driver" in look("13.0", None).sentence
    assert look("13.0", "/bin/nvidia-smi").command == "nvidia-smi"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert look("13.0", "/bin/nvidia-smi").command == "unset CUDA_VISIBLE_DEVICES"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "Toy GPU")

    def refuse(*sizes: int, **options: Any) -> None:
        raise RuntimeError("no kernel image")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "zeros", refuse)
        assert "no kernel image" in look("13.0", None).sentence
    with monkeypatch.context() as patch:
        patch.setattr(torch, "zeros", lambda *sizes, device: torch.ones(1))
        assert look("13.0", None) == Finding(
            "device", "ok", "`--device auto` takes the GPU: Toy GPU, which torch sees and computes on"
        )


def test_a_check_that_fails_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(error: Exception) -> list[Finding]:
        raise error

    for error in (PermissionError(13, "Permission denied"), ImportError("x"), MissingError("x"), ValueError("x")):
        (found,) = run_check("data", "mend it", lambda error=error: fail(error))  # type: ignore[misc]
        assert found.state == "problem"
        assert found.command
    with pytest.raises(KeyError):  # a mistake of ours is not hidden: `--debug` must be able to show it
        run_check("data", "mend it", lambda: fail(KeyError("x")))


def test_sentences_fit_in_a_line() -> None:
    assert printable("a\nb\x1b[31m\udcff") == "a b [31m\\udcff"
    assert len(printable("x" * 5000)) == 603


def test_help_and_module_load_no_heavy_library() -> None:
    code = (
        "import sys; import models.doctor.checks; from models.cli import app; "
        "from dpsdata.runtime.command_line import run_app; "
        "code = run_app(app, ['doctor', '--help']); "
        "print('heavy:', sorted({'torch', 'cv2', 'numpy', 'PIL'} & set(sys.modules))); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert "--data" in done.stdout
    assert "heavy: []" in done.stdout


def test_asking_twice_says_the_same(faces: Path) -> None:
    first = diagnose(faces)
    assert [item for item in first.findings if "GB free" not in item.sentence] == [
        item for item in diagnose(faces).findings if "GB free" not in item.sentence
    ]


def test_ray_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(doctor_machine, "version", lambda name: "2.60.0")
    assert "Ray 2.60.0; without --address it starts a cluster of" in doctor_machine.check_ray().sentence
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    found = doctor_machine.check_ray()
    assert (found.state, found.command) == ("note", "ray start --head")
    assert "no cluster answers at RAY_ADDRESS=127.0.0.1:1" in found.sentence

    def missing(name: str) -> str:
        raise doctor_machine.PackageNotFoundError(name)

    monkeypatch.setattr(doctor_machine, "version", missing)
    assert "not installed" in doctor_machine.check_ray().sentence
