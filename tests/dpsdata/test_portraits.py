from __future__ import annotations

import hashlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from skimage.data import astronaut
from skimage.transform import SimilarityTransform, warp

from dpsdata.contracts import EnvironmentFailure, UsageError
from dpsdata.images.codec import read_photo
from dpsdata.portraits import crop_astronaut, draw_portrait, write_sample_faces
from dpsdata.portraits.canvas import StrandNoise, ellipse, new_canvas, soft
from dpsdata.portraits.person import EYE_LEFT, EYE_RIGHT, draw_person

PORTRAIT_COUNT = 6


@pytest.fixture(scope="module")
def portraits() -> list[np.ndarray]:
    return [draw_portrait(0, index) for index in range(1, PORTRAIT_COUNT + 1)]


def _darkest(rgb: np.ndarray, centre: tuple[float, float], reach: int = 9) -> tuple[float, float]:
    """Centre of mass of the darkness around an eye: the pupil."""
    x, y = round(centre[0]), round(centre[1])
    patch = rgb[y - reach : y + reach + 1, x - reach : x + reach + 1].astype(float).mean(axis=2)
    weight = np.clip(patch.min() + 25 - patch, 0, None)
    rows, columns = np.mgrid[y - reach : y + reach + 1, x - reach : x + reach + 1]
    return float((columns * weight).sum() / weight.sum()), float((rows * weight).sum() / weight.sum())


def test_portraits_are_photos_that_differ(portraits: list[np.ndarray]) -> None:
    for photo in portraits:
        assert photo.shape == (256, 256, 3)
        assert photo.dtype == np.uint8
        assert photo.std() > 20
    for first, second in pairwise(portraits):
        assert np.abs(first.astype(int) - second).mean() > 10


def test_same_seed_and_index_give_the_same_bytes(portraits: list[np.ndarray]) -> None:
    assert np.array_equal(draw_portrait(0, 3), portraits[2])
    assert not np.array_equal(draw_portrait(1, 3), portraits[2])


def test_pupils_lie_at_the_eye_centres(portraits: list[np.ndarray]) -> None:
    for photo in portraits:
        for eye in (EYE_LEFT, EYE_RIGHT):
            x, y = _darkest(photo, eye)
            assert abs(x - eye[0]) < 5  # the gaze moves the pupil by up to 2.5 px
            assert abs(y - eye[1]) < 4


def test_astronaut_pupils_lie_at_the_eye_centres() -> None:
    photo = crop_astronaut()
    for eye in (EYE_LEFT, EYE_RIGHT):
        x, y = _darkest(photo, eye, reach=6)
        assert abs(x - eye[0]) < 2
        assert abs(y - eye[1]) < 4  # the dark upper lid pulls the measure up


def test_astronaut_crop_is_the_similarity_of_the_eyes() -> None:
    frame, pupils = np.array([EYE_LEFT, EYE_RIGHT]), np.array([(203.3, 101.2), (246.7, 103.7)])
    expected = warp(astronaut(), SimilarityTransform.from_estimate(frame, pupils), output_shape=(256, 256), order=3)
    difference = np.abs(crop_astronaut() - 255 * np.clip(expected, 0, 1))
    assert difference.mean() < 2  # two kinds of cubic interpolation
    assert np.percentile(difference, 99) < 12


def test_write_sample_faces(tmp_path: Path, portraits: list[np.ndarray]) -> None:
    files = write_sample_faces(tmp_path / "new" / "faces", 3, seed=0)
    assert [file.name for file in files] == ["astronaut.png", "portrait_0001.png", "portrait_0002.png"]
    assert np.array_equal(read_photo(files[0]), crop_astronaut())
    assert np.array_equal(read_photo(files[1]), portraits[0])
    digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files[:2]]
    again = write_sample_faces(tmp_path / "again", 2, seed=0)
    assert [hashlib.sha256(file.read_bytes()).hexdigest() for file in again] == digests


@pytest.mark.parametrize("count", [0, -1, 10_001])
def test_wrong_counts(tmp_path: Path, count: int) -> None:
    with pytest.raises(UsageError, match="1 to 10000"):
        write_sample_faces(tmp_path, count, seed=0)


def test_folder_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(EnvironmentFailure):
        write_sample_faces(tmp_path / "file", 1, seed=0)


def test_people_vary() -> None:
    people = [draw_person(np.random.default_rng(seed)) for seed in range(200)]
    assert {person.style for person in people} == {"bald", "buzz", "short", "swept", "fringe", "bob", "long", "curly"}
    assert {person.glasses for person in people} == {"none", "round", "square"}
    assert {person.beard for person in people} == {"none", "stubble", "moustache", "full"}
    for person in people:
        assert np.linalg.norm(person.light) == pytest.approx(1)
        assert all(0 <= part <= 1 for colour in (person.skin, person.hair, person.lips) for part in colour)


def test_soft_edge_is_half_on_the_border() -> None:
    assert soft(np.array([-1.0, -0.5, 0.0, 0.5, 1.0])) == pytest.approx([1, 1, 0.5, 0, 0])


def test_painted_disc_has_its_area() -> None:
    canvas = new_canvas()
    cover = soft(ellipse(canvas, 100, 80, 20, 20), 1.0)
    assert cover.sum() / 4 == pytest.approx(np.pi * 20**2, rel=0.01)  # four canvas pixels a final one
    canvas.paint(cover, (1.0, 0.5, 0.0))
    assert canvas.rgb[160, 200] == pytest.approx([1.0, 0.5, 0.0])


def test_strand_noise_is_smooth_and_periodic() -> None:
    noise = StrandNoise.draw(np.random.default_rng(0), knots=16)
    assert noise.at(3.0) == pytest.approx(noise.table[3])
    assert noise.at(2.5) == pytest.approx((noise.table[2] + noise.table[3]) / 2)
    assert noise.at(-1.0) == pytest.approx(noise.at(15.0))
