from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.morphology import thin

from dpsdata.contracts import UsageError
from dpsdata.sketch import SimplifyConfig, simplify_edge_map, simplify_edges
from dpsdata.sketch.simplify import _drop_small_components

_spec = importlib.util.spec_from_file_location("loop_reference", Path(__file__).with_name("loop_reference.py"))
assert _spec is not None
assert _spec.loader is not None
loop_reference = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(loop_reference)

CONFIGS = [
    SimplifyConfig(),
    SimplifyConfig.for_size(512),
    SimplifyConfig(border_px=0, triangle_radius=1, min_component_px=1, nms_multiplier=1.0),
]
SHAPES = [(3, 3), (3, 9), (16, 16), (17, 33), (40, 29)]


def drawn_map(size: int = 256) -> np.ndarray:
    """Soft circles and lines by exactly rounded operations only, so that it is the same map on every CPU."""
    y, x = np.mgrid[0:size, 0:size] * (256 / size) + (128 / size - 0.5)
    distance = np.minimum(
        np.abs(np.sqrt((y - 120) ** 2 + (x - 110) ** 2) - 70), np.abs(np.sqrt((y - 90) ** 2 + (x - 160) ** 2) - 22)
    )
    distance = np.minimum(distance, np.abs(2 * y + x - 420) / np.sqrt(5.0))
    return 0.95 / (1 + (distance / 1.5) ** 4)


def maps(shape: tuple[int, int], kind: str, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    noise = rng.random(shape)
    if kind == "uint16":
        return rng.integers(0, 65536, shape).astype(np.uint16)
    if kind == "float32":
        return noise.astype(np.float32)
    if kind == "constant":
        return np.full(shape, noise[0, 0])
    if kind == "sparse":
        return noise * (rng.random(shape) < 0.05)
    soft = cv2.GaussianBlur(noise, (0, 0), 1.5)
    soft = (soft - soft.min()) / (soft.max() - soft.min())
    return np.rint(soft * 5) / 5 if kind == "plateaus" else soft


def by_loops(edges: np.ndarray, config: SimplifyConfig) -> np.ndarray:
    values = edges.astype(np.float32) / np.float32(65535) if edges.dtype == np.uint16 else edges
    return np.array(loop_reference.simplify(values.astype(np.float64).tolist(), config), np.uint8)


@pytest.mark.parametrize("config", CONFIGS, ids=["published", "at512", "bare"])
@pytest.mark.parametrize("kind", ["uint16", "float32", "constant", "sparse", "plateaus", "soft"])
def test_equals_the_loops_bit_by_bit(kind, config):
    for seed, shape in enumerate(SHAPES):
        edges = maps(shape, kind, seed)
        np.testing.assert_array_equal(simplify_edge_map(edges, config), by_loops(edges, config))


@settings(max_examples=15, deadline=None)
@given(
    st.integers(3, 24), st.integers(3, 24), st.integers(0, 2**32 - 1), st.sampled_from(["uint16", "soft", "plateaus"])
)
def test_equals_the_loops_on_any_small_map(height, width, seed, kind):
    edges = maps((height, width), kind, seed)
    config = SimplifyConfig(min_component_px=2, border_px=1)
    np.testing.assert_array_equal(simplify_edge_map(edges, config), by_loops(edges, config))


def test_drawn_map_keeps_its_bits_for_any_thread_count():
    edges = np.rint(drawn_map() * 65535).astype(np.uint16)
    threads = cv2.getNumThreads()
    try:
        digests = []
        for count in (1, 2):
            cv2.setNumThreads(count)
            digests.append(hashlib.sha256(simplify_edge_map(edges).tobytes()).hexdigest())
    finally:
        cv2.setNumThreads(threads)
    assert digests == ["05ac7d7d704b47fa2f84cd213a04b65057538b0a4ef632f5d85925aaad2f763e"] * 2


def test_drawn_map_gives_thin_lines_on_the_drawn_ones():
    lines = simplify_edge_map(drawn_map()).astype(bool)
    strength = drawn_map()
    assert lines.sum() > 700
    assert strength[lines].mean() > 0.85
    np.testing.assert_array_equal(lines, thin(lines))


@pytest.mark.parametrize("degrees", [0, 45, 90, 135])
def test_straight_lines_are_found_at_any_orientation(degrees):
    y, x = np.mgrid[0:65, 0:65] - 32.0
    angle = np.deg2rad(degrees)
    distance = np.abs(x * np.sin(angle) + y * np.cos(angle))
    lines = simplify_edge_map(np.exp(-((distance / 2) ** 2))).astype(bool)
    assert distance[lines].max() < 0.75
    assert lines.sum() >= 48  # 65 px less the fading ends
    assert lines.any(axis=0 if degrees != 90 else 1).sum() >= 48


def test_threshold_is_inclusive():
    edges = np.zeros((32, 32), np.uint16)
    edges[8:24, 16] = 6425  # 25/255 of 65535
    assert simplify_edge_map(edges).sum() == 16
    edges[8:24, 16] = 6424
    assert simplify_edge_map(edges).sum() == 0


@pytest.mark.parametrize("size", range(1, 10))
def test_components_of_five_pixels_stay(size):
    lines = np.zeros((14, 14), np.uint8)
    lines[np.arange(size) + 2, np.arange(size) + 2] = 1  # joined by their corners
    assert _drop_small_components(lines, 5).sum() == (size if size >= 5 else 0)


def test_tensor_form_is_the_array_form():
    stored = np.stack([maps((40, 29), "uint16", seed) for seed in range(3)])
    edges = torch.from_numpy(stored.astype(np.float32) / np.float32(65535))[:, None]
    sketches = simplify_edges(edges)
    assert sketches.shape == (3, 1, 40, 29)
    assert sketches.dtype == torch.float32
    for one, result in zip(stored, sketches, strict=True):
        np.testing.assert_array_equal(result[0].numpy(), simplify_edge_map(one))
    assert simplify_edges(edges.half()).dtype == torch.float16
    before = edges.clone()
    simplify_edges(edges)
    assert torch.equal(edges, before)


def test_empty_map_gives_an_empty_sketch():
    assert simplify_edges(torch.zeros(1, 1, 16, 16)).sum() == 0


def test_lengths_grow_with_the_size_and_strengths_do_not():
    assert SimplifyConfig.for_size(256) == SimplifyConfig.for_size(64) == SimplifyConfig()
    at_512 = SimplifyConfig.for_size(512)
    assert at_512 == SimplifyConfig(min_component_px=10, nms_radius=2, border_px=10, triangle_radius=8)
    assert SimplifyConfig.for_size(1024).triangle_radius == 16
    assert SimplifyConfig.for_size(383) == SimplifyConfig()
    assert SimplifyConfig.for_size(384) == at_512


@pytest.mark.parametrize("size", [512, 1024])
def test_the_same_drawing_comes_out_at_scale(size):
    scale = size // 256
    small = simplify_edge_map(drawn_map(256))
    large = simplify_edge_map(drawn_map(size))
    shrunk = large.reshape(256, scale, 256, scale).max(axis=(1, 3))
    near_small = cv2.dilate(small, np.ones((3, 3), np.uint8))
    near_large = cv2.dilate(shrunk, np.ones((3, 3), np.uint8))
    assert shrunk[near_small == 0].sum() <= 0.01 * shrunk.sum()
    assert small[near_large == 0].sum() <= 0.01 * small.sum()
    assert large.sum() == pytest.approx(scale * small.sum(), rel=0.05)  # lines one pixel wide


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("threshold", 0.0),
        ("threshold", 1.5),
        ("threshold", float("nan")),
        ("min_component_px", 0),
        ("min_component_px", 2.5),
        ("nms_radius", 0),
        ("border_px", -1),
        ("nms_multiplier", 0.9),
        ("triangle_radius", 0),
        ("triangle_radius", True),
    ],
)
def test_wrong_constants_are_named(name, value):
    with pytest.raises(UsageError, match=name):
        SimplifyConfig(**{name: value})


@pytest.mark.parametrize(
    "edges",
    [
        np.zeros((8, 8), np.uint8),
        np.zeros((1, 8, 8)),
        np.zeros((2, 8)),
        np.full((8, 8), 1.5),
        np.full((8, 8), np.nan),
    ],
)
def test_wrong_maps_are_refused(edges):
    with pytest.raises(UsageError, match="edges"):
        simplify_edge_map(edges)


@pytest.mark.parametrize("edges", [torch.zeros(1, 3, 8, 8), torch.zeros(8, 8), torch.full((1, 1, 8, 8), 2.0)])
def test_wrong_tensors_are_refused(edges):
    with pytest.raises(UsageError, match="edges"):
        simplify_edges(edges)
