from __future__ import annotations

import math
from itertools import pairwise

import cv2
import numpy as np
import pytest
import torch
from skimage.data import astronaut

from dpsdata.contracts import UsageError
from dpsdata.hed import load_hed_scorer
from dpseval.metrics.hedps import HedScorer
from dpseval.metrics.regions import composite, region_masks

FACE = np.ascontiguousarray(astronaut()[20:148, 150:278])  # 128 x 128
FULL = {"full": np.ones(FACE.shape[:2], bool)}


@pytest.fixture(scope="module")
def scorer() -> HedScorer:
    return HedScorer()


def hedps(scorer: HedScorer, outputs: list[np.ndarray]) -> list[float]:
    truth = scorer.forward(FACE[None]).maps
    return [row["full"] for row in scorer.distances(truth, scorer.forward(np.stack(outputs)).maps, FULL)]


def noisy(sigma: float) -> np.ndarray:
    noise = np.random.default_rng(6).normal(0, 1, FACE.shape)
    return np.clip(np.round(FACE + sigma * noise), 0, 255).astype(np.uint8)


def test_equal_photos_have_no_distance(scorer: HedScorer) -> None:
    assert hedps(scorer, [FACE]) == [0.0]


@pytest.mark.parametrize(
    "outputs",
    [
        [noisy(sigma) for sigma in (1, 3, 8, 20, 50)],
        [cv2.GaussianBlur(FACE, (0, 0), sigma) for sigma in (0.5, 1, 2, 4, 8)],
        [np.roll(FACE, offset, axis=1) for offset in (1, 2, 4, 8, 16)],
        [(FACE * (1 - share) + 128 * share).round().astype(np.uint8) for share in (0.2, 0.5, 0.8, 1.0)],
    ],
    ids=["noise", "blur", "displacement", "fading"],
)
def test_it_grows_with_damage(scorer: HedScorer, outputs: list[np.ndarray]) -> None:
    found = hedps(scorer, outputs)
    assert found[0] > 0.002
    assert all(after > 1.1 * before for before, after in pairwise(found))
    assert found[-1] <= 2


def test_a_change_of_light_counts_less_than_a_change_of_shape(scorer: HedScorer) -> None:
    lighter, moved = hedps(scorer, [np.clip(FACE.astype(int) + 10, 0, 255).astype(np.uint8), np.roll(FACE, 2, axis=1)])
    assert lighter < moved / 4


def test_edges_are_those_of_the_detector_and_one_forward_gives_all(
    scorer: HedScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = load_hed_scorer()
    calls = []
    whole = net.forward
    monkeypatch.setattr(net, "forward", lambda *arguments: calls.append(1) or whole(*arguments))
    photos = np.stack([FACE, noisy(20)])
    found = HedScorer(net=net).forward(photos)
    assert len(calls) == 1
    assert found.edges.dtype == np.float32
    assert (found.edges == load_hed_scorer().detect(photos)).all()
    with torch.inference_mode():
        stages = net.features(torch.from_numpy(photos).permute(0, 3, 1, 2).float())
    expected = torch.cat([stage.mean(dim=(2, 3)) for stage in stages], dim=1).numpy()
    assert found.vectors.shape == (2, 184)
    assert np.abs(found.vectors - expected).max() < 1e-5
    assert not any(score._forward_pre_hooks for score in net.sides)


def test_a_repaired_hole_is_scored_in_the_hole(scorer: HedScorer) -> None:
    mask = np.zeros(FACE.shape[:2], np.uint8)
    mask[40:80, 50:90] = 1
    result = composite(noisy(60), FACE, mask)
    regions = region_masks(mask)
    regions["nothing"] = np.zeros_like(regions["hole"])
    row = scorer.distances(scorer.forward(FACE[None]).maps, scorer.forward(result[None]).maps, regions)[0]
    assert row["hole"] > row["ring"] > row["full"] > 0
    assert math.isnan(row["nothing"])


def test_a_photo_scores_the_same_alone_and_in_a_batch(scorer: HedScorer) -> None:
    outputs = [noisy(10), cv2.GaussianBlur(FACE, (0, 0), 2), np.roll(FACE, 3, axis=0)]
    together = hedps(scorer, outputs)
    assert together == pytest.approx([hedps(scorer, [output])[0] for output in outputs], rel=1e-4)


def test_maps_are_small_enough_to_keep(scorer: HedScorer) -> None:
    found = scorer.forward(np.random.default_rng(1).integers(0, 256, (1, 256, 256, 3), dtype=np.uint8))
    assert sum(part.nbytes for part in found.maps) < 3_000_000
    assert [tuple(part.shape[2:]) for part in found.maps] == [(128, 128), (128, 128), (64, 64), (32, 32), (16, 16)]


def test_odd_sizes_and_what_is_no_photo(scorer: HedScorer) -> None:
    odd = FACE[:77, :51]
    regions = {"full": np.ones(odd.shape[:2], bool), "hole": np.ones(odd.shape[:2], bool)}
    row = scorer.distances(scorer.forward(odd[None]).maps, scorer.forward(255 - odd[None]).maps, regions)[0]
    assert row["full"] == pytest.approx(row["hole"], rel=0.1)
    with pytest.raises(UsageError, match="uint8 RGB"):
        scorer.forward(FACE[None].astype(np.float32))


def test_the_weights_are_named(scorer: HedScorer) -> None:
    assert scorer.name == "hedps"
    assert len(scorer.weights_id) == 64
