"""The files of a study's report: README.md for people, all numbers as CSV and JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import pandas as pd

from dpsdata.runtime.files import write_text_atomic
from dpseval.metrics.names import METRICS
from dpseval.report.head_table import build_head_table
from dpseval.report.tables import MARK_NOTE, escape_markdown, head_table_lines, table_lines
from dpseval.report.verdicts import gather_verdicts, read_comparisons
from dpseval.study.answers import Answer
from dpseval.study.conditions import ConditionScores
from dpseval.study.config import StudyConfig

FIGURE_FILE: Final = "faces.jpg"
_REGIONS: Final = ("hole", "full")
_ABOUT: Final = ("origin", "images_seen", "parameter_count", "width", "published_width", "reads", "licence")


@dataclass(frozen=True)
class StudyMetadata:
    """What the report states besides scores and answers.

    Attributes:
        data: dataset, splits, number of photos.
        methods: of each that ran: origin of the weights, images seen, parameters, width, inputs, licence.
        missing_methods: of each that could not run, why.
        missing: by metric, why it has no values.
        chosen: by kind of sketch, the level of Deep Plastic Surgery.
    """

    data: dict[str, Any]
    methods: dict[str, Any]
    missing_methods: dict[str, str]
    missing: dict[str, str]
    chosen: dict[str, float]


def write_study(
    config: StudyConfig,
    metadata: StudyMetadata,
    answers: Sequence[Answer],
    conditions: Sequence[ConditionScores],
    scores: pd.DataFrame,
) -> None:
    """Write README.md, scores.csv, answers.csv and study.json into the folder of the report.

    Raises:
        EnvironmentFailure: a file cannot be written.
    """
    rows = pd.DataFrame([asdict(answer) for answer in answers])
    found = json.dumps({**asdict(metadata), "answers": [asdict(answer) for answer in answers]})
    # A value that there is too little data for is null, since JSON knows no NaN.
    text = json.dumps(json.loads(found, parse_constant=lambda _: None), indent=1, sort_keys=True)
    write_text_atomic(config.out / "scores.csv", scores.to_csv(index=False, lineterminator="\n"))
    write_text_atomic(config.out / "answers.csv", rows.to_csv(index=False, lineterminator="\n"))
    write_text_atomic(config.out / "README.md", "\n".join(_markdown(config, metadata, answers, conditions)))
    write_text_atomic(config.out / "study.json", text + "\n")


def _markdown(
    config: StudyConfig, metadata: StudyMetadata, answers: Sequence[Answer], conditions: Sequence[ConditionScores]
) -> list[str]:
    data = metadata.data
    levels = ", ".join(f"{name} {level:g}" for name, level in metadata.chosen.items())
    lines = [
        f"# {escape_markdown(config.title)}",
        "",
        f"{data['photos']} photos of {data['size']} px from the split {data['split']} of dataset "
        f"{data['root_hash'][:12]}. Distances of poor sketches are in px of a 256 px photo. Scores are means over the "
        f"photos, with 95 % intervals. {MARK_NOTE}",
        "",
        f"The level of Deep Plastic Surgery was chosen on the split {data['choose_split']}, by the HED perceptual "
        f"distance, for each kind of sketch: {levels}.",
        "",
    ]
    if metadata.missing:
        names = ", ".join(METRICS[name].title if name in METRICS else name for name in sorted(metadata.missing))
        lines += [f"Not measured, since weights are missing: {names}. They are left out, not guessed.", ""]
    for name, reason in metadata.missing_methods.items():
        lines += [f"Not run: {name}: {escape_markdown(reason)}", ""]
    if config.shown:
        text = "Photo, hole with the sketch that was given, and what the methods paint."
        lines += [f"![{text}]({FIGURE_FILE})", "", text, ""]
    lines += ["All numbers: [scores.csv](scores.csv), [answers.csv](answers.csv), [study.json](study.json).", ""]
    for question in config.questions:
        lines += _answer_lines(question.text, [answer for answer in answers if answer.question == question.name])
    for item in conditions:
        verdicts = gather_verdicts(read_comparisons(item.results))
        tables = [build_head_table(item.scores, verdicts, region) for region in _REGIONS]
        lines += [f"## Masks {item.condition.masks}, sketch {item.condition.sketch.name}", ""]
        lines += head_table_lines([table for table in tables if table.columns], "###")
    about = [
        [escape_markdown(str(part)) for part in (name, *values.values())] for name, values in metadata.methods.items()
    ]
    return [*lines, "## What was compared", "", *table_lines(("method", *_ABOUT), about), ""]


def _answer_lines(text: str, answers: Sequence[Answer]) -> list[str]:
    if not answers:
        return []
    heads = (
        "masks",
        "sketch",
        "metric",
        "left",
        "right",
        "left mean",
        "right mean",
        "difference",
        "p (Holm)",
        "answer",
    )
    rows = []
    for item in answers:
        digits = 2 if item.metric == "psnr" else 4
        difference = f"{item.difference:+.{digits}f}"
        if math.isfinite(item.ci_low):  # one photo has no interval
            difference += f" ({item.ci_low:+.{digits}f} to {item.ci_high:+.{digits}f})"
        means = (f"{item.left_value:.{digits}f}", f"{item.right_value:.{digits}f}")
        names = (item.masks, item.sketch, METRICS[item.metric].title, item.left, item.right)
        rows.append((*names, *means, difference, f"{item.p_holm:.2g}", item.outcome))
    counts = {outcome: sum(item.outcome == outcome for item in answers) for outcome in ("yes", "no", "not separated")}
    note = (
        f"{counts['yes']} tests say yes, {counts['no']} no, {counts['not separated']} are not separated. The "
        "difference is left minus right on the same photos, in the hole."
    )
    return [f"## {escape_markdown(text)}", "", note, "", *table_lines(heads, rows), ""]


def describe_methods(config: StudyConfig, item: ConditionScores) -> dict[str, Any]:
    """What `run.json` of the outputs states of each method that ran."""
    stored = json.loads((item.outputs / "run.json").read_text("utf-8"))["methods"]
    return {
        name: {key: entry["about"].get(key) for key in _ABOUT}
        for name, entry in sorted(stored.items())
        if name in config.methods and isinstance(entry, dict) and isinstance(entry.get("about"), dict)
    }
