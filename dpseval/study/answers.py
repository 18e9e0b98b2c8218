"""The claims of the field, each tested on the same photos with an interval and a paired test."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from dpseval.metrics.names import METRICS
from dpseval.statistics.image_table import values_by_set
from dpseval.statistics.intervals import SIGNIFICANCE, holm, paired_difference
from dpseval.study.conditions import CellScores
from dpseval.study.config import OWN

Outcome = Literal["yes", "no", "not separated"]

QUESTIONS: Final = {
    "f-over-g": "Does F's photo beat G's own?",
    "level-helps": "Does level 1 come nearer to the photo than level 0?",
    "level-costs": "Does level 1 follow the drawing less than level 0?",
    "refining-helps-scfegan": "Does G's refined sketch, at the level chosen for dps and at 1, help SC-FEGAN?",
    "dps-over-rival": "Does Deep Plastic Surgery beat the others, at the level chosen on the other split?",
}
_REALISM = ("psnr", "hedps")
_REGION = "hole"
_Sets = Mapping[tuple[str, float | None], NDArray[np.float64]]


@dataclass(frozen=True)
class Answer:
    """One test.

    Attributes:
        question: a key of `QUESTIONS`.
        masks: mask family.
        sketch: kind of sketch.
        metric: in the hole.
        left: the set that should be better, or for `level-costs` worse.
        right: the set that it is compared with.
        n: photos.
        left_value: mean.
        right_value: mean.
        difference: mean of left minus right.
        ci_low: low end of its 95 % interval.
        ci_high: high end.
        p_value: Wilcoxon's signed-rank test.
        p_holm: the same after Holm's correction over all tests of the question.
        outcome: `yes` or `no` where interval and corrected p-value leave out chance.
    """

    question: str
    masks: str
    sketch: str
    metric: str
    left: str
    right: str
    n: int
    left_value: float
    right_value: float
    difference: float
    ci_low: float
    ci_high: float
    p_value: float
    p_holm: float = 1.0
    outcome: Outcome = "not separated"


def answer_questions(cells: list[CellScores], chosen: Mapping[str, float], seed: int) -> list[Answer]:
    """Test every claim in every cell that has what it needs.

    Args:
        cells: what was found.
        chosen: by kind of sketch, the level of Deep Plastic Surgery that was chosen on another split.
        seed: of the intervals.

    Returns:
        In the order of `QUESTIONS`, then of the cells.
    """
    asked = [answer for cell in cells for answer in _ask(cell, chosen[cell.cell.sketch.name], seed)]
    done: list[Answer] = []
    for question in QUESTIONS:
        own = [answer for answer in asked if answer.question == question]
        corrected = holm([answer.p_value for answer in own])
        done += [_judge(answer, p_holm) for answer, p_holm in zip(own, corrected, strict=True)]
    return done


def say_set(method: str, level: float | None) -> str:
    """A set in words."""
    return method if level is None else f"{method} at {level:g}"


def _ask(cell: CellScores, level: float, seed: int) -> Iterator[Answer]:
    for metric in (*_REALISM, "edge_f_drawn"):
        sets = values_by_set(cell.per_image, metric, _REGION)

        def test(
            question: str, left: tuple[str, float | None], right: tuple[str, float | None], sets: _Sets = sets
        ) -> Iterator[Answer]:
            if left in sets and right in sets and left != right:
                yield _test(cell, question, metric, left, right, sets, seed)  # noqa: B023 (used at once)

        if metric in _REALISM:
            for at in sorted({0.0, level, 1.0}):
                yield from test("f-over-g", ("dps", at), ("dps-g", at))
            yield from test("level-helps", ("dps", 1.0), ("dps", 0.0))
            for at in sorted({level, 1.0}):
                yield from test("refining-helps-scfegan", ("scfegan-refined", at), ("scfegan", None))
        elif cell.cell.sketch.name == OWN:
            yield from test("level-costs", ("dps", 1.0), ("dps", 0.0))
        if metric in _REALISM or cell.cell.sketch.name == OWN:  # to follow a poor drawing is no merit
            for method, at_level in sets:
                if method not in ("dps", "dps-g") and at_level in (None, level):
                    yield from test("dps-over-rival", ("dps", level), (method, at_level))


def _test(
    cell: CellScores,
    question: str,
    metric: str,
    left: tuple[str, float | None],
    right: tuple[str, float | None],
    sets: _Sets,
    seed: int,
) -> Answer:
    higher = METRICS[metric].higher_is_better is not False
    found = paired_difference(sets[left], sets[right], seed, "study", higher)
    both = ~(np.isnan(sets[left]) | np.isnan(sets[right]))
    return Answer(
        question,
        cell.cell.masks,
        cell.cell.sketch.name,
        metric,
        say_set(*left),
        say_set(*right),
        found.n,
        float(sets[left][both].mean()) if found.n else float("nan"),
        float(sets[right][both].mean()) if found.n else float("nan"),
        found.mean,
        found.ci_low,
        found.ci_high,
        found.p_value,
    )


def _judge(answer: Answer, p_holm: float) -> Answer:
    higher = (METRICS[answer.metric].higher_is_better is not False) != (answer.question == "level-costs")
    outcome: Outcome = "not separated"
    if p_holm < SIGNIFICANCE and answer.ci_low > 0:
        outcome = "yes" if higher else "no"
    elif p_holm < SIGNIFICANCE and answer.ci_high < 0:
        outcome = "no" if higher else "yes"
    return replace(answer, p_holm=p_holm, outcome=outcome)
