"""The sentence on top of a report and the plot of differences, from the paired tests."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from dpseval.report.answer import answer_question, draw_forests
from dpseval.report.verdicts import gather_verdicts
from dpseval.statistics.summary import comparisons

COUNT = 40


def make_table(**gains: float) -> pd.DataFrame:
    """PSNR and hedps of each method, better by its gain, with the noise of each photo shared."""
    generator = np.random.default_rng(0)
    photo = generator.normal(size=COUNT)
    rows = []
    for method, gain in gains.items():
        own = 0.5 * generator.normal(size=COUNT)
        for index in range(COUNT):
            rows.append(
                {"id": f"{index:02d}", "method": method, "level": None, "region": "full", "hole_ratio": 0.3,
                 "psnr": 25 + photo[index] + own[index] + gain, "hedps": 0.4 - 0.02 * (own[index] + gain)}
            )  # fmt: skip
    return pd.DataFrame(rows)


def test_the_sentence_is_that_of_the_tests():
    table = make_table(ours=2.0, theirs=0.0, floor=-4.0)
    tests = comparisons(table, seed=0)
    row = tests[(tests["metric"] == "hedps") & (tests["other_method"] == "theirs")].iloc[0]
    answer = answer_question(gather_verdicts(tests))
    assert answer.startswith("ours beats theirs by ")
    assert "and every other method too" in answer
    number = float(re.search(r"by (\S+) in HEDPS", answer)[1])
    low, high = (float(found) for found in re.search(r"interval (\S+) to (\S+),", answer).groups())
    assert number == pytest.approx(-row["difference"], abs=1e-4)
    assert (low, high) == pytest.approx((-row["ci_high"], -row["ci_low"]), abs=1e-4)
    assert f"better in {100 * row['win_rate']:.0f} % of {COUNT} photos" in answer
    assert "p < 0.0001" in answer


def test_equal_methods_are_not_told_apart():
    answer = answer_question(gather_verdicts(comparisons(make_table(ours=0.02, theirs=0.0), seed=0)))
    assert answer.startswith("No method is clearly better: ")
    assert re.search(r"p = 0\.\d+", answer)


def test_a_few_photos_cannot_separate_many_sets():
    table = make_table(ours=2.0, theirs=0.0, floor=-4.0, other=-6.0, last=-8.0)
    answer = answer_question(gather_verdicts(comparisons(table[table["id"] < "07"], seed=0)))  # 10 pairs / 64 > .05
    assert answer.startswith("7 photos are too few to separate 5 sets: ours leads theirs by ")


def test_metrics_that_disagree_are_named():
    table = make_table(ours=2.0, theirs=0.0)
    table["psnr"] = table["psnr"].where(table["method"] == "ours", table["psnr"] + 9)
    answer = answer_question(gather_verdicts(comparisons(table, seed=0)))
    assert answer.startswith("ours beats theirs by ")
    assert answer.endswith(" theirs is best in PSNR.")


def test_a_tie_with_another_level_does_not_hide_that_other_methods_are_beaten():
    table = make_table(ours=2.0, theirs=0.0)
    twin = table[table["method"] == "ours"].assign(level=0.5, hedps=lambda rows: rows["hedps"] + 1e-7)
    table.loc[table["method"] == "ours", "level"] = 0.0
    answer = answer_question(gather_verdicts(comparisons(pd.concat([table, twin]), seed=0)))
    assert " beats theirs by " in answer


def test_without_tests_there_is_no_sentence():
    assert answer_question([]) == ""
    assert draw_forests([]) == []


def test_the_plot_has_a_row_for_every_other_set_and_hollow_marks_for_ties():
    verdicts = gather_verdicts(comparisons(make_table(ours=2.0, theirs=0.0, near=1.999), seed=0))
    charts = draw_forests(verdicts)
    assert len(charts) == 2
    assert "HED perceptual distance" in charts[0].title
    assert charts[0].svg.count("over ") >= 4
    assert "hollow" in charts[0].svg
