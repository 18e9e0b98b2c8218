from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage import data

from dpsdata.contracts import UsageError
from dpsdata.sketch.simplify import thin_lines
from models.editing.photo_frame import NoFaceError, PhotoFrame, box_frame, eyes_frame, find_frame, whole_frame


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)


def to_model(frame: PhotoFrame, x: float, y: float) -> tuple[float, float]:
    moved = np.array(frame.matrix) @ (x, y, 1)
    return float(moved[0]), float(moved[1])


def test_a_frame_far_larger_than_its_photo_is_refused() -> None:
    for side in (3e9, 65 * 64.0):
        with pytest.raises(UsageError, match="far more than the photo"):
            box_frame(64, 48, 256, (-10.0, -10.0, side, side))
    box_frame(64, 48, 256, (-100.0, -100.0, 300.0, 300.0))


def test_a_photo_of_the_model_size_is_untouched() -> None:
    photo = noise(64, 64)
    frame = whole_frame(64, 64, 64)
    assert np.array_equal(frame.take_photo(photo), photo)
    painted = photo.astype(np.float32)
    assert np.array_equal(frame.put_back(painted, slice(0, 64), slice(0, 64)), painted)
    marks = photo[..., 0] // 255
    assert np.array_equal(frame.take_marks(marks), marks)


def test_a_box_of_the_model_size_is_cut_out_and_put_back_exactly() -> None:
    photo = noise(100, 120)
    frame = box_frame(100, 120, 64, (31, 17, 64, 64))
    assert frame.scale == pytest.approx(1)
    assert frame.box == pytest.approx((31, 17, 64, 64))
    assert np.array_equal(frame.take_photo(photo), photo[17:81, 31:95])
    marks = photo[..., 0] // 200
    assert np.array_equal(frame.take_marks(marks), marks[17:81, 31:95])
    back = frame.put_back(photo[17:81, 31:95].astype(np.float32), slice(20, 60), slice(40, 50))
    assert np.allclose(back, photo[20:60, 40:50], atol=1e-3)
    covered = frame.covers(slice(0, 100), slice(0, 120))
    assert covered.sum() == 64 * 64
    assert covered[17:81, 31:95].all()


def test_corners_of_the_whole_photo_stay_corners() -> None:
    frame = whole_frame(200, 100, 64)
    # The outer corner of the first pixel, not its centre, is the corner of the model's image.
    assert to_model(frame, -0.5, -0.5) == pytest.approx((-0.5, -0.5))
    assert to_model(frame, 99.5, 199.5) == pytest.approx((63.5, 63.5))


@pytest.mark.parametrize("eyes", [(300, 200, 420, 260), (420, 260, 300, 200), (10.5, 20, 40, 21)])
def test_eyes_come_to_their_places(eyes: tuple[float, float, float, float]) -> None:
    frame = eyes_frame(600, 700, 256, eyes)
    left, right = sorted([eyes[:2], eyes[2:]])
    assert to_model(frame, *left) == pytest.approx((94.8, 120.1))
    assert to_model(frame, *right) == pytest.approx((157.3, 120.3))
    (a, b, _), (c, d, _) = frame.matrix
    assert (a, b) == pytest.approx((d, -c)), "turned and scaled alone"


def test_a_smaller_model_sees_the_same_square() -> None:
    eyes = (300.0, 200.0, 420.0, 260.0)
    large, small = eyes_frame(600, 700, 256, eyes), eyes_frame(600, 700, 64, eyes)
    assert small.box == pytest.approx(large.box)


def test_a_turned_face_is_put_back_where_it_was() -> None:
    y, x = np.mgrid[:300, :300]
    smooth = 127 + 90 * np.sin(x / 23) * np.cos(y / 31)
    photo = np.stack([smooth, smooth[::-1], smooth.T], axis=2).astype(np.uint8)
    frame = eyes_frame(300, 300, 128, (120, 140, 170, 165))
    region = slice(110, 200), slice(110, 190)
    assert frame.covers(*region).all()
    back = frame.put_back(frame.take_photo(photo).astype(np.float32), *region)
    assert np.abs(back - photo[region]).mean() < 2


@pytest.mark.parametrize("frame", [whole_frame(777, 500, 64), eyes_frame(777, 500, 64, (180, 300, 330, 360))])
def test_thin_lines_survive_shrinking_in_one_piece(frame: PhotoFrame) -> None:
    marks = np.zeros((777, 500), np.uint8)
    cv2.polylines(marks, [np.array([(200, 290), (260, 430), (280, 300), (330, 380)])], False, 1, 1)
    small = thin_lines(frame.take_marks(marks))
    assert cv2.connectedComponents(small, connectivity=8)[0] == 2
    assert 10 < small.sum() < 120
    assert not (small[1:, 1:] & small[:-1, :-1] & small[1:, :-1] & small[:-1, 1:]).any(), "one pixel wide"


@pytest.mark.parametrize("frame", [whole_frame(90, 333, 64), box_frame(90, 333, 64, (20, 0, 90, 90))])
def test_every_pixel_of_the_hole_is_hole_for_the_model(frame: PhotoFrame) -> None:
    hole = np.zeros((90, 333), np.uint8)
    hole[np.random.default_rng(2).random(hole.shape) < 0.01] = 1
    small = frame.take_marks(hole)
    for y, x in np.argwhere((hole == 1) & frame.covers(slice(0, 90), slice(0, 333))):
        column, row = to_model(frame, x, y)
        assert small[round(np.clip(row, 0, 63)), round(np.clip(column, 0, 63))] == 1


def test_shrinking_does_not_alias() -> None:
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 255
    for frame in (whole_frame(512, 512, 64), box_frame(512, 512, 64, (3, 3, 500, 500))):
        middle = frame.take_photo(stripes)[8:-8, 8:-8].astype(int)
        assert np.abs(middle - 127).max() < 12


def test_the_face_of_a_snapshot_is_found() -> None:
    photo = np.ascontiguousarray(data.astronaut()[:400])
    frame = find_frame(photo, 256)
    # Her eyes, by hand: about (207, 108) and (245, 111) px.
    left, right = to_model(frame, 207, 108), to_model(frame, 245, 111)
    assert left == pytest.approx((94.8, 120.1), abs=16)
    assert right == pytest.approx((157.3, 120.3), abs=16)
    aligned = frame.take_photo(photo)
    large = cv2.resize(aligned, (300, 300))
    assert find_frame(large, 256).is_whole, "it is aligned now"
    assert find_frame(noise(64, 64), 64).is_whole, "the model's own size"


def test_no_face_names_the_options() -> None:
    with pytest.raises(NoFaceError, match=r"--box .* --eyes .* --align none"):
        find_frame(np.full((200, 300, 3), 90, np.uint8), 64)
    with pytest.raises(NoFaceError):
        find_frame(np.full((1, 7, 3), 90, np.uint8), 64)


def test_impossible_frames_are_refused() -> None:
    for make, reason in (
        (lambda: box_frame(100, 100, 64, (200, 0, 50, 50)), "outside the photo"),
        (lambda: box_frame(100, 100, 64, (-60, 0, 50, 50)), "outside the photo"),
        (lambda: box_frame(100, 100, 64, (0, 0, 0, 50)), "box: expected"),
        (lambda: box_frame(100, 100, 64, (0, 0, float("nan"), 50)), "box: expected"),
        (lambda: eyes_frame(100, 100, 64, (5, 5, 5, 5)), "eyes: expected"),
        (lambda: eyes_frame(100, 100, 64, (1000, 1000, 1010, 1000)), "outside the photo"),
    ):
        with pytest.raises(UsageError, match=reason):
            make()
