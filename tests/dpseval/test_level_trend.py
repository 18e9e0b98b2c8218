from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from dpsdata.contracts import UsageError
from dpseval.statistics.level_trend import level_trend


def _images(metric: str, curve: dict[float, float], noise: float = 0.02, count: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    photo = rng.normal(0, 0.2, count)
    rows = [
        pd.DataFrame(
            {
                "id": [f"p{index}" for index in range(count)],
                "method": "ours",
                "level": level,
                "region": "hole",
                "hole_ratio": 0.3,
                metric: 0.5 + photo + shift + rng.normal(0, noise, count),
            }
        )
        for level, shift in curve.items()
    ]
    return pd.concat(rows, ignore_index=True)


def test_a_fall_is_seen_through_photos_that_differ_more() -> None:
    images = _images("edge_f_drawn", {1.0: -0.06, 0.0: 0.0, 0.5: -0.03})
    trend = level_trend(images, "ours", "edge_f_drawn", "hole", 0)
    assert trend.levels == (0.0, 0.5, 1.0)
    assert (trend.direction, trend.significant) == ("falls", True)
    assert trend.span.mean == pytest.approx(-0.06, abs=0.01)
    assert trend.span.mean == pytest.approx(sum(step.mean for step in trend.steps), abs=1e-12)
    values = images[images["level"] == 0.5]["edge_f_drawn"]
    assert (trend.n[1], trend.means[1]) == (60, pytest.approx(values.mean()))


def test_a_rise_that_may_be_chance_is_monotone_but_not_significant() -> None:
    images = _images("chamfer_px", {0.0: 0.0, 0.5: 0.1}, noise=0.001)
    assert level_trend(images, "ours", "chamfer_px", "hole", 0).direction == "rises"
    rising = next(
        trend
        for trend in (
            level_trend(_images("chamfer_px", {0.0: 0.0, 0.5: shift}, noise=1.0), "ours", "chamfer_px", "hole", 0)
            for shift in np.linspace(-0.5, 0.5, 101)
        )
        if trend.direction == "rises"
    )
    assert not rising.significant


def test_turns_and_flat_curves_are_not_monotone() -> None:
    turned = level_trend(_images("ssim", {0.0: 0.0, 0.5: -0.1, 1.0: 0.0}), "ours", "ssim", "hole", 0)
    assert (turned.direction, turned.significant) == ("mixed", False)
    flat = _images("ssim", {0.0: 0.0}, noise=0.0)
    both = pd.concat([flat, flat.assign(level=1.0)])
    trend = level_trend(both, "ours", "ssim", "hole", 0)
    assert (trend.direction, trend.significant) == ("flat", False)


def test_other_methods_and_images_without_a_value_do_not_count() -> None:
    images = _images("ssim", {0.0: 0.0, 1.0: 0.2})
    images.loc[0, "ssim"] = math.nan
    other = images.assign(method="other", ssim=0.0)
    trend = level_trend(pd.concat([other, images]), "ours", "ssim", "hole", 0)
    assert trend.n == (59, 60)
    assert trend.steps[0].n == 59
    assert trend.direction == "rises"


@pytest.mark.parametrize(
    ("method", "metric", "region"),
    [("nobody", "ssim", "hole"), ("ours", "fid", "full"), ("ours", "sssim", "hole"), ("ours", "ssim", "ring")],
)
def test_wrong_requests(method: str, metric: str, region: str) -> None:
    with pytest.raises(UsageError, match="level_trend"):
        level_trend(_images("ssim", {0.0: 0.0, 1.0: 0.2}), method, metric, region, 0)


def test_one_level_is_no_trend() -> None:
    images = _images("ssim", {0.0: 0.0})
    with pytest.raises(UsageError, match="two levels"):
        level_trend(pd.concat([images, images.assign(level=math.nan)]), "ours", "ssim", "hole", 0)
