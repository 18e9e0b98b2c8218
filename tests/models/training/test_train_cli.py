from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer

from dpsdata.runtime.command_line import run_app
from models.cli.train import train_command

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    app.callback()(lambda: None)
    app.command("train")(train_command)
    return app


def test_dry_run_says_what_would_be_trained(
    app: typer.Typer, built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert run_app(app, ["train", "tiny", "--data", str(built), "--out", str(out), "--dry-run"]) == 0
    shown = capsys.readouterr().out
    for word in ("F64 (", "G16 (", "G64 (", "at level 1", "differs: ", "6 photos"):
        assert word in shown
    assert not out.exists()


def test_a_run_from_the_command_line(
    app: typer.Typer, built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    words = ["train", "tiny", "--data", str(built), "--out", str(out), "--device", "cpu", "--images-scale", "0.0005"]
    assert run_app(app, words) == 0
    assert "next: dps edit" in capsys.readouterr().out
    assert (out / "weights" / "G64.safetensors").is_file()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["huge"], 2, "paper-edit-256"),
        (["tiny", "--images-scale", "0"], 2, "images-scale"),
        (["lite-edit-256"], 2, "--size 256"),
        (["tiny", "--device", "abacus"], 2, "abacus"),
        (["tiny", "--set", "6"], 2, "expected KEY=VALUE"),
        (["tiny", "--set", 'sampling.repeats=[["selfie_*", 6]]'], 2, "no photo matches 'selfie_*'"),
        (["tiny", "--dry-run", "--set", 'sampling.repeats=[["selfie_*", 6]]'], 2, "no photo matches 'selfie_*'"),
        (["tiny", "--set", 'sampling.repeats=[["*", 0]]'], 2, "every photo would come 0 times"),
        (["tiny", "--precision", "fp8"], 2, "fp8"),
        (
            ["tiny", "--dry-run", "--init-from", "no/light.safetensors"],
            5,
            "no such file or folder; expected a run folder",
        ),
    ],
)
def test_wrong_words_end_with_one_sentence(
    app: typer.Typer,
    built: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: int,
    said: str,
) -> None:
    assert run_app(app, ["train", *words, "--data", str(built), "--out", str(tmp_path / "run")]) == code
    assert said in capsys.readouterr().err


def test_no_data_ends_with_five(app: typer.Typer, tmp_path: Path) -> None:
    assert run_app(app, ["train", "tiny", "--data", str(tmp_path), "--out", str(tmp_path / "run")]) == 5


def test_help_needs_no_torch() -> None:
    code = (
        "import sys, typer; from models.cli.train import train_command; "
        "from dpsdata.runtime.command_line import run_app; "
        "app = typer.Typer(); app.callback()(lambda: None); app.command('train')(train_command); "
        "code = run_app(app, ['train', '--help']); "
        "print('heavy:', sorted({'torch', 'cv2', 'numpy', 'accelerate'} & set(sys.modules))); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert "heavy: []" in done.stdout
