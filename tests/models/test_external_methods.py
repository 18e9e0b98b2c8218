"""Methods of other people: commands and entry points, among them those that misbehave."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest

from dpsdata.contracts import UsageError
from dpsdata.images.codec import read_mask, read_photo, read_sketch
from dpsdata.runtime.command_line import run_app
from dpsdata.samples.sample_faces import read_sample_face
from models.cli import app
from models.methods.registry import find_method

samples = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("method_samples.py"))))
PAGE = Path(__file__).parents[2] / "docs" / "any_method.md"
SIZE = 64
HEAD = "import os, sys, time, shutil\nimport cv2, numpy as np\nphoto, mask, out = sys.argv[1:4]\n"
GOOD = "pixels = cv2.imread(photo); pixels[:] = (30, 20, 10); cv2.imwrite(out, pixels)\n"
# The lines of a drawing on grey, three px thick.
DRAWN = (
    "import sys, cv2; photo, sketch, out = sys.argv[1:]; pixels = cv2.imread(photo); "
    "pixels[cv2.erode(cv2.imread(sketch, 0), None) < 128] = 0; cv2.imwrite(out, pixels)"
)
# By its own counter, the second photo goes wrong.
SECOND = (
    "n = len(os.listdir(HERE)); open(os.path.join(HERE, str(n)), 'w').close()\nif n == 1:\n    {bad}\nelse:\n    {good}"
)


@pytest.fixture
def built(tmp_path: Path) -> Path:
    samples.make_built(tmp_path / "built", SIZE)
    return tmp_path / "built"


def write_baseline(folder: Path, bad: str) -> Path:
    counter = folder / "counter"
    counter.mkdir()
    good = GOOD.strip().replace("\n", "; ")
    path = folder / "baseline.py"
    path.write_text(HEAD + f"HERE = {str(counter)!r}\n" + SECOND.format(bad=bad, good=good))
    return path


def predict(built: Path, out: Path, *methods: str, more: tuple[str, ...] = ()) -> int:
    words = [word for method in methods for word in ("--method", method)]
    return run_app(app, ["predict", str(built), str(out), "--masks", "dps", "--levels", "0,0.5", *words, *more])


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("print('no CUDA'); sys.exit(7)", "exit code 7: no CUDA"),
        ("time.sleep(60)", "took more than 3 s"),
        ("cv2.imwrite(out, np.zeros((20, 10, 3), np.uint8))", "10 x 20 px, expected 64 x 64"),
        ("pass", "wrote no output"),
        ("os.symlink(photo, out)", "is a link"),
        ("os.link(photo, out)", "is a link"),
        ("os.mkdir(out)", "not a regular file"),
        ("os.mkfifo(out)", "not a regular file"),
        ("open(out, 'w').write('hello')", "no picture"),
        (
            "os.rename(os.path.dirname(out), photo + '.d'); os.symlink(photo + '.d', os.path.dirname(out))",
            "the folder of outputs was moved away",
        ),
    ],
)
def test_one_bad_photo_is_named_and_the_others_go_on(
    built: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], bad: str, reason: str
) -> None:
    baseline = write_baseline(tmp_path, bad)
    command = f"bad=exec:{shlex.join([sys.executable, str(baseline)])} {{photo}} {{mask}} {{out}}"
    assert predict(built, tmp_path / "out", command, more=("--time-limit", "3" if "more than" in reason else "60")) == 3
    said = capfd.readouterr()
    assert f"failed: {samples.IDS[1]}: " in said.err
    assert reason in said.err
    there = {path.stem for path in (tmp_path / "out/bad/none").iterdir()}
    assert there == set(samples.IDS) - {samples.IDS[1]}
    for name in there:
        hole = read_mask(built / f"masks/dps/{name}.png") == 1
        found = read_photo(tmp_path / f"out/bad/none/{name}.png")
        assert (found[hole] == (10, 20, 30)).all()
        assert np.array_equal(found[~hole], read_photo(built / f"images/{name}.png")[~hole])
    assert predict(built, tmp_path / "out", command, more=("--time-limit", "30")) == 0  # the missing one alone
    assert {path.stem for path in (tmp_path / "out/bad/none").iterdir()} == set(samples.IDS)


def test_arguments_arrive_whole_and_no_shell_is_used(built: Path, tmp_path: Path) -> None:
    script = tmp_path / "a name with spaces.py"
    script.write_text(
        "import sys, json, os, cv2\nphoto, mask, sketch, level, out, *rest = sys.argv[1:]\n"
        "names = {os.path.basename(path) for path in (photo, mask, sketch, out)}\n"
        f"json.dump([*names, level, *rest], open({str(tmp_path / 'seen.json')!r}, 'w'))\n"
        "cv2.imwrite(out, cv2.imread(photo))\n"
    )
    tail = """'two words' "it's" \\$HOME ';' '>' /dev/null '*' '|' 'x={level}'"""
    command = f"echo=exec:{sys.executable} '{script}' {{photo}} {{mask}} {{sketch}} {{level}} {{out}} {tail}"
    assert predict(built, tmp_path / "out", command, more=("--limit", "1")) == 0
    expected = [f"{samples.IDS[0]}.png", "0.5", "two words", "it's", "$HOME", ";", ">", "/dev/null", "*", "|", "x=0.5"]
    assert json.loads((tmp_path / "seen.json").read_text()) == expected
    assert {path.name for path in (tmp_path / "out/echo").iterdir()} == {"l0", "l0.5"}


def test_the_files_are_those_of_the_contract_and_the_hole_is_hidden(built: Path, tmp_path: Path) -> None:
    script = tmp_path / "keep.py"
    script.write_text(
        "import sys, shutil\nphoto, mask, sketch, out = sys.argv[1:]\n"
        "for path, name in ((photo, 'p'), (mask, 'm'), (sketch, 's')):\n"
        f"    shutil.copy(path, {str(tmp_path)!r} + '/' + name)\n"
        "shutil.copy(photo, out)\n"
    )
    command = f"keep=exec:{sys.executable} {script} {{photo}} {{mask}} {{sketch}} {{out}}"
    assert predict(built, tmp_path / "out", command, more=("--limit", "1")) == 0
    name = samples.IDS[0]
    hole = read_mask(built / f"masks/dps/{name}.png") == 1
    truth, seen = read_photo(built / f"images/{name}.png"), read_photo(tmp_path / "p")
    assert (seen[hole] == 128).all()
    assert np.array_equal(seen[~hole], truth[~hole])
    assert np.array_equal(read_mask(tmp_path / "m") == 1, hole)
    assert read_sketch(tmp_path / "s").any()


def test_a_folder_is_filled_by_one_call(built: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "all.py"
    script.write_text(
        "import sys, os, shutil\nphotos, masks, sketches, outs = sys.argv[1:]\n"
        f"open({str(tmp_path / 'calls')!r}, 'a').write('x')\n"
        "for name in sorted(os.listdir(photos)):\n"
        "    assert os.path.exists(os.path.join(masks, name)) and os.path.exists(os.path.join(sketches, name))\n"
        f"    if not (name.startswith({samples.IDS[1]!r}) and os.path.exists({str(tmp_path / 'bad')!r})):\n"
        "        shutil.copy(os.path.join(photos, name), outs)\n"
    )
    command = f"all=exec:{sys.executable} {script} {{photos}} {{masks}} {{sketches}} {{outs}}"
    (tmp_path / "bad").touch()
    assert predict(built, tmp_path / "out", command, more=("--batch", "1")) == 3
    assert f"failed: {samples.IDS[1]}: it wrote no output" in capfd.readouterr().err
    assert (tmp_path / "calls").read_text() == "x"
    (tmp_path / "bad").unlink()
    assert predict(built, tmp_path / "out", command) == 0
    assert len(list((tmp_path / "out/all/none").iterdir())) == len(samples.IDS)


@pytest.mark.parametrize(
    "method",
    [
        "x=exec:", "x=exec:cp {photo}", "x=exec:cp {photo} {outs}", "x=exec:cp {photo} {out} {what}",
        "x=exec:cp '{photo}",
        "../x=exec:cp {photo} {out}", "dps=exec:cp {photo} {out}", "=exec:cp {photo} {out}", "nobody",
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_refused_before_anything_is_written(method: str) -> None:
    with pytest.raises(UsageError):
        find_method(method)


def test_a_program_that_is_not_there_is_named(built: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert predict(built, tmp_path / "out", "x=exec:no-such-program {photo} {out}") == 2
    assert "no-such-program" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def add_package(folder: Path, code: str, name: str = "grey") -> None:
    (folder / "my_package.py").write_text(code)
    info = folder / "my_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[dps.methods]\n{name} = my_package:Grey\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "my_package", raising=False)
    return folder


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_the_page_works_as_it_stands(built: Path, tmp_path: Path, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script, code = blocks("python")
    (tmp_path / "fill.py").write_text(script)
    add_package(site, code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
    commands = [shlex.split(line) for line in blocks("bash")[0].splitlines()]
    assert [command[:2] for command in commands] == [["dps", "predict"], ["dpseval", "run"]]
    assert run_app(app, commands[0][1:]) == 0
    assert run_app(app, ["predict", "built", "outputs", "--masks", "dps", "--split", "all", "--method", "grey"]) == 0
    for name in ("blur", "grey"):
        assert len(list((tmp_path / "outputs" / name / "none").iterdir())) == len(samples.IDS)
    from dpseval.cli import app as score_app

    assert run_app(score_app, [*commands[1][1:], "--device", "cpu", "--workers", "1", "--no-cache"]) == 0
    assert set(json.loads((tmp_path / "report/scores.json").read_text())["methods"]) >= {"blur", "telea"}


def test_drawings_by_hand_are_painted_and_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dpsdata.cli import app as data_app
    from dpseval.cli import app as score_app

    for name in ("images", "masks", "sketches"):
        (tmp_path / name).mkdir()
    for index in (1, 2):
        face = cv2.resize(read_sample_face(index), (128, 128), interpolation=cv2.INTER_AREA)
        hole, paper = np.zeros((128, 128), np.uint8), np.full((128, 128, 3), 250, np.uint8)
        cv2.ellipse(hole, (64, 85), (24, 16), 0, 0, 360, 255, -1)
        cv2.ellipse(paper, (64, 84), (13, 6), 0, 0, 360, (40, 20, 20), 3)
        for name, pixels in (("images", face[..., ::-1]), ("masks", hole), ("sketches", paper)):
            cv2.imwrite(str(tmp_path / name / f"{index}.png"), pixels)
    monkeypatch.chdir(tmp_path)
    build, paint, judge = (shlex.split(line)[1:] for line in blocks("bash")[1].splitlines())
    assert run_app(data_app, [*build, "--size", "128", "--workers", "1"]) == 0
    command = f"exec:{shlex.join([sys.executable, '-c', DRAWN])} {{photo}} {{sketch}} {{out}}"
    assert run_app(app, [*paint, "--method", f"drawn={command}", "--method", "mean-color"]) == 0
    assert run_app(score_app, [*judge, "--device", "cpu", "--workers", "1", "--no-cache"]) == 0
    scores = pd.read_csv(tmp_path / "report/per_image.csv")
    followed = scores[scores["region"] == "hole"].groupby("method")["edge_f_drawn"].mean()
    assert followed["drawn"] > 0.2 > followed["mean-color"]


def test_a_package_that_fails_on_a_photo_or_says_nonsense(
    built: Path, tmp_path: Path, site: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from models import list_methods

    add_package(
        site,
        "class Grey:\n    name, takes_level, count = 'grey', True, 0\n"
        "    def predict(self, photo, mask, sketch, level):\n        Grey.count += 1\n"
        "        if Grey.count == 2: raise ValueError('bad luck')\n        return [] if Grey.count == 3 else photo\n",
    )
    assert "grey" in list_methods()
    assert predict(built, tmp_path / "out", "grey") == 3
    said = capfd.readouterr().err
    assert f"failed: {samples.IDS[1]}: ValueError: bad luck" in said
    assert f"failed: {samples.IDS[2]}: it returned list" in said
    assert predict(built, tmp_path / "out", "grey") == 0


def test_an_entry_point_of_another_name_is_refused(site: Path) -> None:
    add_package(site, "class Grey:\n    name, takes_level = 'gray', False\n")
    with pytest.raises(UsageError, match="calls itself 'gray'"):
        find_method("grey")


def test_a_sweep_leaves_a_failed_photo_out_for_all_and_ends_with_3(
    built: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from dpseval.cli import app as score_app

    baseline = write_baseline(tmp_path, "sys.exit(1)")
    command = f"bad=exec:{sys.executable} {baseline} {{photo}} {{mask}} {{out}}"
    words = ["run", str(built), "-o", str(tmp_path / "report"), "--masks", "dps", "--methods", "telea", "--no-cache"]
    words += ["--method", command, "--method", "none=exec:false {photo} {out}", "--device", "cpu", "--workers", "1"]
    assert run_app(score_app, words) == 3
    assert samples.IDS[1] in capfd.readouterr().err
    rows = (tmp_path / "report/per_image.csv").read_text().splitlines()[1:]
    assert {row.split(",")[0] for row in rows} == set(samples.IDS) - {samples.IDS[1]}
    assert "none: no photo was filled" in (tmp_path / "report/scores.csv").read_text()
