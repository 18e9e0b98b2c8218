"""The command line: exit codes, sentences, and what each command ends with."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import typer

from dpsdata import cli
from dpsdata.cli import app
from dpsdata.contracts import ExitCode, FindingsError, MissingError, ToleranceError, UsageError
from dpsdata.images.codec import read_photo
from dpsdata.runtime import command_line as command


def run(*words: object) -> int:
    return command.run_app(app, [str(word) for word in words])


@pytest.fixture
def built(faces: Path, tiny_hed: Path, tmp_path: Path) -> Path:
    out = tmp_path / "built"
    assert run("build", faces, out, "--size", 64, "--edges", tiny_hed, "--workers", 1, "--levels", "0,1") == 0
    return out


def test_sample_build_verify_preview_stats(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("verify", built) == 0
    assert "6 samples, 42 files checked" in capsys.readouterr().out
    assert run("preview", built, "--count", 2) == 0
    assert capsys.readouterr().out.strip().endswith("preview.html")
    page = (built / "preview.html").read_text()
    assert not re.search(r"""(src|href)=["'](?!data:)""", page), "the page is self-contained"
    assert page.count('alt="thin sketch of') == 2
    assert run("stats", built) == 0
    assert "line_density" in capsys.readouterr().out
    assert run("verify", built) == 0, "the preview is no finding"


def test_dry_run_writes_nothing_and_its_counts_are_right(
    faces: Path, tiny_hed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "built"
    words = ("build", faces, out, "--size", 64, "--edges", tiny_hed, "--workers", 1, "--masks", "center,full")
    assert run(*words, "--dry-run") == 0
    said = capsys.readouterr().out
    assert not out.exists()
    found = re.search(r"would make ([\d,]+) files for (\d+) samples, ([\d.,]+) MB", said)
    assert found
    assert run(*words) == 0
    files = list(out.rglob("*/*.png"))
    assert (int(found[1]), int(found[2])) == (len(files), 6)
    assert float(found[3]) * 1e6 == pytest.approx(sum(path.stat().st_size for path in files), rel=0.1, abs=5e4)


def test_findings_exit_3(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (built / "edges" / "astronaut.png").unlink()
    assert run("verify", built) == ExitCode.FINDINGS
    said = capsys.readouterr()
    assert "missing: edges/astronaut.png" in said.out
    assert said.err.startswith("error: ")
    assert "Traceback" not in said.err


def test_broken_photo_exits_3_with_its_reason(
    faces: Path, tiny_hed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "faces"
    source.mkdir()
    (source / "good.png").write_bytes((faces / "astronaut.png").read_bytes())
    (source / "empty.jpg").write_bytes(b"")
    code = run("build", source, tmp_path / "out", "--size", 64, "--edges", tiny_hed, "--workers", 1)
    assert code == ExitCode.FINDINGS
    assert "empty.jpg" in capsys.readouterr().err
    assert "empty.jpg" in (tmp_path / "out" / "errors.csv").read_text()


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("build", "nowhere", "out"), ExitCode.MISSING, "nowhere"),
        (("verify", "nowhere"), ExitCode.MISSING, "dpsdata build"),
        (("preview", "nowhere"), ExitCode.MISSING, "dpsdata build"),
        (("build", ".", "out", "--levels", "a,b"), ExitCode.USAGE, "--levels"),
        (("build", ".", "out", "--size", "7"), ExitCode.USAGE, "64 to 1024"),
        (("build", "."), ExitCode.USAGE, "Missing argument"),
        (("bild",), ExitCode.USAGE, "bild"),
        (("build", ".", "out", "--sise", "7"), ExitCode.USAGE, "--sise"),
        (("masks", "stats", "moth"), ExitCode.USAGE, "moth"),
        (("train-hed", "huge", "--data", "x", "--out", "y"), ExitCode.USAGE, "huge"),
        (("train-hed", "smoke", "--data", "nowhere", "--out", "y"), ExitCode.MISSING, "nowhere"),
        (("eval-hed", "--data", "nowhere"), ExitCode.MISSING, "nowhere"),
        (("sample", "out", "--count", "0"), ExitCode.USAGE, "count"),
    ],
)
def test_wrong_use_is_one_sentence(
    words: tuple[str, ...],
    code: ExitCode,
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*words) == code
    said = capsys.readouterr().err
    assert sentence in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("x"), 2),
        (FindingsError("x"), 3),
        (ToleranceError("x"), 4),
        (MissingError("x"), 5),
        (KeyboardInterrupt(), 130),
        (OSError(28, "No space left on device"), 1),
        (MemoryError(), 1),
        (ZeroDivisionError("surprise"), 1),
    ],
)
def test_every_failure_has_its_code(error: BaseException, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    room = typer.Typer()

    @room.command()
    def fail() -> None:
        raise error

    assert command.run_app(room, []) == code
    assert "Traceback" not in capsys.readouterr().err


def test_debug_shows_the_traceback_and_keeps_the_code(capsys: pytest.CaptureFixture[str]) -> None:
    room = typer.Typer()

    @room.command()
    def fail() -> None:
        raise UsageError("x")

    assert command.run_app(room, ["--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_sample_is_the_same_every_time(tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert run("sample", tmp_path / name, "--count", 2, "--seed", 4) == 0
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == ["face_0001.jpg", "face_0002.jpg"]
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
        assert read_photo(tmp_path / "one" / name).shape == (512, 512, 3)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    from dpsdata import __version__

    assert run("--version") == 0
    assert capsys.readouterr().out.strip() == __version__


def test_masks_stats_and_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("masks", "stats", "center", "--count", 3) == 0
    assert "25.00" in capsys.readouterr().out
    assert run("masks", "list") == 0
    assert "lama-medium" in capsys.readouterr().out.split()


def test_several_mask_families_after_one_option() -> None:
    words = ["build", "faces", "out", "--masks", "dps", "center", "files:holes", "--size", "64"]
    mask_words = ["--masks", "dps", "--masks", "center", "--masks", "files:holes"]
    spread = cli.spread_masks(words)
    assert spread == ["build", "faces", "out", *mask_words, "--size", "64"]
    assert cli.spread_masks(["build", "--masks", "dps", "faces", "out"]) == ["build", "--masks", "dps", "faces", "out"]
    assert cli.spread_masks(["build", "a", "b"]) == ["build", "a", "b"]


def test_eval_hed_scores_a_small_set(tmp_path: Path, tiny_hed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import numpy as np

    from dpsdata.images.codec import write_edges, write_photo

    photo = np.full((256, 320, 3), 30, np.uint8)
    photo[80:200, 80:240] = 220
    marked = np.zeros((256, 320), np.uint16)
    marked[80:200, [80, 239]] = marked[[80, 199], 80:240] = 0b111
    (tmp_path / "test").mkdir()
    write_photo(tmp_path / "test" / "1.jpg", photo)
    write_edges(tmp_path / "test" / "1.png", marked)
    (tmp_path / "index.csv").write_text("split,id,height,width,annotators\ntest,1,256,320,3\n")
    out = tmp_path / "scores.json"
    assert run("eval-hed", "--data", tmp_path, "--weights", "hed-compact", "--thresholds", 9, "--out", out) == 0
    scores = json.loads(out.read_text())
    assert scores["hed-compact"]["ods"] > 0.9
    assert scores["canny"]["ods"] > 0.9
    assert "ODS" in capsys.readouterr().out
    assert cli.app is app
