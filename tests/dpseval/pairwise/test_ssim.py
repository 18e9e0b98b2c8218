from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.data import astronaut
from skimage.filters import gaussian
from skimage.metrics import structural_similarity

from dpsdata.contracts import UsageError
from dpseval.metrics.pixels import SsimTruth, plane_map, ssim, ssim_over


def reference(output: np.ndarray, truth: np.ndarray) -> tuple[float, np.ndarray]:
    mean, full = structural_similarity(
        truth,
        output,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
        channel_axis=2,
        full=True,
    )
    return float(mean), full


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    return np.ascontiguousarray(astronaut()[:150, 150:290])


def changed(face: np.ndarray, how: str) -> np.ndarray:
    rng = np.random.default_rng(4)
    if how == "noise":
        return np.clip(face + rng.normal(0, 20, face.shape), 0, 255).astype(np.uint8)
    if how == "blur":
        return np.round(gaussian(face, 2, channel_axis=2, preserve_range=True)).astype(np.uint8)
    if how == "inverted":
        return 255 - face
    if how == "flat":
        return np.full_like(face, 128)
    hole = face.copy()
    hole[40:90, 30:100] = rng.integers(0, 256, (50, 70, 3))
    return hole


@pytest.mark.parametrize("how", ["noise", "blur", "inverted", "flat", "hole"])
def test_equals_scikit_image(face: np.ndarray, how: str) -> None:
    output = changed(face, how)
    expected, full = reference(output, face)
    assert ssim(output, face) == pytest.approx(expected, abs=1e-12)
    similarity = SsimTruth(face).map(output)
    assert np.abs(similarity - full.mean(axis=2)[5:-5, 5:-5]).max() < 1e-10


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(11, 40), st.integers(11, 40), st.booleans())
def test_equals_scikit_image_at_any_size_and_place(seed: int, height: int, width: int, extreme: bool) -> None:
    rng = np.random.default_rng(seed)
    truth = (
        rng.choice([0, 255], (height, width, 3)).astype(np.uint8)
        if extreme
        else rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    )
    output = truth.copy()
    top, left = int(rng.integers(0, height)), int(rng.integers(0, width))
    patch = output[top : top + int(rng.integers(1, height)), left : left + int(rng.integers(1, width))]
    patch[:] = rng.integers(0, 256, patch.shape)
    expected, full = reference(output, truth)
    assert ssim(output, truth) == pytest.approx(expected, abs=1e-10)
    assert np.abs(SsimTruth(truth).map(output) - full.mean(axis=2)[5:-5, 5:-5]).max() < 1e-10


def test_a_region_takes_the_windows_whose_centre_lies_in_it(face: np.ndarray) -> None:
    output = changed(face, "hole")
    hole = np.zeros(face.shape[:2], bool)
    hole[40:90, 30:100] = True
    full = reference(output, face)[1].mean(axis=2)
    assert ssim(output, face, hole) == pytest.approx(full[40:90, 30:100].mean(), abs=1e-12)
    border = np.zeros_like(hole)
    border[:5] = True  # no whole window is centred here
    assert math.isnan(ssim(output, face, border))
    similarity = SsimTruth(face).map(output)
    assert ssim_over(similarity) == ssim(output, face)


def test_equal_photos_score_exactly_one(face: np.ndarray) -> None:
    assert ssim(face, face) == 1.0


def test_one_truth_serves_many_outputs(face: np.ndarray) -> None:
    truth = SsimTruth(face)
    for how in ("noise", "hole", "noise"):
        assert ssim_over(truth.map(changed(face, how))) == ssim(changed(face, how), face)


def test_too_small_and_other_sizes_are_refused(face: np.ndarray) -> None:
    with pytest.raises(UsageError, match="at least 11 px"):
        SsimTruth(face[:10])
    with pytest.raises(UsageError, match="size of its truth"):
        SsimTruth(face).map(face[:-1])


@pytest.mark.parametrize("side", [11, 40])
def test_ssim_of_planes_is_that_of_scikit_image(side):
    generator = np.random.default_rng(side)
    truth = generator.integers(0, 256, (side, side + 3), dtype=np.uint8)
    output = truth.copy()
    output[2:9, 3:8] = generator.integers(0, 256, (7, 5))
    _, expected = structural_similarity(
        output, truth, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, full=True
    )
    np.testing.assert_allclose(plane_map(output, truth), expected[5:-5, 5:-5], rtol=1e-9, atol=1e-9)
    assert (plane_map(truth, truth) == 1).all()


def test_planes_of_another_kind_are_refused():
    plane = np.zeros((12, 12), np.uint8)
    for wrong in (plane[:11], plane.astype(float), plane[None]):
        with pytest.raises(UsageError, match="SSIM"):
            plane_map(wrong, plane)
