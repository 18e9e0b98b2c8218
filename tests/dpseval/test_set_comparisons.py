from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from dpseval.statistics.intervals import holm, paired_difference
from dpseval.statistics.summary import COMPARISON_COLUMNS, comparisons


def _images(metric: str, region: str = "hole", **sets: np.ndarray) -> pd.DataFrame:
    rows = [
        pd.DataFrame(
            {
                "id": [f"p{index:04d}" for index in range(len(values))],
                "method": method,
                "level": math.nan,
                "region": region,
                "hole_ratio": 0.2,
                metric: values,
            }
        )
        for method, values in sets.items()
    ]
    return pd.concat(rows, ignore_index=True)


def test_a_clear_winner_is_marked_on_the_right_side() -> None:
    base = np.random.default_rng(0).gamma(2, 1, 60)
    sets = {"a": base + 1, "b": base, "c": base + 2 * np.linspace(0.5, 1, 60)}
    for metric, best, wins in (("edge_f_drawn", "c", 59 / 60), ("chamfer_px", "b", 1.0)):
        found = comparisons(_images(metric, **sets), 0)
        assert tuple(found.columns) == COMPARISON_COLUMNS
        assert set(found["best_method"]) == {best}
        assert found["best_marked"].all()
        assert list(found["other_method"]) == [name for name in sets if name != best]
        assert found["win_rate"].iloc[0] == pytest.approx(wins, abs=0.02)
        # the difference is best minus other, so a lower-is-better winner is below
        assert (found["difference"] < 0).all() == (metric == "chamfer_px")


def test_the_runner_up_that_is_not_told_apart_takes_the_mark_away() -> None:
    rng = np.random.default_rng(1)
    base = rng.normal(20, 2, 80)
    found = comparisons(
        _images("psnr", "full", best=base + 0.01, close=base + rng.normal(0, 1, 80), far=base - 3), 0
    ).set_index("other_method")
    assert found.loc["far", "significant"]
    assert not found.loc["close", "significant"]
    assert not found["best_marked"].any()


def test_numbers_are_those_of_the_paired_tests_corrected_over_all_pairs() -> None:
    rng = np.random.default_rng(2)
    sets = {name: rng.normal(mean, 1, 30) for name, mean in (("a", 0.0), ("b", 0.4), ("c", 1.2))}
    found = comparisons(_images("hedps", "ring", **sets), 7).set_index("other_method")
    pairs = [("a", "b"), ("a", "c"), ("b", "c")]
    adjusted = holm([paired_difference(sets[x], sets[y], 7, "").p_value for x, y in pairs])
    for other, p_holm in (("b", adjusted[0]), ("c", adjusted[1])):
        row = found.loc[other]
        expected = paired_difference(sets["a"], sets[other], 7, "comparisons", higher_is_better=False)
        assert row["best_method"] == "a"
        assert row["p_holm"] == pytest.approx(p_holm, abs=1e-12)
        assert (row["difference"], row["ci_low"], row["ci_high"]) == (expected.mean, expected.ci_low, expected.ci_high)
        assert (row["n"], row["win_rate"], row["p_value"]) == (30, expected.win_rate, expected.p_value)


def test_equal_methods_differ_in_fewer_than_one_of_20_tables() -> None:
    # The best was chosen for being far from the others: corrected for the comparisons with it alone, one difference or
    # more is significant in 17 % of such tables (400 drawn), corrected for all pairs in 3 %.
    rng = np.random.default_rng(3)
    marked = differing = 0
    for _ in range(25):
        found = comparisons(_images("ssim", "full", **{f"m{i}": rng.beta(9, 1, 51) for i in range(15)}), 0)
        marked += bool(found["best_marked"].any())
        differing += bool(found["significant"].any())
    assert marked == 0
    assert differing <= 2


def test_guards_and_metrics_without_a_difference_have_no_rows() -> None:
    values = np.random.default_rng(0).random(20)
    assert comparisons(_images("edge_density", a=values, b=values + 1), 0).empty
    assert comparisons(_images("psnr", "ring", a=np.full(20, math.inf), b=np.full(20, math.inf)), 0).empty
    assert comparisons(_images("psnr", a=values), 0).empty
    assert comparisons(_images("psnr", a=values, b=values), 0).empty


def test_exact_images_and_images_without_a_value() -> None:
    a, b = np.array([math.inf, 30.0, 31.0, math.nan]), np.array([40.0, 29.0, math.inf, 10.0])
    row = comparisons(_images("psnr", a=a, b=b), 0).iloc[0]
    assert row["n"] == 3
    assert (row["best_method"], row["difference"]) == ("a", pytest.approx((60 + 1 - 69) / 3))
    assert not row["significant"]


def test_the_order_of_the_rows_does_not_matter() -> None:
    rng = np.random.default_rng(4)
    images = _images("ssim", **{name: rng.random(40) for name in "abc"})
    assert comparisons(images, 0).equals(comparisons(images.sample(frac=1, random_state=0), 0))
