from __future__ import annotations

import numpy as np
import pytest

from dpsdata.contracts import UsageError
from dpsdata.masks.statistics import mask_statistics

QUANTILES = ["q01", "q05", "q50", "q95", "q99"]


@pytest.mark.parametrize(
    ("family", "mean", "quantiles"),
    [
        ("deepfillv2-brush", 15.2, [2.1, 3.8, 14.4, 29.1, 35.2]),
        ("deepfillv2", 31.0, [18.7, 21.1, 30.4, 43.0, 48.4]),
    ],
)
def test_4000_draws_have_the_published_distribution(family: str, mean: float, quantiles: list[float]) -> None:
    row = mask_statistics([family], 4000, 256, seed=0).iloc[0]
    assert 100 * row["mean"] == pytest.approx(mean, abs=0.5)
    assert [100 * row[name] for name in QUANTILES[1:4]] == pytest.approx(quantiles[1:4], abs=0.8)
    assert [100 * row[name] for name in ("q01", "q99")] == pytest.approx([quantiles[0], quantiles[4]], abs=1.2)


def test_known_families() -> None:
    table = mask_statistics(["center", "full", "pconv-10-20"], 5, 64, seed=3)
    assert list(table.columns) == ["family", "mean", "std", *QUANTILES, "min", "max"]
    assert list(table["family"]) == ["center", "full", "pconv-10-20"]
    assert list(table.iloc[0, 1:]) == [0.25, 0.0, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25]
    assert table.iloc[1]["mean"] == 1
    assert 0.1 < table.iloc[2]["min"] <= table.iloc[2]["mean"] <= table.iloc[2]["max"] <= 0.2
    assert np.isclose(table.iloc[2]["q50"], sorted_middle(3))


def sorted_middle(seed: int) -> float:
    from dpsdata.masks import make_mask

    return sorted(float(make_mask("pconv-10-20", 64, 64, seed, str(index)).mean()) for index in range(5))[2]


def test_wrong_input() -> None:
    with pytest.raises(UsageError, match="count"):
        mask_statistics(["dps"], 0, 64, 0)
    with pytest.raises(UsageError, match="expected one of"):
        mask_statistics(["dps", "no"], 1, 64, 0)
