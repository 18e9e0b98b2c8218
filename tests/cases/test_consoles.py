"""Consoles that lack letters, Ctrl-C at many moments, disks without locks: right exit codes and lines stated."""

from __future__ import annotations

import errno
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import filelock
import pytest

from dpsdata.contracts import EnvironmentFailure
from dpsdata.runtime.files import lock_folder

HERE = Path(__file__).parent
START = "from dpsdata.start import {0}; {0}()"


def start(command: str, *words: str, **settings: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", START.format(command), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **settings},
        start_new_session=True,
    )


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "ascii:strict"])
def test_a_console_without_the_letter(encoding: str, tmp_path: Path) -> None:
    out = tmp_path / "faces 😀 ű"
    process = start("dpsdata", "sample", str(out), "--count", "1", PYTHONIOENCODING=encoding)
    said, failed = process.communicate(timeout=120)
    assert process.returncode == 0, failed
    assert encoding != "cp1252" or b"\\U0001f600" in said
    assert len(list(out.iterdir())) == 1
    process = start("dps", "edit", str(tmp_path / "😀.png"), "-o", str(tmp_path / "x"), PYTHONIOENCODING=encoding)
    _, failed = process.communicate(timeout=120)
    assert process.returncode == 2
    assert b"Error" not in failed


def test_an_output_that_is_full_or_closed(tmp_path: Path) -> None:
    words = [sys.executable, "-c", START.format("dpsdata"), "masks", "list"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 1
    closed = subprocess.run(["/bin/sh", "-c", '"$@" >&-', "sh", *words], stderr=subprocess.PIPE, check=False)
    assert closed.returncode == 0, closed.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        "dps edit PHOTO --mask MASK --sketch SKETCH --levels 0 --align none -o OUT",
        "dpsdata build FACES OUT --size 64 --workers 2 --masks center --edges HED",
        "dpsdata sample OUT --count 2",
    ],
    ids=["edit", "build", "sample"],
)
def test_ctrl_c(command: str, faces: Path, tiny_hed: Path, drawn: Path, tmp_path: Path) -> None:
    """DPS_CTRL_C=30 asks for 30 moments of each command; `ctrl_c.py` does so for any other command."""
    places = {"PHOTO": faces / "astronaut.png", "FACES": faces, "HED": tiny_hed}
    places |= {"MASK": drawn / "mask.png", "SKETCH": drawn / "sketch.png"}
    script = SimpleNamespace(**runpy.run_path(str(HERE / "ctrl_c.py")))
    words = [str(places.get(word, word)) for word in command.split()]
    found = list(script.interrupt(words, int(os.environ.get("DPS_CTRL_C", "2"))))
    assert not [moment for moment in found if moment[3]]
    assert any(code == 130 for _, code, _, _ in found)


def test_nothing_slow_is_imported_before_ctrl_c_is_taken_over() -> None:
    """What stood in the package itself left Python's own traceback for the first tenth of a second."""
    code = "import sys; before = set(sys.modules); import dpsdata.start; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ours = {"dpsdata", "dpsdata.runtime", "dpsdata.runtime.interrupts", "dpsdata.start"}
    assert set(done.stdout.split()) <= ours | {"signal", "enum", "types", "operator", "functools", "collections"}


@pytest.fixture
def drawn(faces: Path, tmp_path: Path) -> Path:
    """What `edit_inputs.py` draws."""
    subprocess.run([sys.executable, HERE / "edit_inputs.py", tmp_path / "in", faces / "astronaut.png"], check=True)
    return tmp_path / "in"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_finished_work_on_a_console_without_the_letter(faces: Path, drawn: Path, tmp_path: Path) -> None:
    commands = tmp_path / "bin"
    commands.mkdir()
    for name in ("dps", "dpsdata"):  # those of this checkout, whatever is installed
        (commands / name).write_text(f'#!/bin/sh\nexec {sys.executable} -c "{START.format(name)}" "$@"\n')
        (commands / name).chmod(0o755)
    out = tmp_path / "out"
    inputs = [faces / "astronaut.png", drawn / "mask.png", drawn / "sketch.png"]
    done = subprocess.run(
        ["bash", HERE / "console_encoding.sh", *inputs, out],
        env={**os.environ, "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        check=True,
    )
    said = done.stdout.splitlines()
    assert [line for line in said if b"rc=" in line] == [b"build rc=0", b"edit rc=0"], done.stderr
    assert b"Traceback" not in done.stderr
    assert (out / "built 😀" / "images" / "smile 😀.png").is_file()
    assert (out / "edit 😀" / "l0.png").is_file()


def test_interrupts_in_destructors_and_greedy_code() -> None:
    """Python throws away what a destructor raises, and some libraries catch all: neither loses Ctrl-C."""
    for body in (
        "class A:\n def __del__(self): os.kill(os.getpid(), 2); [0 for _ in range(10**6)]\nA()",
        "try:\n os.kill(os.getpid(), 2); time.sleep(1)\nexcept BaseException: raise RecursionError from None",
        "try:\n os.kill(os.getpid(), 2); time.sleep(1)\nexcept BaseException: pass",
    ):
        indented = body.replace("\n", "\n    ")
        code = (
            "import dpsdata.start, os, time, typer\nfrom dpsdata.runtime.command_line import run_and_exit\n"
            f"app = typer.Typer()\n@app.command()\ndef go():\n    {indented}\n    time.sleep(1)\nrun_and_exit(app, [])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 130, done.stderr
        assert done.stderr == "error: interrupted; run the same command again to resume\n"
        assert done.stderr.strip().splitlines()[-1].startswith("error: interrupted"), done.stderr


@pytest.mark.parametrize("ignored", [False, True], ids=["a terminal", "nohup"])
def test_sigterm_ends_as_ctrl_c_does(ignored: bool) -> None:
    """Schedulers and containers end a job by it, also one in the background, which ignores Ctrl-C."""
    code = (
        f"import signal\nif {ignored}: signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "import dpsdata.start, os, time, typer\nfrom dpsdata.runtime.command_line import run_and_exit\n"
        "app = typer.Typer()\n@app.command()\ndef go():\n    try:\n        os.kill(os.getpid(), 15); time.sleep(9)\n"
        "    finally: print('saved')\nrun_and_exit(app, [])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (130, "saved\n"), done.stderr
    assert done.stderr == "error: interrupted; run the same command again to resume\n"


def test_two_processes_in_one_folder(tmp_path: Path) -> None:
    with lock_folder(tmp_path, tmp_path / "lock", "build"):
        second = lock_folder(tmp_path, tmp_path / "lock", "build")
        with pytest.raises(EnvironmentFailure, match=rf"another build \(process {os.getpid()}\)"):
            second.__enter__()
    with lock_folder(tmp_path, tmp_path / "lock", "build"):
        pass


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_disk_without_locks_is_no_other_build(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", fail)
    with pytest.warns(UserWarning, match="has no file locks"), lock_folder(tmp_path, tmp_path / "lock", "build"):
        assert tmp_path.is_dir()


def test_a_lock_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **settings: object) -> None:
        raise PermissionError(errno.EACCES, "no")

    monkeypatch.setattr(filelock.FileLock, "acquire", fail)
    with pytest.raises(EnvironmentFailure, match="no permission"), lock_folder(tmp_path, tmp_path / "lock", "build"):
        pass


def test_nothing_of_ours_needs_fcntl() -> None:
    """Windows has none: the command lines start without it."""
    code = "import sys; sys.modules['fcntl'] = None; import dpsdata.dataset.journal, models.cli, dpseval.cli"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
