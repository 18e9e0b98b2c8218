"""Reads the files of a report back: per_image.csv, scores.csv, scores.json and run.json."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dpsdata.contracts import MissingError

PER_IMAGE_TEXTS = ("id", "method", "region")
SCORES_TEXTS = ("method", "region", "metric", "bin", "note")
SCORES_NEEDED = (
    "method",
    "level",
    "region",
    "metric",
    "bin",
    "n",
    "value",
    "ci_low",
    "ci_high",
    "higher_is_better",
    "note",
)
_MAX_CSV_BYTES = 2_000_000_000
_MAX_JSON_BYTES = 200_000_000
_AGAIN = "run dpseval score again"


@dataclass(frozen=True)
class StoredReport:
    """What scoring wrote: the tidy tables, the results and the metadata of the run.

    Args:
        name: name of the folder.
        per_image: `per_image.csv`; level is NaN for a method without one.
        scores: `scores.csv`; likewise.
        results: `scores.json`.
        run: `run.json`.
    """

    name: str
    per_image: pd.DataFrame
    scores: pd.DataFrame
    results: dict[str, Any]
    run: dict[str, Any]


def read_report(folder: Path) -> StoredReport:
    """Read a REPORT folder that `dpseval score` wrote.

    Raises:
        MissingError: a file is missing or damaged; names it and says what was expected.
    """
    if not folder.is_dir():
        raise MissingError(f"{folder}: no such folder; make a report with dpseval score OUTPUTS --data BUILT -o REPORT")
    per_image = read_image_table(folder)
    scores = _read_csv(folder / "scores.csv", SCORES_NEEDED, SCORES_TEXTS)
    return StoredReport(
        folder.resolve().name,
        per_image,
        scores,
        _read_object(folder / "scores.json"),
        _read_object(folder / "run.json"),
    )


def read_image_table(folder: Path) -> pd.DataFrame:
    """Read `per_image.csv` of a report; MissingError where it is missing or damaged."""
    return _read_csv(folder / "per_image.csv", ("id", "method", "level", "region", "hole_ratio"), PER_IMAGE_TEXTS)


def load_json(path: Path) -> Any:
    """Parse a JSON file of a report; MissingError in one sentence where that fails."""
    try:
        if path.stat().st_size > _MAX_JSON_BYTES:
            raise MissingError(f"{path}: larger than {_MAX_JSON_BYTES:,} bytes, so not part of a report; {_AGAIN}")
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingError(f"{path}: this file is missing; {_AGAIN}") from None
    except OSError as error:
        raise MissingError(f"{path}: cannot be read: {error.strerror}; {_AGAIN}") from None
    except (ValueError, RecursionError):
        raise MissingError(f"{path}: damaged, expected JSON; {_AGAIN}") from None


def _read_object(path: Path) -> dict[str, Any]:
    value = load_json(path)
    if not isinstance(value, dict):
        raise MissingError(f"{path}: damaged, expected a JSON object; {_AGAIN}")
    return value


def _read_csv(path: Path, needed: Sequence[str], texts: Sequence[str]) -> pd.DataFrame:
    try:
        if path.stat().st_size > _MAX_CSV_BYTES:
            raise MissingError(f"{path}: larger than {_MAX_CSV_BYTES:,} bytes, so not part of a report; {_AGAIN}")
        # As text first: an id such as `NA` or `007` is a name and no number.
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except FileNotFoundError:
        raise MissingError(f"{path}: this file is missing; {_AGAIN}") from None
    except OSError as error:
        raise MissingError(f"{path}: cannot be read: {error.strerror}; {_AGAIN}") from None
    except ValueError:  # the errors of the parser and of the text encoding
        raise MissingError(f"{path}: damaged, expected a CSV table; {_AGAIN}") from None
    absent = [name for name in needed if name not in frame.columns]
    if absent:
        raise MissingError(f"{path}: damaged, it has no column {absent[0]!r}; {_AGAIN}")
    if frame.empty:
        raise MissingError(f"{path}: it has no rows; {_AGAIN}")
    return frame.assign(**{name: _numbers(path, frame[name]) for name in frame.columns if name not in texts})


def _numbers(path: Path, column: pd.Series[str]) -> pd.Series[Any]:
    if column.name == "higher_is_better":
        flags = {"true": True, "false": False, "1": True, "0": False, "": None}
        unknown = next((text for text in column if text.lower() not in flags), None)
        if unknown is not None:
            raise MissingError(f"{path}: damaged, expected True or False in column 'higher_is_better', got {unknown!r}")
        return column.map(lambda text: flags[text.lower()]).astype(object)
    try:
        return pd.Series(np.array([text.strip() or "nan" for text in column], dtype=np.float64), index=column.index)
    except ValueError:
        row, text = next((row, text) for row, text in enumerate(column) if not _is_number(text))
        raise MissingError(
            f"{path}: damaged, expected a number in column {str(column.name)!r}, line {row + 2}, "
            f"got {text[:40]!r}; {_AGAIN}"
        ) from None


def _is_number(text: str) -> bool:
    try:
        float(text.strip() or "nan")
    except ValueError:
        return False
    return True
