from __future__ import annotations

import cv2
import numpy as np
import pytest

from dpsdata.sketch import SimplifyConfig
from dpsdata.sketch.simplify import fade_weights, find_ridges


def by_published_angles(edges: np.ndarray) -> np.ndarray:
    """The formulas as published, whole images at a time, with the arctangent, in float64."""
    height, width = edges.shape
    triangle = np.array([1, 2, 3, 4, 5, 4, 3, 2, 1]) / 25
    padded = np.pad(edges, 4, mode="symmetric")
    smooth = sum(w * padded[k : k + height] for k, w in enumerate(triangle))
    smooth = sum(w * smooth[:, k : k + width] for k, w in enumerate(triangle))
    dy, dx = np.gradient(smooth)
    oxx = np.gradient(dx, axis=1)
    oyy, oxy = np.gradient(dy)
    angle = np.mod(np.arctan(oyy * np.sign(-oxy) / (oxx + 1e-5)), np.pi)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    kept = edges.copy()
    for sign in (1, -1):
        b = np.clip(y + sign * np.sin(angle), 0, height - 1.001)
        a = np.clip(x + sign * np.cos(angle), 0, width - 1.001)
        top, left = b.astype(int), a.astype(int)
        fy, fx = b - top, a - left
        beside = (edges[top, left] * (1 - fx) + edges[top, left + 1] * fx) * (1 - fy) + (
            edges[top + 1, left] * (1 - fx) + edges[top + 1, left + 1] * fx
        ) * fy
        kept[1.01 * edges < beside] = 0
    for step in range(5):
        for row in (step, height - 1 - step):
            kept[row] *= step / 5
        for column in (step, width - 1 - step):
            kept[:, column] *= step / 5
    return (kept >= 25 / 255).astype(np.uint8)


@pytest.mark.parametrize("seed", range(4))
def test_equals_the_published_formulas(seed):
    noise = np.random.default_rng(seed).random((96, 130))
    soft = cv2.GaussianBlur(noise, (0, 0), 1 + seed)
    soft = ((soft - soft.min()) / (soft.max() - soft.min())) ** 2
    for edges in (noise, soft, soft.astype(np.float32).astype(np.float64)):
        np.testing.assert_array_equal(find_ridges(edges, SimplifyConfig()), by_published_angles(edges))


def test_ridges_do_not_depend_on_the_block_size(monkeypatch):
    edges = np.random.default_rng(1).random((64, 80))
    whole = find_ridges(edges, SimplifyConfig())
    monkeypatch.setattr("dpsdata.sketch.simplify._BLOCK_PX", 37)
    np.testing.assert_array_equal(find_ridges(edges, SimplifyConfig()), whole)


def test_border_fades_in_steps_of_a_fifth():
    np.testing.assert_allclose(fade_weights(12, 5), [0, 0.2, 0.4, 0.6, 0.8, 1, 1, 0.8, 0.6, 0.4, 0.2, 0])
    np.testing.assert_array_equal(fade_weights(4, 0), np.ones(4))
    # A constant map has no maxima to choose: 0.45 * 0.2 = 0.09 < 25/255 <= 0.45 * 0.4, and corners fade twice.
    ridges = find_ridges(np.full((30, 30), 0.45), SimplifyConfig())
    expected = np.zeros((30, 30), np.uint8)
    expected[2:-2, 2:-2] = 1
    for corner in (expected, expected[::-1], expected[:, ::-1], expected[::-1, ::-1]):
        corner[2, 2] = 0  # 0.45 * 0.4 * 0.4
    np.testing.assert_array_equal(ridges, expected)
