"""A study from start to end: levels chosen on one split, conditions scored on another, claims tested, files written."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing import active_children
from pathlib import Path
from threading import RLock
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dpsdata.contracts import FindingsError, UsageError
from dpsdata.dataset.manifest import read_dataset
from dpsdata.dataset.torch_dataset import EditDataset
from dpsdata.runtime.files import lock_folder, write_bytes_atomic, write_failure, write_text_atomic
from dpsdata.runtime.processes import core_count, interrupts_held, serve_parent, spawn_context
from dpseval.statistics.summary import values_by_set
from dpseval.study.answers import Answer, answer_questions
from dpseval.study.conditions import ConditionScores, is_condition_done, plan_sweep, prepare_sketches, run_condition
from dpseval.study.config import OWN, Condition, StudyConfig
from dpseval.study.writing import FIGURE_FILE, StudyMetadata, describe_methods, draw_figure, write_study

Say = Callable[[str], None]


class ConditionJob(NamedTuple):
    """One condition, the split that it is run on, and with which methods."""

    condition: Condition
    split: str
    methods: tuple[str, ...]


def run_side_by_side(config: StudyConfig, jobs: Sequence[ConditionJob], announce: Say) -> None:
    """Run conditions in `config.jobs` processes; a condition that fails is left to be run again.

    Networks are small: one process with all cores leaves much of each core idle, several with a share of them do not.

    Args:
        config: of the study; the sketches of its conditions are there already.
        jobs: what to run, each in another folder.
        announce: called with the lines of each condition when it is done.
    """
    count = min(config.jobs or core_count(), len(jobs))
    if count < 2:
        return
    threads = max(1, core_count() // count)
    # Pixels are measured in the same process: as many again would only wait for each other.
    alone = replace(config, score=replace(config.score, workers=1))
    announce(f"{len(jobs)} conditions, {count} at a time with {threads} threads each")
    with ProcessPoolExecutor(count, spawn_context(), initializer=_start, initargs=(threads,)) as pool:
        try:
            with interrupts_held():  # each task starts a process
                running = [pool.submit(_run, alone, job) for job in jobs]
            for future in as_completed(running):
                lines, failure = future.result()
                for line in lines:
                    announce(line)
                if failure:  # the others go on, so that the study comes to this one without waiting for them
                    announce(f"a condition failed: {failure}")
        except BrokenProcessPool:
            announce("a process died (out of memory, or killed); going on with one condition at a time")
        except BaseException:
            for process in active_children():  # a condition takes minutes, and nothing of it is lost
                process.terminate()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _run(config: StudyConfig, job: ConditionJob) -> tuple[list[str], str]:
    """What the condition says, and why it failed; a text, since not every error can be sent to another process."""
    lines: list[str] = []
    try:
        run_condition(config, *job, lines.append)
    except Exception as error:
        return lines, str(error) or type(error).__name__
    return lines, ""


def _start(threads: int) -> None:
    import cv2
    import torch
    from tqdm import tqdm

    # tqdm's own lock is one between processes, which a process that is ended leaves behind.
    tqdm.set_lock(RLock())
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    sys.stderr = _NoTerminal(sys.stderr.buffer, write_through=True)
    serve_parent()


class _NoTerminal(io.TextIOWrapper):
    """Standard error without progress bars, as those of several processes would overwrite each other."""

    def isatty(self) -> bool:
        return False


_CHOSEN_BY = "hedps"
_PROBE = ".probe"


@dataclass(frozen=True, eq=False)
class Study:
    """What a study found.

    Attributes:
        chosen: by kind of sketch, the level that was chosen.
        answers: the tests.
        scores: all conditions' scores in the hole and over the whole photo, one row for each number.
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
        EnvironmentFailure: a folder cannot be written, or another study holds the work folder.
    """
    say = announce or (lambda line: None)
    dataset = read_dataset(config.built)
    check_study(config)
    _make_folder(config.out)
    with lock_folder(config.work, config.work / ".lock", "study"):
        return _run_conditions(config, dataset, say)


def _run_conditions(config: StudyConfig, dataset: Mapping[str, Any], say: Callable[[str], None]) -> Study:
    _run_jobs(config, say)
    chosen = _choose_levels(config, say)
    found = [run_condition(config, *job, say) for job in _scoring_jobs(config)]
    answers = answer_questions(found, config.questions, chosen, config.seed)
    scores = pd.concat([_name_condition(item) for item in found], ignore_index=True)
    metadata = StudyMetadata(
        {key: dataset[key] for key in ("root_hash", "size")}
        | {"split": config.split, "photos": int(found[0].results["count"]), "choose_split": config.choose_split},
        describe_methods(config, found[0]),
        found[0].results.get("missing_methods", {}),
        found[0].results["missing_weights"],
        chosen,
    )
    figure = config.out / FIGURE_FILE
    if config.shown:
        write_bytes_atomic(figure, _figure(config, found, chosen))
    else:
        figure.unlink(missing_ok=True)
    write_study(config, metadata, answers, scores)
    return Study(chosen, answers, scores)


def _make_folder(out: Path) -> None:
    """Before the work, which takes hours, and not after it."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_text_atomic(out / _PROBE, "")
        (out / _PROBE).unlink()
    except OSError as error:
        raise write_failure(out, error) from error


def check_study(config: StudyConfig) -> None:
    """Check what can be checked before the work, which takes hours; nothing is written.

    Raises:
        MissingError: no dataset.
        UsageError: no such split, method, weights or photo.
    """
    names = {row.split for row in EditDataset(config.built, "all").rows}
    for option, name in (("choose-split", config.choose_split), ("split", config.split)):
        if name not in names:
            others = ", ".join(sorted(names)) or "none"
            raise UsageError(f"{option}: {config.built} has no split {name!r}; expected one of {others}")
    ids = set(EditDataset(config.built, config.split).ids)
    missing = [name for name in config.shown if name not in ids]
    if missing:
        raise UsageError(f"show: the split {config.split} of {config.built} holds no {missing[0]}")
    plan_sweep(config, config.conditions[0], config.split, config.methods)


def _choosing_jobs(config: StudyConfig) -> list[ConditionJob]:
    """The conditions that levels are chosen by: every kind of sketch with the first mask family, on the other split."""
    cases = dict.fromkeys(condition.sketch for condition in config.conditions)
    return [ConditionJob(Condition(config.conditions[0].masks, case), config.choose_split, ("dps",)) for case in cases]


def _scoring_jobs(config: StudyConfig) -> list[ConditionJob]:
    return [ConditionJob(condition, config.split, config.methods) for condition in config.conditions]


def _run_jobs(config: StudyConfig, say: Callable[[str], None]) -> None:
    """The conditions that are not there yet in several processes, where this is asked for."""
    if config.jobs == 1:
        return
    jobs = [*_choosing_jobs(config), *_scoring_jobs(config)]
    for job in jobs:  # conditions share sketches, and no two processes should write the same ones
        prepare_sketches(config, job.condition, job.split, say)
    run_side_by_side(config, [job for job in jobs if not is_condition_done(config, *job)], say)


def _choose_levels(config: StudyConfig, say: Callable[[str], None]) -> dict[str, float]:
    """By kind of sketch, the level with the best mean on the other split, for the first mask family."""
    chosen = {}
    for job in _choosing_jobs(config):
        scored = run_condition(config, *job, say)
        means = {
            float(level): float(np.nanmean(values))
            for (method, level), values in values_by_set(scored.per_image, _CHOSEN_BY, "hole").items()
            if method == "dps" and level is not None and not np.isnan(values).all()
        }
        if not means:
            raise FindingsError(
                f"{config.choose_split}: {scored.condition.name}: no photo has a hole to choose a level by"
            )
        chosen[job.condition.sketch.name] = min(means, key=lambda level: (means[level], level))
    return chosen


def _name_condition(item: ConditionScores) -> pd.DataFrame:
    scores = item.scores[item.scores["bin"] == "all"].drop(columns="bin")
    scores.insert(0, "masks", item.condition.masks)
    scores.insert(1, "sketch", item.condition.sketch.name)
    return scores


def _figure(config: StudyConfig, found: list[ConditionScores], chosen: dict[str, float]) -> bytes:
    """The first poor sketch, since there the levels differ most; the first condition where there is none."""
    item = next((scored for scored in found if scored.condition.sketch.name != OWN), found[0])
    stored = item.condition.sketch.name == OWN
    folder = None if stored else config.work / "sketches" / config.split / item.condition.sketch.name
    sets = list(values_by_set(item.per_image, "psnr", "hole"))
    level = chosen[item.condition.sketch.name]
    mine = [("dps", at) for at in sorted({0.0, 0.5, 1.0} & set(config.levels))]
    others = [(name, at) for name, at in sets if name not in ("dps", "dps-g") and at in (None, level)]
    return draw_figure(_dataset(config, item), item.outputs, folder, config.shown, [*mine, *others])


def _dataset(config: StudyConfig, item: ConditionScores) -> EditDataset:
    return EditDataset(config.built, config.split, item.condition.masks)
