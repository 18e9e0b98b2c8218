"""The claims of the field, each tested on the same photos with an interval and a paired test."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dpseval.metrics.names import METRICS
from dpseval.statistics.intervals import SIGNIFICANCE, holm, paired_difference
from dpseval.statistics.summary import values_by_set
from dpseval.study.conditions import ConditionScores
from dpseval.study.config import Question, SetName, say_set

Outcome = Literal["yes", "no", "not separated"]

_REGION = "hole"
_Sets = Mapping[tuple[str, float | None], NDArray[np.float64]]


@dataclass(frozen=True)
class Answer:
    """One test.

    Attributes:
        question: its name.
        masks: mask family.
        sketch: kind of sketch.
        metric: in the hole.
        left: the set of the claim.
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


def answer_questions(
    conditions: list[ConditionScores], questions: Sequence[Question], chosen: Mapping[str, float], seed: int
) -> list[Answer]:
    """Test every claim in every condition that has what it needs.

    Args:
        conditions: what was found.
        questions: the claims.
        chosen: by kind of sketch, the level of Deep Plastic Surgery that was chosen on another split.
        seed: of the intervals.

    Returns:
        In the order of the questions, then of the conditions.
    """
    done: list[Answer] = []
    for question in questions:
        own = [
            answer
            for scored in conditions
            for answer in _ask(scored, question, chosen[scored.condition.sketch.name], seed)
        ]
        corrected = holm([answer.p_value for answer in own])
        done += [_decide(answer, p_holm, question.worse) for answer, p_holm in zip(own, corrected, strict=True)]
    return done


def _ask(scored: ConditionScores, question: Question, level: float, seed: int) -> Iterator[Answer]:
    for wanted in question.metrics:
        metric, _, sketch = wanted.partition(":")
        if sketch not in ("", scored.condition.sketch.name):
            continue
        sets = values_by_set(scored.per_image, metric, _REGION)
        pairs = [(_resolve(left, level), _resolve(right, level)) for left, right in question.pairs]
        for left, right in dict.fromkeys(pairs):
            if left in sets and right in sets and left != right:
                yield _test(scored, question.name, metric, left, right, sets, seed)


def _resolve(name: SetName, chosen: float) -> tuple[str, float | None]:
    method, level = name
    return method, chosen if isinstance(level, str) else level


def _test(
    scored: ConditionScores,
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
        scored.condition.masks,
        scored.condition.sketch.name,
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


def _decide(answer: Answer, p_holm: float, is_worse: bool) -> Answer:
    higher = (METRICS[answer.metric].higher_is_better is not False) != is_worse
    outcome: Outcome = "not separated"
    if p_holm < SIGNIFICANCE and answer.ci_low > 0:
        outcome = "yes" if higher else "no"
    elif p_holm < SIGNIFICANCE and answer.ci_high < 0:
        outcome = "no" if higher else "yes"
    return replace(answer, p_holm=p_holm, outcome=outcome)
