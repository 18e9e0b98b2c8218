"""The provenance of a report: the metadata of its JSON files as plain rows."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

# What other sections of the page show.
SHOWN_ELSEWHERE = ("scores", "comparisons", "warnings", "findings", "missing_weights", "groups", "leaks", "cost")
_MAX_ROWS = 400
_MAX_TEXT = 600
_MAX_LINES = 50


def flatten_metadata(metadata: Mapping[str, Any], left_out: Collection[str] = ()) -> list[tuple[str, str]]:
    """Every value of a JSON object with the path of its keys; long lists and texts are cut, and say so.

    Args:
        metadata: the parsed object.
        left_out: keys at the top that are not wanted.
    """
    rows = list(_walk("", {key: value for key, value in metadata.items() if key not in left_out}, 0))
    if len(rows) > _MAX_ROWS:
        rows = [*rows[:_MAX_ROWS], ("…", f"{len(rows) - _MAX_ROWS} more values in the file")]
    return rows


def list_texts(run: Mapping[str, Any], key: str) -> list[str]:
    """A list of texts of `run.json`, such as its warnings; the first of many, and how many more there are.

    Args:
        run: the parsed file.
        key: where the list stands; a file without it gives no texts.
    """
    entries = run.get(key)
    texts = [_shorten(entry) for entry in entries if entry] if isinstance(entries, list) else []
    more = len(texts) - _MAX_LINES
    return [*texts[:_MAX_LINES], f"{more} more in run.json"] if more > 0 else texts


def _walk(path: str, value: Any, depth: int) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and depth < 6:
        for key, inner in value.items():
            yield from _walk(f"{path}.{key}" if path else str(key), inner, depth + 1)
    else:
        yield path, _shorten(value)


def _shorten(value: Any) -> str:
    if isinstance(value, str):
        text = value
    elif isinstance(value, list) and all(not isinstance(item, list | Mapping) for item in value):
        text = " ".join(str(item) for item in value)
    else:
        text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]} … ({len(text):,} characters in the file)"
