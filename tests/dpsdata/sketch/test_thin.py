from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage.morphology import thin

from dpsdata.sketch.simplify import thin_lines


@pytest.mark.parametrize("fill", [0.1, 0.3, 0.5, 0.7, 0.9, 1.0])
def test_thinning_equals_scikit_image_up_to_the_border(fill):
    for seed in range(4):
        lines = (np.random.default_rng(seed).random((41, 57)) < fill).astype(np.uint8)
        blobs = (cv2.GaussianBlur(lines.astype(np.float32), (0, 0), 2) > fill).astype(np.uint8)
        for image in (lines, blobs):
            np.testing.assert_array_equal(thin_lines(image), thin(image.astype(bool)))


def test_input_is_left_alone_and_empty_stays_empty():
    solid = np.ones((9, 12), np.uint8)
    thin_lines(solid)
    assert solid.all()
    assert not thin_lines(np.zeros((9, 12), np.uint8)).any()
