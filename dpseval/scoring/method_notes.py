"""States in a report which weights its methods ran with, and why a method has no row of values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from dpsdata.runtime.files import write_text_atomic
from dpseval.report.page import draw_report
from dpseval.scoring.files import to_json, to_records
from dpseval.scoring.score import Scores
from dpseval.statistics.summary import ALL_BINS, SCORE_COLUMNS

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
