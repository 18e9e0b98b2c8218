"""The distribution of the hole ratio of mask families."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from dpsdata.contracts import UsageError
from dpsdata.masks.registry import check_family, make_mask

QUANTILES = (0.01, 0.05, 0.5, 0.95, 0.99)


def mask_statistics(families: Sequence[str], count: int, size: int, seed: int) -> pd.DataFrame:
    """Draw `count` masks of each family and describe their hole ratios.

    Args:
        families: names as `make_mask` takes them.
        count: masks for each family, at least 1; their sample ids are 0, 1, ...
        size: height and width, px.
        seed: as in `make_mask`.

    Returns:
        One row for each family: family, mean, std, q01, q05, q50, q95, q99, min, max; ratios in [0, 1].

    Raises:
        UsageError: unknown family, no masks, or too small a size.
    """
    if count < 1:
        raise UsageError(f"count: expected at least 1 mask, got {count}")
    rows = []
    for family in [check_family(name) for name in families]:
        ratios = np.array([float(make_mask(family, size, size, seed, str(index)).mean()) for index in range(count)])
        values = np.quantile(ratios, QUANTILES)
        quantiles = {f"q{round(100 * at):02d}": float(value) for at, value in zip(QUANTILES, values, strict=True)}
        spread = {"min": float(ratios.min()), "max": float(ratios.max())}
        rows.append({"family": family, "mean": float(ratios.mean()), "std": float(ratios.std()), **quantiles, **spread})
    return pd.DataFrame(rows, columns=["family", "mean", "std", "q01", "q05", "q50", "q95", "q99", "min", "max"])
