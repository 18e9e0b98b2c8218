from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dpsdata.contracts import UsageError
from dpseval.metrics.names import METRICS
from dpseval.statistics.intervals import bootstrap_interval
from dpseval.statistics.summary import SCORE_COLUMNS, SetScore, pooled_psnr, summarise

HOUSE_COLUMNS = (
    "id", "method", "level", "region", "hole_ratio", "psnr", "ssim", "l1", "lpips_alex", "hedps", "known_drift",
    "edge_f_drawn", "edge_f_refined", "chamfer_px", "mse", "edge_density",
)  # fmt: skip


def _images(count: int = 40, seed: int = 0) -> pd.DataFrame:
    """Rows as `per_image.csv` has them: two levels of one method and one without a level; LPIPS was not measured."""
    rng = np.random.default_rng(seed)
    ratios = rng.uniform(0.002, 0.75, count)
    rows = []
    for method, level in (("ours", 0.0), ("ours", 0.5), ("theirs", math.nan)):
        for region in ("full", "hole", "ring"):
            for index in range(count):
                mse = 0.0 if region == "ring" or index == 3 else rng.gamma(2, 60)
                row: dict[str, Any] = dict.fromkeys(HOUSE_COLUMNS, math.nan)
                row |= {"id": f"p{index:03d}", "method": method, "level": level, "region": region}
                row |= {"hole_ratio": ratios[index], "mse": mse, "ssim": rng.beta(9, 1), "hedps": rng.gamma(2, 0.1)}
                row |= {"psnr": 10 * math.log10(255**2 / mse) if mse else math.inf, "l1": math.sqrt(mse) / 400}
                if region == "full":
                    row |= {"known_drift": rng.random() / 99}
                if region == "hole" and index % 7:
                    row |= {"edge_f_drawn": rng.beta(5, 3), "chamfer_px": rng.gamma(2), "edge_density": 0.04}
                rows.append(row)
    return pd.DataFrame(rows, columns=list(HOUSE_COLUMNS))


def _cell(
    scores: pd.DataFrame, metric: str, region: str = "full", bin_name: str = "all", method: str = "theirs"
) -> Any:
    chosen = scores[
        (scores["metric"] == metric)
        & (scores["region"] == region)
        & (scores["bin"] == bin_name)
        & (scores["method"] == method)
    ]
    assert len(chosen) == 1
    return chosen.iloc[0]


def _read_back(per_image: pd.DataFrame) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(per_image.to_csv(index=False)))


def test_every_value_follows_from_the_written_table() -> None:
    per_image = _images()
    scores = summarise(per_image, [], 0)
    edges = [0, 0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 1]
    names = ["0-0.01", "0.01-0.1", "0.1-0.2", "0.2-0.3", "0.3-0.4", "0.4-0.5", "0.5-0.6", "0.6-1"]
    table = _read_back(per_image)
    table["bin"] = pd.cut(table["hole_ratio"], edges, labels=names).astype(str)
    table["psnr"] = table["psnr"].clip(upper=100)
    checked = 0
    for row in scores.itertuples():
        same_level = table["level"].isna() if math.isnan(row.level) else table["level"] == row.level
        chosen = table[(table["method"] == row.method) & same_level & (table["region"] == row.region)]
        if row.bin != "all":
            chosen = chosen[chosen["bin"] == row.bin]
        if row.metric == "psnr_pooled":
            mse = chosen["mse"].mean()
            expected, count = (10 * math.log10(255**2 / mse) if mse else 100.0), len(chosen)
        else:
            expected, count = chosen[row.metric].mean(), chosen[row.metric].count()
        assert row.value == pytest.approx(expected, abs=1e-9)
        assert row.n == count
        checked += 1
    assert checked == len(scores) > 200
    assert set(scores["bin"]) == {"all", *table["bin"]}


def test_columns_order_and_directions() -> None:
    scores = summarise(_images(), [], 0)
    assert tuple(scores.columns) == SCORE_COLUMNS
    sets = scores[["method", "level"]].drop_duplicates()
    assert list(sets["method"]) == ["ours", "ours", "theirs"]
    assert list(sets["level"][:2]) == [0.0, 0.5]
    assert math.isnan(sets["level"].iloc[2])
    first = scores[(scores["method"] == "ours") & (scores["level"] == 0) & (scores["region"] == "hole")]
    metrics = list(dict.fromkeys(first["metric"]))
    assert metrics == ["psnr", "psnr_pooled", "ssim", "l1", "hedps", "edge_f_drawn", "chamfer_px", "edge_density"]
    bins = list(first[first["metric"] == "ssim"]["bin"])
    assert bins == ["all", *sorted(bins[1:])]
    for row in scores.itertuples():
        assert row.higher_is_better is METRICS[row.metric].higher_is_better


def test_intervals_are_those_of_the_values_and_stay_in_the_range_of_the_metric() -> None:
    per_image = _images()
    scores = summarise(per_image, [], 5)
    column = per_image[(per_image["method"] == "theirs") & (per_image["region"] == "hole")]["edge_f_drawn"].dropna()
    cell = _cell(scores, "edge_f_drawn", "hole")
    assert (cell["ci_low"], cell["ci_high"]) == pytest.approx(bootstrap_interval(column, 5, "scores"), abs=1e-12)
    for row in scores.dropna(subset="ci_low").itertuples():
        metric = METRICS[row.metric]
        assert metric.lowest <= row.ci_low <= row.value + 1e-9
        assert row.value - 1e-9 <= row.ci_high <= metric.highest
    few = per_image[per_image["id"].isin(["p000", "p001"])].assign(ssim=[0.5, 0.99] * 9)
    cut = _cell(summarise(few, [], 0), "ssim")
    assert (cut["ci_low"], cut["ci_high"]) == (-1.0, 1.0)


def test_exact_images_count_as_100_db_and_are_named() -> None:
    scores = summarise(_images(), [], 0)
    assert _cell(scores, "psnr")["note"] == "1 exact image counted as 100 dB"
    assert _cell(scores, "psnr_pooled")["note"] == ""
    ring = _cell(scores, "psnr", "ring")
    assert ring["note"] == "40 exact images counted as 100 dB; the composite keeps the pixels of the ring"
    assert (ring["value"], ring["ci_low"], ring["ci_high"]) == (100, 100, 100)
    assert _cell(scores, "psnr_pooled", "ring")["value"] == 100
    assert np.isfinite(scores["value"]).all()


def test_pooled_psnr_by_hand() -> None:
    assert pooled_psnr(0.01) == pytest.approx(20)
    assert pooled_psnr(0.0) == pooled_psnr(-0.1) == pooled_psnr(1e-12) == 100
    two = _images().query("region == 'full' and method == 'theirs' and id in ('p000', 'p001')").assign(psnr=[20, 40])
    scores = summarise(two, [], 0)
    assert _cell(scores, "psnr")["value"] == 30
    pooled = _cell(scores, "psnr_pooled")
    assert pooled["value"] == pytest.approx(-10 * math.log10((0.01 + 0.0001) / 2))
    assert pooled["ci_low"] < pooled["value"] < pooled["ci_high"]


def test_few_images_are_noted_and_one_has_no_interval() -> None:
    scores = summarise(_images(), [], 0)
    counts = scores.set_index(["metric", "n"])
    assert all(("n < 30" in note) == (n < 30) for (_, n), note in counts["note"].items())
    single = summarise(_images(1), [], 0)
    assert (single["n"] == 1).all()
    assert single["ci_low"].isna().all()


def test_values_of_whole_sets_carry_n_and_no_interval() -> None:
    missing = "weights missing: dps weights get lpips-alex"
    rows = [
        SetScore("theirs", None, "fid", 40, 12.5, "n < 2048"),
        ("ours", 0.5, "kid", 40, -0.001, ""),
        ("ours", 0.5, "lpips_alex", 0, math.nan, missing),
    ]
    scores = summarise(_images(), rows, 0)
    fid = _cell(scores, "fid")
    assert (fid["n"], fid["value"], fid["note"], fid["higher_is_better"]) == (40, 12.5, "n < 2048", False)
    assert math.isnan(fid["level"])
    for name in ("fid", "kid", "lpips_alex"):
        assert scores[scores["metric"] == name][["ci_low", "ci_high"]].isna().all(axis=None)
    lpips = _cell(scores, "lpips_alex", method="ours")
    assert (lpips["n"], lpips["note"]) == (0, missing)
    assert not any(scores["metric"] == "lpips_vgg")


def test_the_same_table_in_any_order_gives_the_same_bytes() -> None:
    per_image = _images()
    first = summarise(per_image, [], 0)
    assert summarise(per_image.sample(frac=1, random_state=1), [], 0).to_csv() == first.to_csv()
    pd.testing.assert_frame_equal(summarise(_read_back(per_image), [], 0), first, rtol=1e-12)
    other_seed = summarise(per_image, [], 1)
    assert other_seed["value"].equals(first["value"])
    assert not other_seed["ci_low"].equals(first["ci_low"])


def test_the_table_that_was_given_stays_as_it_is() -> None:
    per_image = _images()
    before = per_image.copy(deep=True)
    summarise(per_image, [], 0)
    pd.testing.assert_frame_equal(per_image, before)


@pytest.mark.parametrize(
    ("row", "message"), [(("m", None, "fidd", 3, 1.0, ""), "fidd"), (SetScore("m", 0.0, "fid", 3, 1.0, "", "x"), "'x'")]
)
def test_wrong_values_of_sets(row: tuple[Any, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        summarise(_images(2), [row], 0)
