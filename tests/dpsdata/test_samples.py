from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dpsdata.contracts import EnvironmentFailure, UsageError
from dpsdata.images.codec import read_photo
from dpsdata.samples import FACE_COUNT, crop_astronaut, read_sample_face, sample_face_file, write_sample_faces


def test_24_jpegs_of_512_px_under_2_mb() -> None:
    files = [sample_face_file(number) for number in range(1, FACE_COUNT + 1)]
    assert sorted(sample_face_file(1).parent.glob("*.jpg")) == files
    assert len(files) == 24
    assert sum(file.stat().st_size for file in files) < 2_000_000
    for file in files:
        with Image.open(file) as photo:
            assert (photo.format, photo.mode, photo.size) == ("JPEG", "RGB", (512, 512))
            assert not photo.getexif()
    assert "Apache" in (files[0].parent / "README.md").read_text()


def test_sample_faces_are_photos_that_differ() -> None:
    faces = [read_sample_face(number) for number in range(1, FACE_COUNT + 1)]
    for face in faces:
        assert face.std() > 25
    for first, second in pairwise(faces):
        assert np.abs(first.astype(int) - second).mean() > 10
    for number in (0, FACE_COUNT + 1):
        with pytest.raises(UsageError, match="1 to 24"):
            read_sample_face(number)


def test_the_first_24_are_the_packages_own_bytes(tmp_path: Path) -> None:
    files = write_sample_faces(tmp_path / "new" / "faces", 24, seed=0)
    assert [file.name for file in files] == [f"face_{index:04d}.jpg" for index in range(1, 25)]
    for number, file in enumerate(files, 1):
        assert file.read_bytes() == sample_face_file(number).read_bytes()
    other = write_sample_faces(tmp_path / "other", 24, seed=1)
    own = [file.read_bytes() for file in files]
    assert sorted(file.read_bytes() for file in other) == sorted(own)
    assert [file.read_bytes() for file in other] != own


@pytest.mark.parametrize("seed", [0, 5])
def test_more_are_other_views_and_the_same_for_any_count(tmp_path: Path, seed: int) -> None:
    many = [file.read_bytes() for file in write_sample_faces(tmp_path / "many", 50, seed)]
    again = [file.read_bytes() for file in write_sample_faces(tmp_path / "again", 27, seed)]
    assert many[:27] == again
    assert len(set(many)) == 50
    face, view, next_view = (read_photo(many[index]).astype(float) for index in (0, 24, 48))
    assert view.shape == (512, 512, 3)
    for other in (face, next_view):
        assert np.abs(view - other).mean() > 3
        # The same person: nearer to the face, or to its mirror image, than half of the contrast.
        assert min(np.abs(view - other).mean(), np.abs(view[:, ::-1] - other).mean()) < 40
    assert (
        read_photo(many[24]).tobytes() != read_photo(write_sample_faces(tmp_path / "third", 25, seed + 1)[24]).tobytes()
    )


@pytest.mark.parametrize("index", [2, 26])
def test_photos_of_other_people_are_not_replaced(tmp_path: Path, index: int) -> None:
    own = tmp_path / f"face_{index:04d}.jpg"
    own.write_bytes(b"mine")
    with pytest.raises(UsageError, match=f"1 other files of these names, such as {own.name}"):
        write_sample_faces(tmp_path, 26, seed=0)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"mine"]
    own.unlink()
    write_sample_faces(tmp_path, 3, seed=0)  # an interrupted run is finished
    assert len(write_sample_faces(tmp_path, 26, seed=0)) == len(list(tmp_path.iterdir())) == 26


@pytest.mark.parametrize("count", [0, -1, 10_001])
def test_counts_out_of_range(tmp_path: Path, count: int) -> None:
    with pytest.raises(UsageError, match="1 to 10000"):
        write_sample_faces(tmp_path, count, seed=0)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(EnvironmentFailure):
        write_sample_faces(tmp_path / "file", 1, seed=0)


def test_astronaut() -> None:
    photo = crop_astronaut()
    assert photo.shape == (256, 256, 3)
    assert photo.dtype == np.uint8
