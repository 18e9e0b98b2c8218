from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from dpsdata.contracts import UsageError, check_photo
from dpsdata.images.arrays import (
    RESAMPLERS,
    crop_square,
    photo_to_tensor,
    resize_nearest,
    resize_photo,
    tensor_to_photo,
)


def test_the_middle_square() -> None:
    wide = np.arange(3 * 8).reshape(3, 8)
    assert crop_square(wide).tolist() == [[2, 3, 4], [10, 11, 12], [18, 19, 20]]
    assert crop_square(wide.T).tolist() == [[2, 10, 18], [3, 11, 19], [4, 12, 20]]


def test_area_is_the_mean() -> None:
    photo = np.zeros((4, 4, 3), np.uint8)
    photo[:2, :2, 0] = [[10, 20], [30, 40]]
    photo[2:, 2:, 2] = 200
    small = resize_photo(photo, 2)
    assert small[..., 0].tolist() == [[25, 0], [0, 0]]
    assert small[..., 2].tolist() == [[0, 0], [0, 200]]


@pytest.mark.parametrize("resampler", RESAMPLERS)
@pytest.mark.parametrize("size", [1, 17, 40, 64])
def test_every_resampler_keeps_a_flat_photo_and_the_place_of_a_step(resampler: str, size: int) -> None:
    flat = np.full((40, 52, 3), (10, 120, 250), np.uint8)
    assert np.array_equal(resize_photo(flat, size, resampler), np.full((size, size, 3), (10, 120, 250)))
    if size > 1:
        step = np.zeros((40, 40, 3), np.uint8)
        step[:, 20:] = 255
        row = resize_photo(step, size, resampler)[size // 2, :, 0] / 255
        assert abs(row.sum() - size / 2) <= 0.51


def test_resize_copies_and_repeats() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    same = resize_photo(photo, 32)
    assert np.array_equal(same, photo)
    same[:] = 0
    assert photo.any()
    for resampler in RESAMPLERS:
        assert np.array_equal(resize_photo(photo, 20, resampler), resize_photo(photo.copy(), 20, resampler))


def test_nearest_takes_the_middle() -> None:
    line = np.arange(6, dtype=np.uint8)[None]
    assert resize_nearest(line, 1, 2).tolist() == [[1, 4]]
    assert resize_nearest(line, 2, 12).tolist() == [[0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]] * 2


def test_wrong_arguments_of_resize() -> None:
    photo = np.zeros((8, 8, 3), np.uint8)
    for arguments, words in (((photo, 4, "sinc"), "resampler"), ((photo, 0), "size"), ((photo[..., 0], 4), "photo")):
        with pytest.raises(UsageError, match=words):
            resize_photo(*arguments)


def test_all_values_survive_the_tensor() -> None:
    photos = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, 3)
    photos[..., 1] = photos[..., 1][:, ::-1]
    tensor = photo_to_tensor(photos)
    check_photo(tensor)
    assert tensor.shape == (1, 3, 16, 16)
    assert tensor.dtype == torch.float32
    assert (tensor.min(), tensor.max()) == (-1, 1)
    assert np.array_equal(tensor_to_photo(tensor), photos)


def test_rounded_then_clipped() -> None:
    values = torch.tensor([-7.0, -1.0, -0.997, -0.995, 0.0, 0.999, 1.0, 1.004, 9.0])
    tensor = values.reshape(1, 1, 1, 9).repeat(1, 3, 1, 1)
    # (x + 1) * 127.5: -0.997 is 0.38, -0.995 is 0.64, 0 is 127.5 (to even), 0.999 is 254.87
    assert tensor_to_photo(tensor)[0, 0, :, 0].tolist() == [0, 0, 0, 1, 128, 255, 255, 255, 255]


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(UsageError, match=r"\(N, H, W, 3\)"):
        photo_to_tensor(np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(UsageError, match=r"\(N, 3, H, W\)"):
        tensor_to_photo(torch.zeros(3, 8, 8))


def test_photos_that_may_not_be_written_to_are_taken_without_a_warning() -> None:
    photos = np.full((1, 4, 4, 3), 128, np.uint8)
    photos.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert photo_to_tensor(photos).shape == (1, 3, 4, 4)
