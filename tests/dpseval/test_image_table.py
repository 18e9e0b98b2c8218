from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from dpsdata.contracts import UsageError
from dpseval.statistics.summary import EXACT_DB, prepare_image_table, values_by_set


def _rows() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": ["b", "a", "a", "b", "a"],
            "method": ["m", "m", "m", "n", "n"],
            "level": [0.5, 0.5, 0.0, None, None],
            "region": ["hole"] * 5,
            "hole_ratio": [0.15, 0.005, 0.005, 0.15, 0.005],
            "psnr": [math.inf, 20.0, 101.0, 30.0, 10.0],
        }
    )


def test_rows_are_sorted_and_exact_images_capped() -> None:
    table = prepare_image_table(_rows())
    assert list(table["method"] + table["id"]) == ["ma", "ma", "mb", "na", "nb"]
    assert list(table["psnr"]) == [EXACT_DB, 20.0, EXACT_DB, 10.0, 30.0]
    assert list(table["exact"]) == [False, False, True, False, False]
    assert list(table["error"]) == pytest.approx([10**-10.1, 0.01, 0.0, 0.1, 0.001])
    assert list(table["bin"]) == ["0-0.01", "0-0.01", "0.1-0.2", "0-0.01", "0.1-0.2"]


def test_values_are_aligned_by_image() -> None:
    values = values_by_set(prepare_image_table(_rows()), "psnr", "hole")
    assert list(values) == [("m", 0.0), ("m", 0.5), ("n", None)]
    np.testing.assert_equal(values["m", 0.0], [100, math.nan])
    np.testing.assert_equal(values["m", 0.5], [20, 100])
    np.testing.assert_equal(values["n", None], [10, 30])
    assert values_by_set(prepare_image_table(_rows()), "psnr", "ring") == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"region": "edge"}, "'edge'"),
        ({"level": "high"}, "level"),
        ({"id": "a", "method": "m", "level": 0.0}, "twice"),
        ({"psnr": -math.inf}, "infinite"),
        ({"hole_ratio": 1.5}, "hole ratio"),
    ],
)
def test_wrong_tables(change: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        prepare_image_table(_rows().assign(**change))


def test_missing_columns_are_named() -> None:
    with pytest.raises(UsageError, match="hole_ratio is missing"):
        prepare_image_table(_rows().drop(columns="hole_ratio"))


def test_empty_text_is_no_level() -> None:
    table = prepare_image_table(_rows().assign(level=["0.5", "0.50", "0", "", ""]))
    assert list(values_by_set(table, "psnr", "hole")) == [("m", 0.0), ("m", 0.5), ("n", None)]
