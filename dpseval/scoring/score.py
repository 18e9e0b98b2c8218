"""`score`: outputs of any methods at any levels against the built dataset, in one pass."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dpsdata.contracts import RUN_FILE, FindingsError, UsageError
from dpsdata.dataset.manifest import read_dataset
from dpsdata.runtime.files import check_is_local, write_text_atomic
from dpsdata.sources.remote import local_copy
from dpseval.metrics.names import PROTOCOLS
from dpseval.pairing.files import PairingError, PairingIssue
from dpseval.pairing.inspection import inspect_pairs
from dpseval.pairing.pairs import Pairing, leave_out, pair_outputs, refused_findings
from dpseval.report.gallery import FOLDER
from dpseval.report.page import draw_report
from dpseval.scoring.config import ScoreConfig
from dpseval.scoring.files import describe_results, describe_run, to_json, to_records, write_report
from dpseval.scoring.gallery import GalleryPicker
from dpseval.scoring.groups import find_leaks, read_groups, score_groups
from dpseval.scoring.networks import Readers, check_weights, load_readers
from dpseval.scoring.one_pass import IMAGE_COLUMNS, PassResult, run_pass
from dpseval.scoring.set_measures import measure_sets
from dpseval.statistics.summary import ALL_BINS, SCORE_COLUMNS, comparisons, summarise

LEAST_SIDE_PX = 32  # what LPIPS needs


@dataclass(frozen=True)
class Scores:
    """What `score` found.

    Attributes:
        summary: the columns of `scores.csv`: method, level, region, metric, bin, n, value, ci_low, ci_high,
            higher_is_better, note.
        per_image: the columns of `per_image.csv`.
        comparisons: paired tests of the best set of each metric against the others.
        results: what `scores.json` holds.
        run: what `run.json` holds: counts, times, versions, paths.
    """

    summary: pd.DataFrame
    per_image: pd.DataFrame
    comparisons: pd.DataFrame
    results: dict[str, Any]
    run: dict[str, Any]


@dataclass(frozen=True)
class ScorePlan:
    """What will be scored, after the checks that need no pixels of photos.

    Attributes:
        pairing: what is left to score.
        findings: all findings so far, each of an allowed kind.
        missing: notes of the metrics whose weights are missing.
    """

    pairing: Pairing
    findings: tuple[PairingIssue, ...]
    missing: dict[str, str]


def plan_score(outputs: Path, dataset: Path, config: ScoreConfig) -> ScorePlan:
    """Pair and inspect all files; writes nothing.

    Raises:
        PairingError: findings that are not allowed.
        MissingError: no outputs, no dataset, or required weights.
        UsageError: an option does not fit.
    """
    if config.out is not None:
        check_is_local(config.out)
    outputs, dataset = local_copy(outputs), local_copy(dataset)
    _check_places(outputs, dataset, config)
    if config.group_by is not None:
        read_groups(config.group_by)
    if config.train is not None:
        read_dataset(config.train)
    missing = check_weights(config)
    listed = pair_outputs(
        outputs,
        dataset,
        methods=config.methods,
        levels=config.levels,
        split=config.split,
        masks=config.masks,
        sketches=config.sketches,
    )
    if listed.size < LEAST_SIDE_PX:
        raise UsageError(f"{dataset}: photos of {listed.size} px; scoring needs at least {LEAST_SIDE_PX} px a side")
    pairing, seen = inspect_pairs(listed)
    findings = (*listed.findings, *seen)
    refused = refused_findings(pairing, findings, config.allow)
    if refused:
        raise PairingError(str(outputs), refused)
    left = leave_out(pairing, findings, config.allow)
    if not left.photos:
        raise FindingsError(f"{outputs}: with what was left out, no photo remains to score; see the list of findings")
    return ScorePlan(left, findings, missing)


def score(
    outputs: str | Path,
    dataset: str | Path,
    config: ScoreConfig | None = None,
    *,
    announce: Callable[[str], None] | None = None,
) -> Scores:
    """Score outputs against the dataset that they were made from.

    Args:
        outputs: folder in the layout METHOD/l0.25/ID.png, or METHOD/none/ID.png for a method without a level, such as
            `dps predict` writes, or any baseline; or its address.
        dataset: folder that `dpsdata build` made, or its address.
        config: what to score; its `out` is the REPORT folder.
        announce: called with lines that tell how far the work is.

    Returns:
        The tables.

    Raises:
        PairingError: findings that are not allowed; all of them are in its `findings`.
        MissingError: no outputs, no dataset, or required weights that are missing.
        UsageError: an option does not fit.
        EnvironmentFailure: the report cannot be written.
    """
    begun = time.time()
    config = config or ScoreConfig()
    say = announce or (lambda line: None)
    plan = plan_score(Path(outputs), Path(dataset), config)
    pairing = plan.pairing
    output_count = sum(len(photo.outputs) for photo in pairing.photos)
    say(f"{len(pairing.photos):,} photos, {len(pairing.keys)} sets, {output_count:,} outputs")
    readers = load_readers(config, plan.missing)
    picker = GalleryPicker([photo.id for photo in pairing.photos], config.seed)
    found = run_pass(pairing, config, readers, picker, announce)
    refused = refused_findings(pairing, found.findings, config.allow)
    if refused:
        raise PairingError(str(outputs), refused)
    if not found.rows:
        raise FindingsError(f"{outputs}: with what was left out, no photo remains to score; see the list of findings")
    findings = (*plan.findings, *found.findings)
    per_image = _image_table(found, readers, config)
    set_scores = list(measure_sets(found, readers, config))
    summary = summarise(per_image, set_scores, config.seed)
    tests = comparisons(per_image, config.seed)
    groups = None if config.group_by is None else score_groups(per_image, read_groups(config.group_by), config.seed)
    leaks = None if config.train is None else find_leaks(found, config.train, readers.faces, say)
    pairing = replace(pairing, keys=tuple(key for key in pairing.keys if found.hashes[key]))
    results = describe_results(pairing, config, readers, found, findings, summary, tests)
    if groups is not None:
        results["groups"] = to_records(groups)
    if leaks is not None:
        results["leaks"] = leaks
    run = describe_run(pairing, config, readers, found, findings, time.time() - begun)
    if config.out is not None:
        write_report(config.out, per_image, summary, tests, results, run, picker.items(), config.draw, groups)
    return Scores(summary, per_image, tests, results, run)


def _check_places(outputs: Path, dataset: Path, config: ScoreConfig) -> None:
    if config.out is not None and config.out.exists() and not config.out.is_dir():
        raise UsageError(f"{config.out} is a file; -o takes a folder")
    if config.out is not None and not (config.out / "scores.json").exists():
        for name in ("index.html", RUN_FILE):
            if (config.out / name).exists():
                raise UsageError(
                    f"{config.out / name} is not part of a report and would be overwritten; choose another -o"
                )
    gallery = None if config.out is None else config.out / FOLDER  # the one folder that a report makes in itself
    for name, place in (("REPORT", config.out), ("REPORT", gallery), ("the cache", config.cache)):
        for source in (outputs, dataset):
            if place is not None and place.resolve().is_relative_to(source.resolve()):
                raise UsageError(f"{place}: {name} cannot be inside {source}, where nothing is ever written")


def _image_table(found: PassResult, readers: Readers, config: ScoreConfig) -> pd.DataFrame:
    measured = [reader.network.name for reader in readers.lpips]
    extra = [name for name in (*measured, *readers.missing) if name.startswith("lpips_") and name not in IMAGE_COLUMNS]
    extra += [name for protocol in config.protocols for name in PROTOCOLS[protocol]]
    table = pd.DataFrame(found.rows, columns=[*IMAGE_COLUMNS, *sorted(extra)])
    table["level"] = table["level"].astype(np.float64)
    return table


NOTHING_FILLED = "no photo was filled"


def add_methods(
    report: Path,
    scores: Scores,
    about: Mapping[str, Mapping[str, Any]],
    missing: Mapping[str, str],
    costs: Mapping[str, Mapping[str, Any]] | None = None,
) -> Scores:
    """Write the metadata of all methods and the rows of missing ones into a report, and draw its tables and page.

    Args:
        report: REPORT folder that `score` has just written.
        scores: what it returned.
        about: metadata by method; a `sentence` among them is shown at the head of the page.
        missing: the reason by method.
        costs: what a photo costs, by method, for `run.json`.

    Returns:
        The scores with a row without a value for each missing method, metric and region.

    Raises:
        EnvironmentFailure: a file cannot be written.
    """
    summary = pd.concat([scores.summary, *_missing_rows(scores.summary, missing)], ignore_index=True)
    results = {
        **scores.results,
        "scores": to_records(summary),
        "methods": {name: dict(metadata) for name, metadata in about.items()},
        "missing_methods": dict(missing),
    }
    # Of a method without weights, such as the mean colour, there is nothing to warn of.
    sentences = [
        f"{name}: {metadata['sentence']}"
        for name, metadata in about.items()
        if metadata.get("weights") and "sentence" in metadata
    ]
    run = {**scores.run, "warnings": [*scores.run["warnings"], *sentences]}
    if costs:
        run["cost"] = {name: dict(cost) for name, cost in costs.items()}
    write_text_atomic(report / "scores.csv", summary.to_csv(index=False, lineterminator="\n"))
    write_text_atomic(report / "scores.json", to_json(results))
    write_text_atomic(report / "run.json", to_json(run))
    draw_report(report)
    return replace(scores, summary=summary, results=results, run=run)


def _missing_rows(summary: pd.DataFrame, missing: Mapping[str, str]) -> list[pd.DataFrame]:
    measured = summary.loc[summary["bin"] == ALL_BINS, ["region", "metric", "higher_is_better"]]
    measured = measured.drop_duplicates(["region", "metric"])
    tables = []
    for name, reason in missing.items():
        rows = measured.assign(
            method=name,
            level=math.nan,
            bin=ALL_BINS,
            n=0,
            value=math.nan,
            ci_low=math.nan,
            ci_high=math.nan,
            note=f"{name}: {'' if reason.startswith(NOTHING_FILLED) else 'weights missing: '}{reason}",
        )
        tables.append(rows[list(SCORE_COLUMNS)])
    return tables
