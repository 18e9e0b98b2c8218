"""Votes counted: files of voters and the key of their ballot to strengths with intervals."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from dpsdata.contracts import MissingError, UsageError
from dpsdata.runtime.files import write_text_atomic
from dpsdata.weights.store import sha256_file
from dpseval.report.page import write_page
from dpseval.report.sections import VOTES_FILE, hash_results
from dpseval.statistics.preferences import Preferences, strength_intervals, win_probability
from dpseval.votes.ballot import KEY_FILE, SCHEMA

CHOICES: Final = {"a": 1.0, "b": 0.0, "equal": 0.5}
_MAX_BYTES = 20_000_000


def count_votes(paths: Sequence[Path], seed: int = 0) -> dict[str, Any]:
    """Count votes, write REPORT/votes.json, and draw the report's page again.

    Args:
        paths: files that voters saved, or folders of them; the ballot's `key.json` lies beside the first one, or in
            the folder above it.
        seed: of the intervals.

    Returns:
        What was written: counts, and for each set, strongest first, its strength (natural logarithm, 0 the mean) with
        its 95 % interval, how often it wins over another set, and its votes.

    Raises:
        MissingError: no votes, no key, the report is gone; or a file is damaged.
        UsageError: votes of another ballot, one voter twice, or a pair twice by one voter.
    """
    files = [file for path in paths for file in (sorted(path.glob("*.json")) if path.is_dir() else [path])]
    files = [file for file in files if file.name != KEY_FILE]
    if not files:
        raise MissingError(f"{paths[0] if paths else 'votes'}: no votes there; expected the files that voters saved")
    key_path = _find_key(files[0])
    key, study = _read(key_path), sha256_file(key_path)
    try:
        pairs = [(str(pair["id"]), int(pair["a"]), int(pair["b"])) for pair in key["pairs"]]
        sets = [(str(item["method"]), item["level"]) for item in key["sets"]]
        report, results_sha256 = Path(key["report"]), str(key["results_sha256"])
    except (KeyError, TypeError, ValueError):
        raise MissingError(f"{key_path}: damaged, expected the key of a ballot; run dpseval vote again") from None
    voters: dict[str, Path] = {}
    rows: list[tuple[int, int, int, int, float]] = []
    photos = {name: index for index, name in enumerate(sorted({pair[0] for pair in pairs}))}
    for path in files:
        voter, votes = _read_votes(path, study, len(pairs))
        if voter in voters:
            raise UsageError(f"{path}: the same voter as {voters[voter]}; leave one of them out")
        voters[voter] = path
        for number, choice in votes.items():
            name, a, b = pairs[number]
            rows.append((len(voters) - 1, photos[name], a, b, CHOICES[choice]))
    if not rows:
        raise MissingError(f"{files[0]}: no votes in {len(files)} files")
    if not (report / "scores.json").is_file():
        raise MissingError(f"{report}: the report of this ballot is gone; make it again with dpseval score")
    if hash_results(report) != results_sha256:
        raise UsageError(
            f"{report}: scored again since the ballot was made, so the votes are of other scores; vote again"
        )
    table = np.array(rows)
    columns = [table[:, place].astype(np.int64) for place in range(4)]
    votes_of = Preferences(
        voters=columns[0], photos=columns[1], first=columns[2], second=columns[3], wins=table[:, 4], count=len(sets)
    )
    strengths, low, high = strength_intervals(votes_of, seed)
    seen = np.bincount(np.concatenate(columns[2:]), minlength=len(sets))
    told = [
        {
            "method": method,
            "level": level,
            "strength": round(float(strengths[place]), 4),
            "ci_low": round(float(low[place]), 4),
            "ci_high": round(float(high[place]), 4),
            "win_probability": round(win_probability(strengths.tolist(), place), 4),
            "vote_count": int(seen[place]),
        }
        for place, (method, level) in enumerate(sets)
        if seen[place]
    ]
    result = {
        "schema": SCHEMA,
        "study": study,
        "results_sha256": results_sha256,
        "seed": seed,
        "voter_count": len(voters),
        "vote_count": len(rows),
        "photo_count": len(set(columns[1].tolist())),
        "sets": sorted(told, key=lambda row: -row["strength"]),
    }
    write_text_atomic(report / VOTES_FILE, json.dumps(result, indent=1, sort_keys=True) + "\n")
    result["page"] = str(write_page(report))
    return result


def _find_key(votes: Path) -> Path:
    for folder in (votes.parent, votes.resolve().parent.parent):
        if (folder / KEY_FILE).is_file():
            return folder / KEY_FILE
    raise MissingError(f"{votes.parent / KEY_FILE}: no such file; put the votes beside the {KEY_FILE} of their ballot")


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes()) if path.stat().st_size <= _MAX_BYTES else None
    except FileNotFoundError:
        raise MissingError(f"{path}: no such file") from None
    except OSError as error:
        raise MissingError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        raise MissingError(f"{path}: expected JSON that a page of dpseval vote saved; leave this file out")
    return value


def _read_votes(path: Path, study: str, pair_count: int) -> tuple[str, dict[int, str]]:
    stored = _read(path)
    if stored.get("study") != study:
        raise UsageError(f"{path}: votes of another ballot; count them beside their own {KEY_FILE}")
    voter, votes = stored.get("voter"), stored.get("votes")
    if not isinstance(voter, str) or not voter or not isinstance(votes, list):
        raise MissingError(f"{path}: damaged, expected a voter and a list of votes; leave this file out")
    found: dict[int, str] = {}
    for vote in votes:
        pair, choice = (vote.get("pair"), vote.get("choice")) if isinstance(vote, dict) else (None, None)
        if type(pair) is not int or not 0 <= pair < pair_count or not isinstance(choice, str) or choice not in CHOICES:
            raise MissingError(f"{path}: damaged, no vote on a pair of this ballot: {vote!r:.80}; leave this file out")
        if pair in found:
            raise UsageError(f"{path}: two votes on pair {pair}; leave this file out")
        found[pair] = choice
    return voter, found
