from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dpsdata.contracts import UsageError
from models.training.baselines.batch import ColorStrokes, fill_with_medians, paint_color_map
from models.training.engine.batches import PhotoStore


@pytest.fixture(scope="module")
def photos(built: Path) -> tuple[list[str], np.ndarray]:
    store = PhotoStore(built, "train", 64)
    return store.ids, np.stack([store.read(index)[..., :3] for index in range(len(store))])


def test_segments_are_filled_with_their_medians() -> None:
    photo = np.array([[[10, 0, 5], [20, 0, 5], [90, 1, 5], [7, 7, 7]]], np.uint8)
    filled = fill_with_medians(photo, np.array([[0, 0, 0, 2]]))  # no pixel has the label 1
    assert filled.tolist() == [[[20, 0, 5], [20, 0, 5], [20, 0, 5], [7, 7, 7]]]
    pair = np.array([[[30, 1, 2], [10, 5, 2]]], np.uint8)
    assert fill_with_medians(pair, np.zeros((1, 2), np.int64)).tolist() == [[[10, 1, 2], [10, 1, 2]]]


def test_a_colour_map_is_flat_near_the_photo_and_always_the_same(photos: tuple[list[str], np.ndarray]) -> None:
    photo = photos[1][0]
    colors = paint_color_map(photo)
    assert np.array_equal(colors, paint_color_map(photo.copy()))
    assert len(np.unique(colors.reshape(-1, 3), axis=0)) <= 128 < len(np.unique(photo.reshape(-1, 3), axis=0))
    assert np.abs(colors.astype(int) - photo).mean() < 15
    with pytest.raises(UsageError, match="photo"):
        paint_color_map(photo[..., 0])


def test_strokes_show_the_map_and_are_black_elsewhere(photos: tuple[list[str], np.ndarray]) -> None:
    ids, pixels = photos
    strokes = ColorStrokes(64, 0, 1.0)
    drawn = strokes.draw([f"{name}:0" for name in ids], ids, pixels)
    for place in range(len(ids)):
        given = drawn[place].any(axis=-1)
        assert 0.02 < given.mean() < 0.9
        assert np.array_equal(drawn[place][given], paint_color_map(pixels[place])[given])


def test_strokes_hang_on_seed_and_key_alone(photos: tuple[list[str], np.ndarray]) -> None:
    ids, pixels = photos
    keys = [f"{name}:3" for name in ids]
    whole = ColorStrokes(64, 0, 0.5).draw(keys, ids, pixels)
    late = ColorStrokes(64, 0, 0.5, keeps=False)
    assert np.array_equal(late.draw(keys[4:], ids[4:], pixels[4:]), whole[4:])
    assert np.array_equal(late.draw(keys[:4], ids[:4], pixels[:4]), whole[:4])
    assert not np.array_equal(ColorStrokes(64, 1, 1.0).draw(keys, ids, pixels), late.draw(keys, ids, pixels, 1.0))


def test_colour_is_given_in_the_asked_share() -> None:
    photo = np.full((1, 64, 64, 3), 200, np.uint8)
    strokes = ColorStrokes(64, 0, 0.5)
    given = [bool(strokes.draw([f"a:{turn}"], ["a"], photo).any()) for turn in range(200)]
    assert 70 < sum(given) < 130
    assert not strokes.draw(["a:0", "a:1"], ["a", "a"], np.repeat(photo, 2, 0), 0.0).any()
