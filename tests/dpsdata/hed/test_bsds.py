from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from dpsdata.contracts import MissingError, UsageError
from dpsdata.hed.bsds.data import read_bsds

SHARED = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "bsds500"
HEADER = "split,id,height,width,annotators\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    codes = np.zeros((20, 30), np.uint16)
    codes[3, 4] = 0b101
    codes[19, 29] = 0b010
    for split, name in (("train", "22"), ("train", "7"), ("test", "b-1")):
        (tmp_path / split).mkdir(exist_ok=True)
        photo = np.zeros((20, 30, 3), np.uint8)
        photo[..., 2] = 200  # OpenCV writes BGR: a red photo
        cv2.imwrite(str(tmp_path / split / f"{name}.jpg"), photo)
        cv2.imwrite(str(tmp_path / split / f"{name}.png"), codes)
    (tmp_path / "index.csv").write_text(HEADER + "train,22,20,30,3\ntrain,7,20,30,4\ntest,b-1,20,30,3\n")
    return tmp_path


def test_samples_are_read_in_the_order_of_the_index(folder: Path) -> None:
    assert [sample.id for sample in read_bsds(folder, "train")] == ["22", "7"]
    assert [sample.path for sample in read_bsds(str(folder), "test")] == [folder / "test" / "b-1.jpg"]


def test_photo_is_rgb_and_bits_become_planes(folder: Path) -> None:
    three, four = read_bsds(folder, "train")
    photo = three.photo()
    assert (photo.shape, photo.dtype) == ((20, 30, 3), np.uint8)
    assert photo[10, 10].tolist() == pytest.approx([200, 0, 0], abs=3)
    boundaries = three.boundaries()
    assert (boundaries.shape, boundaries.dtype) == ((3, 20, 30), np.bool_)
    assert np.argwhere(boundaries).tolist() == [[0, 3, 4], [1, 19, 29], [2, 3, 4]]
    assert four.boundaries().shape == (4, 20, 30)  # an annotator without any boundary counts too
    assert not four.boundaries()[3].any()


def test_sixteen_annotators_fit(folder: Path) -> None:
    (folder / "index.csv").write_text(HEADER + "train,22,20,30,16\n")
    cv2.imwrite(str(folder / "train" / "22.png"), np.full((20, 30), 0x8000, np.uint16))
    boundaries = read_bsds(folder, "train")[0].boundaries()
    assert boundaries[15].all()
    assert not boundaries[:15].any()


def test_missing_folder_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"index\.csv is missing: expected the BSDS500 folder .*ID\.png"):
        read_bsds(tmp_path / "nowhere", "train")


def test_unknown_and_empty_split(folder: Path) -> None:
    with pytest.raises(UsageError, match="expected train, val or test"):
        read_bsds(folder, "validation")
    with pytest.raises(MissingError, match="no sample of the split val"):
        read_bsds(folder, "val")


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_missing_file_is_named(folder: Path, suffix: str) -> None:
    (folder / "train" / f"7{suffix}").unlink()
    with pytest.raises(MissingError, match=rf"7\{suffix} is missing"):
        read_bsds(folder, "train")


@pytest.mark.parametrize(
    "text",
    [
        "id,height\n7,20\n",
        HEADER + "train,7,twenty,30,3\n",
        HEADER + "train,7,20\n",
        HEADER + "train,../../secret,20,30,3\n",
        HEADER + "train,7,20,30,17\n",
        HEADER + "train,7,0,30,3\n",
        HEADER + "everything,7,20,30,3\n",
        "\x00" * 2_000_000,
    ],
)
def test_damaged_index_is_refused(folder: Path, text: str) -> None:
    (folder / "index.csv").write_text(text)
    with pytest.raises(MissingError, match=r"index\.csv"):
        read_bsds(folder, "train")


def test_files_that_disagree_with_the_index_are_refused(folder: Path) -> None:
    (folder / "index.csv").write_text(HEADER + "train,22,20,31,3\ntrain,7,20,30,2\n")
    size, bits = read_bsds(folder, "train")
    with pytest.raises(MissingError, match=r"22\.jpg: expected 20 x 31"):
        size.photo()
    with pytest.raises(MissingError, match=r"22\.png: expected 20 x 31"):
        size.boundaries()
    with pytest.raises(MissingError, match="bits of 2 annotators, got the value 5"):
        bits.boundaries()


def test_cut_files_are_refused(folder: Path) -> None:
    sample = read_bsds(folder, "test")[0]
    sample.path.write_bytes(sample.path.read_bytes()[:200])
    sample.path.with_suffix(".png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(MissingError, match="photo cannot be read"):
        sample.photo()
    with pytest.raises(MissingError, match="boundaries cannot be read"):
        sample.boundaries()


@pytest.mark.skipif(not SHARED.is_dir(), reason="BSDS500 is not on this machine")
def test_real_folder() -> None:
    assert [len(read_bsds(SHARED, split)) for split in ("train", "val", "test")] == [200, 100, 200]
    sample = read_bsds(SHARED, "val")[0]
    boundaries = sample.boundaries()
    assert boundaries.shape == (sample.annotator_count, *sample.photo().shape[:2])
    assert boundaries.any(axis=(1, 2)).all()
