from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio

from dpsdata.contracts import UsageError
from dpseval.metrics.pixels import l1, psnr, squared_error


def test_worked_by_hand() -> None:
    truth = np.full((2, 2, 3), 100, np.uint8)
    output = truth.copy()
    output[0, 0] = (110, 90, 100)
    # squares 100 + 100 + 0 over 12 values; absolute 20 over 12 values
    assert squared_error(output, truth) == pytest.approx(200 / 12, rel=1e-15)
    assert l1(output, truth) == pytest.approx(20 / 12 / 255, rel=1e-15)
    assert psnr(output, truth) == pytest.approx(10 * math.log10(255**2 / (200 / 12)), rel=1e-15)
    corner = np.array([[True, False], [False, False]])
    assert squared_error(output, truth, corner) == pytest.approx(200 / 3, rel=1e-15)
    assert l1(output, truth, corner) == pytest.approx(20 / 3 / 255, rel=1e-15)
    assert psnr(output, truth, ~corner) == math.inf


def test_the_signs_of_uint8_differences_do_not_wrap() -> None:
    black, white = np.zeros((3, 3, 3), np.uint8), np.full((3, 3, 3), 255, np.uint8)
    assert psnr(black, white) == psnr(white, black) == 0.0
    assert l1(black, white) == l1(white, black) == 1.0


@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 40))
def test_equals_scikit_image(seed: int, height: int, width: int) -> None:
    output, truth = np.random.default_rng(seed).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    expected = peak_signal_noise_ratio(truth, output, data_range=255)
    assert psnr(output, truth) == pytest.approx(expected, abs=1e-12)


def test_the_hole_alone_counts_the_pixels_of_the_hole() -> None:
    rng = np.random.default_rng(2)
    output, truth = rng.integers(0, 256, (2, 20, 30, 3), dtype=np.uint8)
    hole = np.zeros((20, 30), bool)
    hole[3:9, 5:21] = True
    expected = peak_signal_noise_ratio(truth[3:9, 5:21], output[3:9, 5:21], data_range=255)
    assert psnr(output, truth, hole) == pytest.approx(expected, abs=1e-12)
    output[~hole] = 0
    assert psnr(output, truth, hole) == pytest.approx(expected, abs=1e-12)


def test_equal_photos_and_empty_regions() -> None:
    photo = np.random.default_rng(3).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    assert psnr(photo, photo) == math.inf
    assert l1(photo, photo) == 0
    nothing = np.zeros((8, 8), bool)
    assert all(math.isnan(measure(photo, photo, nothing)) for measure in (psnr, l1, squared_error))


def test_other_sizes_are_refused() -> None:
    photo = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(UsageError, match=r"\(8, 8, 3\).*\(4, 8, 3\)"):
        psnr(photo[:4], photo)
