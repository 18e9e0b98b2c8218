"""The votes of people in a report: `votes.json`, which `dpseval vote --count` writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dpsdata.contracts import MissingError
from dpsdata.weights.store import sha256_file
from dpseval.report.stored import load_json
from dpseval.report.verdicts import set_key

VOTES_FILE = "votes.json"


def hash_results(report: Path) -> str:
    """SHA-256 of `scores.json`: votes belong to what was scored then."""
    return sha256_file(report / "scores.json")


def vote_rows(report: Path) -> tuple[str, list[tuple[str, ...]]]:
    """A sentence on the votes, and a row for each set: name, strength, interval, wins, votes.

    Empty without votes; where the report was scored again since, only a sentence that says so.

    Raises:
        MissingError: `votes.json` is damaged.
    """
    path = report / VOTES_FILE
    if not path.is_file():
        return "", []
    stored: Any = load_json(path)
    try:
        if stored["results_sha256"] != hash_results(report):
            return f"{VOTES_FILE} is of other scores: this report was made again since; vote again.", []
        told = f"{stored['voter_count']} voters, {stored['vote_count']} votes on {stored['photo_count']} photos."
        rows: list[tuple[str, ...]] = [
            (
                str(set_key(row["method"], row["level"])),
                f"{row['strength']:+.2f}",
                f"{row['ci_low']:+.2f} to {row['ci_high']:+.2f}",
                f"{100 * row['win_probability']:.0f} %",
                str(row["vote_count"]),
            )
            for row in stored["sets"]
        ]
    except (KeyError, TypeError, ValueError):
        raise MissingError(f"{path}: damaged; run dpseval vote --count again") from None
    return told, rows
