"""The scripts beside this file that make source folders, split lists, photos with metadata and a group photo."""

from __future__ import annotations

import runpy
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image

from dpsdata.cli import app as dpsdata_app
from dpsdata.contracts import DpsError, UsageError
from dpsdata.dataset.manifest import read_dataset, read_manifest
from dpsdata.runtime.command_line import run_app
from dpsdata.sources.layouts import find_samples
from dpsdata.sources.splits import make_splits
from models.cli import app as models_app

HERE = Path(__file__).parent
shared = SimpleNamespace(**runpy.run_path(str(HERE.parent / "models" / "tiny_weights.py")))


@pytest.fixture(scope="module")
def case(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in made:
            out = tmp_path_factory.mktemp(name)
            source = faces / "face_0001.png" if name == "photo_metadata" else faces
            before, sys.argv = sys.argv, [name, str(out), str(source)]
            try:
                runpy.run_path(str(HERE / f"{name}.py"), run_name="__main__")
            finally:
                sys.argv = before
            made[name] = out
        return made[name]

    return make


SPLITS = {
    "stargan": {"train": 8, "val": 4}, "stargan_stray": {"train": 8, "val": 4},
    "splits": {"train": 6, "val": 2, "test": 2}, "splits_stray": {"train": 6, "val": 2, "test": 2},
}  # fmt: skip


def split(source: Path, rule: str) -> dict[str, tuple[str, ...]]:
    listing = find_samples(source)
    return dict(make_splits(listing.samples, rule, 0, listing.root).items())


@pytest.mark.parametrize("name", SPLITS)
def test_splits_that_folders_name(case: Callable[[str], Path], name: str) -> None:
    source = case("source_folders") / name
    stray = {"unlisted": 1} if name.endswith("stray") else {}
    assert {part: len(ids) for part, ids in split(source, "auto").items() if ids} == {**SPLITS[name], **stray}
    assert [notice.kind for notice in find_samples(source).notices] == ["outside-of-splits"] * len(stray)


def test_suffixes(case: Callable[[str], Path]) -> None:
    listing = find_samples(case("source_folders") / "suffixes")
    taken = {Path(sample.relative_path).suffix for sample in listing.samples}
    assert taken == {
        ".jpg", ".jpeg", ".JPG", ".png", ".jfif", ".jpe", ".JFIF", ".pjpeg", ".avif", ".pgm", ".pbm", ".ppm", "",
        ".heic",
    }  # fmt: skip
    assert Counter(Path(path).suffix for path, _ in listing.skipped) == {
        ".jp2": 1, ".tga": 1, ".1": 1, ".jpg~": 1, ".jpg_large": 1,
    }  # fmt: skip


WARNED = {
    "sidecars": {"names", "not-photos"}, "three": {"names", "not-photos"}, "ab": {"pairs"}, "tiny": {"tiny"},
}  # fmt: skip


@pytest.mark.parametrize("name", WARNED)
def test_what_is_no_photo_is_warned_of_and_strict_refuses_it(
    case: Callable[[str], Path], tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source = case("source_folders") / name
    words = ["build", str(source), str(tmp_path / "out"), "--size", "64", "--masks", "center", "--workers", "1"]
    assert run_app(dpsdata_app, words) in (0, 3)  # 3 where one is too small to be read
    said = capsys.readouterr().err
    kinds = {item["kind"] for item in read_dataset(tmp_path / "out")["warnings"]}
    assert kinds >= WARNED[name], (kinds, said)
    assert "warning: " in said
    assert run_app(dpsdata_app, [*words, "--strict"]) == 3
    said = capsys.readouterr().err
    assert f"{tmp_path / 'out'}: " in said.splitlines()[-1] or "files of the source are not in the dataset" in said


def test_label_maps_beside_the_photos_are_no_photos(case: Callable[[str], Path]) -> None:
    listing = find_samples(case("source_folders") / "celebamask")
    assert [sample.id for sample in listing.samples] == [f"CelebA-HQ-img__{number}" for number in range(4)]
    assert all(sample.relative_path.startswith("CelebA-HQ-img/") for sample in listing.samples)


def test_one_image_beside_zips_and_zips_in_a_zip(case: Callable[[str], Path]) -> None:
    folder = case("source_folders")
    with pytest.raises(UsageError, match="1 loose images and 2 zips with 6 others"):
        find_samples(folder / "zips_and_one_image")
    with pytest.raises(DpsError, match="zip"):
        find_samples(folder / "zip_in_zip.zip")


RIGHT = {
    **dict.fromkeys(
        ("lf.txt", "crlf.txt", "cr_only.txt", "bom.csv", "utf16.txt", "latin1.txt", "quoted.csv", "semicolon.csv",
         "three_columns.csv", "index_column.csv", "reversed.csv", "codes.txt", "upper.txt", "windows_paths.txt",
         "trailing_comma.csv"), (4, 2),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_lists_that_are_read(case: Callable[[str], Path], name: str) -> None:
    folder = case("split_lists")
    found = split(folder / "src", f"file:{folder / name}")
    assert found["train"] == tuple(f"{number:06d}" for number in range(4))
    assert found["test"] == ("000004", "000005")


@pytest.mark.parametrize("name", ["codes_1_based.txt", "excel_zeros_lost.csv", "identities.txt", "identities2.txt"])
def test_lists_that_are_refused(case: Callable[[str], Path], name: str) -> None:
    folder = case("split_lists")
    with pytest.raises(DpsError):
        split(folder / "src", f"file:{folder / name}")


def test_a_list_of_another_folder_is_refused(case: Callable[[str], Path]) -> None:
    folder = case("split_lists")
    with pytest.raises(DpsError):
        split(folder / "two", f"file:{folder / 'other_folder.txt'}")


@pytest.mark.parametrize("name", ["p3.png", "p3.jpg", "alpha.png", "deep.png"])
def test_edits_keep_what_a_photo_carries(case: Callable[[str], Path], name: str, tmp_path: Path) -> None:
    folder = case("photo_metadata")
    shared.write_tiny_weights(tmp_path / "weights")
    hole = np.zeros((256, 256), np.uint8)
    hole[150:200, 100:160] = 255
    sketch = np.full((256, 256), 255, np.uint8)
    sketch[170:172, 100:160] = 0
    Image.fromarray(hole).save(tmp_path / "mask.png")
    Image.fromarray(sketch).save(tmp_path / "sketch.png")
    words = ["edit", str(folder / name), "--mask", str(tmp_path / "mask.png"), "--sketch", str(tmp_path / "sketch.png")]
    words += ["--levels", "0.5", "--align", "none", "--weights", str(tmp_path / "weights"), "-o", str(tmp_path / "out")]
    assert run_app(models_app, words) == 0
    before, after = Image.open(folder / name), Image.open(tmp_path / "out" / "l0.5.png")
    if name.startswith("p3"):
        assert after.info["icc_profile"] == (folder / "p3.icc").read_bytes()
    if name == "p3.jpg":
        assert after.getexif()[271] == "Camera"
    known = hole == 0
    if name == "deep.png":
        was, now = (cv2.imread(str(path), -1) for path in (folder / name, tmp_path / "out" / "l0.5.png"))
        assert was is not None
        assert now is not None
        assert now.dtype == np.uint16
        assert np.array_equal(was[known], now[known])
    else:
        assert np.array_equal(np.asarray(before)[known], np.asarray(after)[known])
        assert not np.array_equal(np.asarray(before)[~known], np.asarray(after)[~known])
    if name == "alpha.png":
        assert np.array_equal(np.asarray(after)[..., 3], np.asarray(before)[..., 3])


@pytest.mark.parametrize(("mask", "left"), [("mask_small.png", 450), ("mask_big.png", 0)])
def test_the_face_of_the_hole_is_edited(case: Callable[[str], Path], mask: str, left: int, tmp_path: Path) -> None:
    folder = case("group_photo")
    shared.write_tiny_weights(tmp_path / "weights")
    words = ["edit", str(folder / "group.png"), "--mask", str(folder / mask), "--weights", str(tmp_path / "weights")]
    words += ["--sketch", str(folder / "sketch_small.png"), "--levels", "0.5", "-o", str(tmp_path / "out")]
    code = run_app(models_app, words)
    if mask == "mask_big.png" and code != 0:
        pytest.skip("the lines of the small face do not reach the hole of the big one")
    assert code == 0
    before, after = (
        np.asarray(Image.open(path)).astype(int) for path in (folder / "group.png", tmp_path / "out/l0.5.png")
    )
    hole = np.asarray(Image.open(folder / mask)) > 127
    changed = np.abs(before - after).sum(2) > 0
    assert not changed[~hole].any()
    assert changed[hole].mean() > 0.9
    assert changed[:, left : left + 450].any()


@pytest.fixture
def built(faces: Path, tiny_hed: Path, tmp_path: Path) -> Path:
    assert run_app(dpsdata_app, build_words(faces, tiny_hed, tmp_path / "built", "64")) == 0
    return tmp_path / "built"


def build_words(faces: Path, tiny_hed: Path, out: Path, size: str, *more: str) -> list[str]:
    words = ["build", str(faces), str(out), "--size", size, "--masks", "center", "--workers", "1", "--edges"]
    return [*words, str(tiny_hed), *more]


@pytest.mark.parametrize(
    "options", [("--seed", "7"), ("--split", "ratio:1,0,0"), ("--resampler", "lanczos"), ("--size", "96")]
)
def test_a_finished_dataset_is_replaced_only_when_told(
    built: Path, faces: Path, tiny_hed: Path, options: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = (built / "manifest.csv").read_bytes(), (built / "images" / "astronaut.png").read_bytes()
    words = build_words(faces, tiny_hed, built, "64", *options)
    assert run_app(dpsdata_app, words) == 2
    assert "another OUT, or pass --overwrite" in capsys.readouterr().err
    assert ((built / "manifest.csv").read_bytes(), (built / "images" / "astronaut.png").read_bytes()) == before
    assert run_app(dpsdata_app, build_words(faces, tiny_hed, built, "64", "--masks", "full")) == 0, (
        "more masks may come"
    )
    assert run_app(dpsdata_app, build_words(faces, tiny_hed, built, "64")) == 0
    assert "warning: masks full will no longer be part of the dataset" in capsys.readouterr().err
    assert run_app(dpsdata_app, [*words, "--overwrite"]) == 0
    assert run_app(dpsdata_app, ["verify", str(built)]) == 0
    assert read_dataset(built)["config"][options[0].removeprefix("--")] == (
        int(options[1]) if options[1].isdigit() else options[1]
    )
    assert all(row.status == "ok" for row in read_manifest(built))


def test_what_file_managers_leave_is_no_finding(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("images/Thumbs.db", "masks/center/desktop.ini", ".DS_Store", "sketches/._astronaut.png"):
        (built / name).write_bytes(b"litter")
    assert run_app(dpsdata_app, ["verify", str(built)]) == 0
    (built / "images" / "mine.png").write_bytes(b"a stranger")
    assert run_app(dpsdata_app, ["verify", str(built)]) == 3
    assert "images/mine.png" in capsys.readouterr().out + capsys.readouterr().err
