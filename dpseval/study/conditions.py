"""Runs the conditions of a study, each into outputs and a single report of its own; what is done is not done again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from dpsdata.contracts import MissingError
from dpsdata.dataset.manifest import read_dataset
from dpsdata.dataset.perturb import RECORD_FILE, perturb_folder
from dpsdata.runtime.files import write_text_atomic
from dpsdata.weights.store import sha256_file
from dpseval.scoring.networks import check_weights
from dpseval.statistics.summary import prepare_image_table
from dpseval.study.config import OWN, Condition, StudyConfig
from dpseval.sweep import SweepConfig, run_sweep, weights_digests

_STAMP = "cell.json"
_SCORED = ("per_image.csv", "scores.csv", "scores.json")


@dataclass(frozen=True, eq=False)
class ConditionScores:
    """What was found in one condition.

    Attributes:
        condition: which one.
        outputs: its folder of outputs.
        per_image: prepared, see `prepare_image_table`.
        scores: the columns of `scores.csv`.
        results: what `scores.json` holds.
    """

    condition: Condition
    outputs: Path
    per_image: pd.DataFrame
    scores: pd.DataFrame
    results: dict[str, Any]


def run_condition(
    config: StudyConfig, condition: Condition, split: str, methods: tuple[str, ...], announce: Callable[[str], None]
) -> ConditionScores:
    """Predict and score one condition.

    Args:
        config: of the study.
        condition: which one.
        split: name of the split.
        methods: to run.
        announce: called with lines that tell how far the work is.

    Raises:
        MissingError: no method has weights, or the dataset is missing.
        PairingError: findings of the pairing.
        UsageError: the folder holds a run of other settings.
    """
    sketches = prepare_sketches(config, condition, split, announce)
    sweep = plan_sweep(config, condition, split, methods, sketches)
    report = sweep.report
    if not _is_scored(sweep):
        announce(f"{split}: {condition.name}")
        weights = weights_digests(sweep)  # those of now: what replaces them while a condition runs makes it run again
        run_sweep(sweep, announce)
        stamp = _stamp(sweep, weights)
        write_text_atomic(report / _STAMP, json.dumps(stamp, indent=2, sort_keys=True) + "\n")
    else:
        announce(f"{split}: {condition.name} was there")
    per_image = prepare_image_table(pd.read_csv(report / "per_image.csv", dtype={"id": str}))
    scores = pd.read_csv(report / "scores.csv", keep_default_na=True)
    return ConditionScores(
        condition, sweep.outputs_folder, per_image, scores, json.loads((report / "scores.json").read_text("utf-8"))
    )


def is_condition_done(config: StudyConfig, condition: Condition, split: str, methods: tuple[str, ...]) -> bool:
    """Whether `run_condition` would only read what is there; the condition's sketches must be made already."""
    sketches = None if condition.sketch.name == OWN else _sketch_folder(config, condition, split)
    return _is_scored(plan_sweep(config, condition, split, methods, sketches))


def plan_sweep(
    config: StudyConfig, condition: Condition, split: str, methods: tuple[str, ...], sketches: Path | None = None
) -> SweepConfig:
    """What one condition runs; raises UsageError where methods or weights make no sense."""
    return SweepConfig(
        built=config.built,
        report=config.work / "reports" / split / condition.name,
        methods=methods,
        masks=condition.masks,
        levels=config.levels,
        outputs=config.work / "outputs" / split / condition.name,
        sketches=sketches,
        split=split,
        weights={name: path for name, path in config.weights.items() if split == config.split or name in methods},
        batch_size=config.batch_size,
        seed=config.seed,
        score=replace(config.score, seed=config.seed),
    )


def prepare_sketches(
    config: StudyConfig, condition: Condition, split: str, announce: Callable[[str], None]
) -> Path | None:
    """Make what poor sketches of a condition are not there; return their folder, None for the stored ones.

    Raises:
        MissingError: a stored sketch cannot be read.
        UsageError: the folder holds sketches of other settings.
    """
    if condition.sketch.name == OWN:
        return None
    size = int(read_dataset(config.built)["size"])
    folder = _sketch_folder(config, condition, split)
    counts = perturb_folder(config.built, folder, condition.sketch.perturbation(size, config.seed), split)
    if counts.failures:
        name, reason = counts.failures[0]
        raise MissingError(f"{name}: {reason}; run `dpsdata verify {config.built}`")
    if counts.done_count:
        announce(f"{folder}: {counts.done_count} sketches")
    return folder


def _sketch_folder(config: StudyConfig, condition: Condition, split: str) -> Path:
    return config.work / "sketches" / split / condition.sketch.name


def _is_scored(sweep: SweepConfig) -> bool:
    done = _read_stamp(sweep.report)
    return done is not None and done == _stamp(sweep, weights_digests(sweep))


def _stamp(sweep: SweepConfig, weights: dict[str, dict[str, str] | None]) -> dict[str, Any] | None:
    """What the scores of a condition depend on, and the files that hold them; None where there are none."""
    files = [sweep.outputs_folder / "run.json", *(sweep.report / name for name in _SCORED)]
    if not all(path.is_file() for path in files):
        return None
    record = None if sweep.sketches is None else sweep.sketches / RECORD_FILE
    return {
        "methods": list(sweep.methods),
        "levels": list(sweep.levels),
        "weights": weights,
        "missing_metrics": sorted(check_weights(sweep.score)),
        "seed": sweep.seed,
        "prep": sweep.score.prep,
        "lpips": list(sweep.score.lpips_nets),
        "root_hash": read_dataset(sweep.built)["root_hash"],
        "sketches": None if record is None else sha256_file(record),
        "files": {path.name: sha256_file(path) for path in files},
    }


def _read_stamp(report: Path) -> dict[str, Any] | None:
    try:
        stored = json.loads((report / _STAMP).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return stored if isinstance(stored, dict) else None
