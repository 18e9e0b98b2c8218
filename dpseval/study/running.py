"""A study from start to end: levels chosen on one split, cells scored on another, claims tested, files written."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from dpsdata.atomic import write_bytes_atomic, write_failure, write_text_atomic
from dpsdata.build.manifest import read_dataset
from dpsdata.contracts import UsageError
from dpsdata.dataset import EditDataset
from dpseval.image_table import values_by_set
from dpseval.level_trend import level_trend
from dpseval.statistics import bootstrap_interval
from dpseval.study.answers import Answer, answer_questions
from dpseval.study.cells import CellScores, run_cell
from dpseval.study.config import OWN, Cell, StudyConfig
from dpseval.study.contrast import contrast_ratios
from dpseval.study.figure import draw_figure
from dpseval.study.writing import StudyFacts, write_study

_CHOSEN_BY = "hedps"
_FOLLOWED = "edge_f_drawn"


@dataclass(frozen=True, eq=False)
class Study:
    """What a study found.

    Attributes:
        chosen: by kind of sketch, the level that was chosen.
        answers: the tests.
        scores: all cells' scores in the hole and over the whole photo, one row for each number.
    """

    chosen: dict[str, float]
    answers: list[Answer]
    scores: pd.DataFrame


def run_study(config: StudyConfig, announce: Callable[[str], None] | None = None) -> Study:
    """Run or go on with a study, and write its report.

    Raises:
        MissingError: no method has weights, or no dataset is there.
        PairingError: findings of the pairing.
        UsageError: an option does not fit, or a folder holds a run of other settings.
        EnvironmentFailure: a folder cannot be written.
    """
    say = announce or (lambda line: None)
    dataset = read_dataset(config.built)
    _check_shown(config)
    chosen = _choose_levels(config, say)
    found = [run_cell(config, cell, config.split, config.methods, say) for cell in config.cells]
    answers = answer_questions(found, chosen, config.seed)
    scores = pd.concat([_name_cell(item) for item in found], ignore_index=True)
    facts = StudyFacts(
        {key: dataset[key] for key in ("root_hash", "size")}
        | {"split": config.split, "photos": int(found[0].results["count"]), "choose_split": config.choose_split},
        _about(found[0]),
        found[0].results["missing_weights"],
        chosen,
        [_trend(item, config.seed) for item in found],
        [_contrast(config, item, chosen[item.cell.sketch.name]) for item in found],
    )
    try:
        config.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_failure(config.out, error) from error
    if config.shown:
        write_bytes_atomic(config.out / "faces.jpg", _figure(config, found, chosen))
    write_study(config, facts, answers, scores)
    text = json.dumps({**asdict(facts), "answers": [asdict(item) for item in answers]}, indent=1, sort_keys=True)
    write_text_atomic(config.out / "study.json", text + "\n")
    return Study(chosen, answers, scores)


def _check_shown(config: StudyConfig) -> None:
    ids = set(EditDataset(config.built, config.split).ids)
    missing = [name for name in config.shown if name not in ids]
    if missing:
        raise UsageError(f"show: the split {config.split} of {config.built} holds no {missing[0]}")


def _choose_levels(config: StudyConfig, say: Callable[[str], None]) -> dict[str, float]:
    """By kind of sketch, the level with the best mean on the other split, for the first mask family."""
    masks = config.cells[0].masks
    chosen = {}
    for case in dict.fromkeys(cell.sketch for cell in config.cells):
        cell = run_cell(config, Cell(masks, case), config.choose_split, ("dps",), say)
        means = {
            float(level): float(np.nanmean(values))
            for (method, level), values in values_by_set(cell.per_image, _CHOSEN_BY, "hole").items()
            if method == "dps" and level is not None
        }
        chosen[case.name] = min(means, key=lambda level: (means[level], level))
    return chosen


def _name_cell(item: CellScores) -> pd.DataFrame:
    scores = item.scores[item.scores["bin"] == "all"].drop(columns="bin")
    scores.insert(0, "masks", item.cell.masks)
    scores.insert(1, "sketch", item.cell.sketch.name)
    return scores


def _about(item: CellScores) -> dict[str, Any]:
    stored = json.loads((item.outputs / "run.json").read_text("utf-8"))["methods"]
    names = ("origin", "images_seen", "parameter_count", "width", "published_width", "reads", "licence")
    return {
        name: {key: entry["about"].get(key) for key in names}
        for name, entry in sorted(stored.items())
        if isinstance(entry, dict) and isinstance(entry.get("about"), dict)
    }


def _trend(item: CellScores, seed: int) -> dict[str, Any]:
    trend = level_trend(item.per_image, "dps", _FOLLOWED, "hole", seed)
    return {
        "cell": item.cell.name,
        "levels": list(trend.levels),
        "means": list(trend.means),
        "n": min(trend.n),
        "direction": trend.direction,
        "significant": trend.significant,
    }


def _contrast(config: StudyConfig, item: CellScores, level: float) -> dict[str, Any]:
    ratios = contrast_ratios(_dataset(config, item), item.outputs, "dps", level)
    low, high = bootstrap_interval(ratios, config.seed, "contrast")
    mean = float(np.mean(ratios))
    return {"cell": item.cell.name, "level": level, "n": len(ratios), "mean": mean, "ci_low": low, "ci_high": high}


def _figure(config: StudyConfig, found: list[CellScores], chosen: dict[str, float]) -> bytes:
    """The first poor sketch, since there the levels differ most; the first cell where there is none."""
    item = next((cell for cell in found if cell.cell.sketch.name != OWN), found[0])
    stored = item.cell.sketch.name == OWN
    folder = config.built / "sketches" if stored else config.work / "sketches" / config.split / item.cell.sketch.name
    sets = list(values_by_set(item.per_image, "psnr", "hole"))
    level = chosen[item.cell.sketch.name]
    mine = [("dps", at) for at in sorted({0.0, 0.5, 1.0} & set(config.levels))]
    others = [(name, at) for name, at in sets if name not in ("dps", "dps-g") and at in (None, level)]
    return draw_figure(_dataset(config, item), item.outputs, folder, config.shown, [*mine, *others])


def _dataset(config: StudyConfig, item: CellScores) -> EditDataset:
    return EditDataset(config.built, config.split, item.cell.masks)
