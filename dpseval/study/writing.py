"""The files of a study's report: README.md for people, all numbers as CSV and JSON."""

from __future__ import annotations

import json
import math
import statistics
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
from dpseval.report.tables import escape_markdown, table_lines
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
_SHOWN: Final = ("psnr", "hedps")
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
    write_text_atomic(config.out / "README.md", format_readme(config, metadata, answers, scores))
    write_text_atomic(config.out / "study.json", text + "\n")


def format_readme(config: StudyConfig, metadata: StudyMetadata, answers: Sequence[Answer], scores: pd.DataFrame) -> str:
    """Two pages of Markdown: the claims with their counts, the scores of each condition, what was compared.

    Args:
        config: title, questions, and the photos that may be shown.
        metadata: as in `study.json`.
        answers: as in `answers.csv`.
        scores: the columns of the study's `scores.csv`.
    """
    data = metadata.data
    levels = ", ".join(f"{name} {level:g}" for name, level in metadata.chosen.items())
    lines = [
        f"# {escape_markdown(config.title)}",
        "",
        f"{data['photos']} photos of {data['size']} px from the split {data['split']} of dataset "
        f"{data['root_hash'][:12]}. Sketch errors are in px of a 256 px photo. The level of Deep Plastic Surgery "
        f"was chosen on the split {data['choose_split']}, by the HED perceptual distance: {levels}. Each test, with "
        "its interval and p-value: [answers.csv](answers.csv); all scores with intervals: [scores.csv](scores.csv); "
        "[study.json](study.json).",
        "",
    ]
    if metadata.missing:
        names = ", ".join(METRICS[name].title if name in METRICS else name for name in sorted(metadata.missing))
        lines += [f"Not measured, since weights are missing: {names}.", ""]
    for name, reason in metadata.missing_methods.items():
        lines += [f"Not run: {name}: {escape_markdown(reason)}", ""]
    if config.shown:
        text = "Photo, hole with the sketch that was given, and what the methods paint."
        lines += [f"![{text}]({FIGURE_FILE})", "", text, ""]
    lines += ["## Claims, tested on the same photos in the hole", "", *_claim_lines(config, answers), ""]
    lines += ["## Scores in the hole", "", *_score_lines(metadata, scores), ""]
    about = [
        [escape_markdown(str(part)) for part in (name, *(values.get(key) for key in _ABOUT))]
        for name, values in metadata.methods.items()
    ]
    return "\n".join([*lines, "## What was compared", "", *table_lines(("method", *_ABOUT), about), ""])


def _claim_lines(config: StudyConfig, answers: Sequence[Answer]) -> list[str]:
    heads = ("claim", "metric", "yes", "no", "not separated", "difference, median (least to most)")
    rows = []
    for question in config.questions:
        own = [answer for answer in answers if answer.question == question.name]
        for metric in dict.fromkeys(answer.metric for answer in own):
            found = [answer for answer in own if answer.metric == metric]
            outcomes = [answer.outcome for answer in found]
            digits = 2 if metric == "psnr" else 3
            middle, *ends = (f(answer.difference for answer in found) for f in (statistics.median, min, max))
            spread = f"{middle:+.{digits}f} ({ends[0]:+.{digits}f} to {ends[1]:+.{digits}f})"
            counts = [str(outcomes.count(outcome)) for outcome in ("yes", "no", "not separated")]
            rows.append((escape_markdown(question.text), METRICS[metric].title, *counts, spread))
    return table_lines(heads, rows)


def _score_lines(metadata: StudyMetadata, scores: pd.DataFrame) -> list[str]:
    """PSNR and HED perceptual distance of each condition: `dps` at three levels, the others at the chosen one."""
    rows = scores[(scores["region"] == "hole") & scores["metric"].isin(_SHOWN) & scores["value"].notna()]
    keys = rows[["masks", "sketch", "method", "level", "metric"]].fillna({"level": -1.0})
    values: dict[tuple[Any, ...], float] = dict(
        zip(keys.itertuples(index=False, name=None), rows["value"].astype(float), strict=True)
    )
    methods = [name for name in dict.fromkeys(rows["method"]) if name != "dps"]
    sets = [("dps", "chosen"), ("dps", 0.0), ("dps", 1.0), *((name, "chosen") for name in methods)]
    lines = []
    for masks, sketch in rows[["masks", "sketch"]].drop_duplicates().itertuples(index=False):
        cells = []
        for method, level in sets:
            at = metadata.chosen[sketch] if level == "chosen" else level
            key = (masks, sketch, method)
            psnr, hedps = (
                values.get((*key, at, metric), values.get((*key, -1.0, metric), math.nan)) for metric in _SHOWN
            )
            cells.append("–" if math.isnan(psnr + hedps) else f"{psnr:.2f} / {hedps:.3f}")
        lines.append((masks, sketch, *cells))
    heads = ("masks", "sketch", *(f"dps, {at:g}" if not isinstance(at, str) else f"{name}, {at}" for name, at in sets))
    levelled = set(rows.loc[rows["level"].notna(), "method"])
    heads = tuple(head.removesuffix(", chosen") if head.partition(",")[0] not in levelled else head for head in heads)
    note = "PSNR in dB (higher is better) / HED perceptual distance (lower is better)."
    return [note, "", *table_lines(heads, lines)]


def describe_methods(config: StudyConfig, item: ConditionScores) -> dict[str, Any]:
    """What `run.json` of the outputs states of each method that ran."""
    stored = json.loads((item.outputs / "run.json").read_text("utf-8"))["methods"]
    return {
        name: {key: entry["about"].get(key) for key in _ABOUT}
        for name, entry in sorted(stored.items())
        if name in config.methods and isinstance(entry, dict) and isinstance(entry.get("about"), dict)
    }
