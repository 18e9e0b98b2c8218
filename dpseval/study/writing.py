"""The files of a study's report: README.md for people, all numbers as CSV and JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpsdata.contracts import level_folder
from dpsdata.dataset.torch_dataset import EditDataset
from dpsdata.images.codec import encode_jpeg, read_photo, tensor_to_photo
from dpsdata.runtime.files import write_text_atomic
from dpsdata.sketch.reading import read_sketch_file
from dpseval.metrics.names import METRICS
from dpseval.report.head_table import build_head_table
from dpseval.report.tables import MARK_NOTE, escape_markdown, head_table_lines, table_lines
from dpseval.report.verdicts import gather_verdicts, read_comparisons
from dpseval.study.answers import Answer
from dpseval.study.conditions import ConditionScores
from dpseval.study.config import StudyConfig

_SIDE_PX = 160
_GAP_PX = 4
_CAPTION_PX = 22
_HOLE_RGB = (255, 214, 102)

Panel = tuple[str, float | None]


def draw_figure(
    dataset: EditDataset, outputs: Path, sketches: Path | None, ids: Sequence[str], panels: Sequence[Panel]
) -> bytes:
    """Draw one row for each photo: the photo, hole and sketch over it, then each method's result.

    Args:
        dataset: photos and masks.
        outputs: folder of outputs.
        sketches: folder of ID.png; None for the stored ones.
        ids: of the photos.
        panels: method and level of each result.

    Returns:
        A JPEG file.
    """
    labels = ["photo", "hole, sketch", *(name if at is None else f"{name} {at:g}" for name, at in panels)]
    rows = [_captions(labels)]
    for name in ids:
        sample = dataset[dataset.ids.index(name)]
        photo, hole = tensor_to_photo(sample["photo"][None])[0], sample["mask"][0].numpy() > 0
        stored = sample["sketch"][0].numpy() > 0
        lines = stored if sketches is None else read_sketch_file(sketches / f"{name}.png").pixels < 128
        drawn = photo.copy()
        drawn[hole] = _HOLE_RGB
        drawn[hole & lines] = 0
        results = [read_photo(outputs / method / _folder(at) / f"{name}.png") for method, at in panels]
        rows.append(np.hstack([_enlarge(picture) for picture in (photo, drawn, *results)]))
    return encode_jpeg(np.vstack(rows), 88)


def _folder(level: float | None) -> str:
    return "none" if level is None else level_folder(level)


def _enlarge(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    large = cv2.resize(picture, (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_CUBIC)
    return np.pad(large, ((0, _GAP_PX), (0, _GAP_PX), (0, 0)), constant_values=255)


def _captions(labels: Sequence[str]) -> NDArray[np.uint8]:
    row = np.full((_CAPTION_PX, len(labels) * (_SIDE_PX + _GAP_PX), 3), 255, np.uint8)
    for index, label in enumerate(labels):
        place = (index * (_SIDE_PX + _GAP_PX) + 2, _CAPTION_PX - 8)
        cv2.putText(row, label, place, cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
    return row


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
