"""Moves a method's outputs out of a folder, so that it can be run again there with other weights, and back."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from dpsdata.contracts import RUN_FILE
from dpsdata.runtime.files import write_bytes_atomic, write_failure
from models.prediction.settings import read_run

_NAME_DIGITS = 12


def set_aside(out: Path, names: Collection[str], place: Path) -> Path:
    """Move outputs into a folder that is named by their settings, and which is a folder of outputs like OUT.

    After a kill in the middle, the same call moves the rest.

    Args:
        out: folder of outputs.
        names: of methods that its `run.json` has.
        place: the folder is made in this one; on the same file system.

    Returns:
        The folder.

    Raises:
        UsageError: `run.json` is damaged, or of another command.
        EnvironmentFailure: a folder cannot be written.
    """
    stored = read_run(out) or {"methods": {}}
    moved = {name: entry for name, entry in stored["methods"].items() if name in names}
    kept = {name: entry for name, entry in stored["methods"].items() if name not in names}
    text = json.dumps(moved, sort_keys=True)
    folder = place / sha256(text.encode()).hexdigest()[:_NAME_DIGITS]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder, {**stored, "methods": moved})
        for name in moved:
            if (out / name).exists():
                (out / name).rename(_free(folder / name))
    except OSError as error:
        raise write_failure(folder, error) from error
    # Last: settings without outputs are harmless, outputs without settings would be refused.
    _write(out, {**stored, "methods": kept})
    return folder


def take_back(out: Path, name: str, settings: Mapping[str, Any], place: Path) -> bool:
    """Move outputs that were set aside back into a folder that has none of this method.

    Args:
        out: folder of outputs.
        name: of the method.
        settings: what its entry in `run.json` must say, such as its weights.
        place: as in `set_aside`.

    Returns:
        Whether there were such outputs.

    Raises:
        UsageError: a `run.json` is damaged.
        EnvironmentFailure: a folder cannot be written.
    """
    stored = read_run(out) or {"methods": {}}
    for folder in sorted(place.iterdir()) if place.is_dir() and not (out / name).exists() else ():
        aside = read_run(folder) or {"methods": {}}
        entry = aside["methods"].get(name)
        if not isinstance(entry, dict) or any(entry.get(key) != value for key, value in settings.items()):
            continue
        if not (folder / name).is_dir():
            continue
        try:
            # First: outputs without settings would be refused.
            _write(out, {**aside, **stored, "methods": {**stored["methods"], name: entry}})
            (folder / name).rename(out / name)
        except OSError as error:
            raise write_failure(out, error) from error
        _write(folder, {**aside, "methods": {key: value for key, value in aside["methods"].items() if key != name}})
        return True
    return False


def _free(path: Path) -> Path:
    """The path, or one beside it: weights may come and go, and come again."""
    count = 2
    found = path
    while found.exists():
        found = path.with_name(f"{path.name}-{count}")
        count += 1
    return found


def _write(folder: Path, settings: dict[str, Any]) -> None:
    text = json.dumps(settings, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    write_bytes_atomic(folder / RUN_FILE, text.encode())
