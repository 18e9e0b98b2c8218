"""Weights by name: what exists, what is installed, how to get it. Nothing is downloaded unless it is asked for.

`get_weights` downloads, `import_weights` takes a file that a person has, `weights_path` is what loaders call:
it checks the SHA-256 before every use. Rooms add their own with `register` and `register_importer`.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dpsdata.contracts import MissingError, typed_path
from dpsdata.runtime.files import TEMPORARY_PREFIX, TEMPORARY_SUFFIX, write_failure
from dpsdata.weights.importing import (
    Imported,
    Importer,
    ImportReport,
    InstalledWeights,
    import_file,
    import_path,
    register_importer,
)
from dpsdata.weights.reading import HASHES_FILE
from dpsdata.weights.registry import REINSTALL, WeightFile, find_weights, list_weights, register
from dpsdata.weights.store import make_folder, read_card, set_aside, sha256_file, tensors_path

__all__ = [
    "REINSTALL",
    "ImportReport",
    "Imported",
    "Importer",
    "InstalledWeights",
    "WeightFile",
    "WeightStatus",
    "find_weights",
    "get_weights",
    "import_weights",
    "installed",
    "is_offline",
    "list_weights",
    "register",
    "register_importer",
    "verify_weights",
    "weights_path",
]

_SET_VALUES = ("1", "true", "yes", "on")


@dataclass(frozen=True)
class WeightStatus:
    """What `verify_weights` found: `ok`, `missing` or `wrong hash`.

    `verified` tells whether the file came from the published one, byte for byte; None where no hash is published.
    """

    name: str
    status: str
    path: Path
    expected_sha256: str | None
    actual_sha256: str | None
    verified: bool | None


def is_offline(offline: bool = False) -> bool:
    """Whether downloads are forbidden: by the argument, or by DPS_OFFLINE=1."""
    return offline or os.environ.get("DPS_OFFLINE", "").strip().lower() in _SET_VALUES


def installed(name: str) -> bool:
    """Whether a file is in the package or the cache; its hash is checked by `weights_path`."""
    return _check(find_weights(name), hashed=False).status != "missing"


def _bundled_entry(file: WeightFile) -> dict[str, Any] | None:
    if file.bundled_folder is None:
        return None
    try:
        entry = json.loads((file.bundled_folder / HASHES_FILE).read_text(encoding="utf-8"))[file.name]
        return {"file": str(entry["file"]), "sha256": str(entry["sha256"])}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _check(file: WeightFile, hashed: bool = True) -> WeightStatus:
    if file.bundled_folder is not None:
        entry = _bundled_entry(file)
        path = file.bundled_folder / (file.filename if entry is None else entry["file"])
        verified = None
    else:
        entry = read_card(file.name)
        path = tensors_path(file.name)
        verified = None if entry is None or file.sha256 is None else entry.get("verified") is True
    if entry is None or not path.is_file():
        return WeightStatus(file.name, "missing", path, None, None, None)
    expected = str(entry["sha256"])
    actual = sha256_file(path) if hashed else expected
    return WeightStatus(file.name, "ok" if actual == expected else "wrong hash", path, expected, actual, verified)


def verify_weights() -> list[WeightStatus]:
    """Hash every registered file that is installed; nothing is moved or changed."""
    return [_check(file) for file in list_weights()]


def _how_to_get(file: WeightFile) -> str:
    if file.bundled_folder is not None:
        return f"it is part of the package; run `{REINSTALL}`"
    if file.url is not None:
        return f"run `dps weights get {file.name}`"
    return f"get {file.filename} from {file.page}, then run `dps weights import {file.filename}`"


def weights_path(name: str) -> Path:
    """Return the path of an installed weight file, its SHA-256 checked just now.

    Raises:
        UsageError: no such name.
        MissingError: it is not installed, or its hash is wrong; a wrong file in the cache is kept aside as `.bad`.
    """
    file = find_weights(name)
    found = _check(file)
    if found.status == "missing":
        raise MissingError(f"{name} is not installed; {_how_to_get(file)}")
    if found.status == "wrong hash":
        where = str(found.path)
        if file.bundled_folder is None:  # a file of the package, perhaps under version control, stays where it is
            where += f" (kept as {set_aside(found.path).name})"
        raise MissingError(
            f"{where}: SHA-256 {found.actual_sha256}, but {found.expected_sha256} was expected; {_how_to_get(file)}"
        )
    return found.path


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr)


def get_weights(name: str, offline: bool = False, announce: Callable[[str], None] = _to_stderr) -> Path:
    """Return the path of a weight file, after downloading, checking and converting it where it is not installed.

    Args:
        name: a registered name.
        offline: open no socket, as DPS_OFFLINE=1 does.
        announce: takes the lines that say what is downloaded, from where and under what terms, before it starts.

    Raises:
        UsageError: no such name.
        MissingError: it cannot be had (offline, no direct download, network), or what came has a wrong hash.
    """
    file = find_weights(name)
    if installed(name):
        return weights_path(name)
    if file.url is None:
        raise MissingError(f"{name} has no direct download; {_how_to_get(file)}")
    if is_offline(offline):
        raise MissingError(
            f"{name} is not installed and downloads are off (--offline or DPS_OFFLINE); get {file.filename} from "
            f"{file.page} on another machine, then run `dps weights import {file.filename}`"
        )
    size = "size not published" if file.size is None else f"{file.size:,} bytes"
    announce(f"{name}: {file.purpose}")
    announce(f"  licence: {file.licence} ({file.page})")
    announce(f"  download: {file.url} ({size})")
    announce(f"  SHA-256: {file.sha256 or 'none published, so it is recorded and not checked'}")
    downloaded = _download(file)
    _check_download(file, downloaded)
    try:
        done = import_file(downloaded)
    except MissingError as error:
        bad = set_aside(downloaded)
        raise MissingError(f"{file.url} gave a file that is not {name}, kept as {bad}: {error}") from None
    downloaded.unlink(missing_ok=True)
    if done.name != name:
        raise MissingError(f"{file.url} gave {done.name}, which is installed now, and not {name}; {_how_to_get(file)}")
    announce(f"  installed: {done.path}")
    return done.path


def _download(file: WeightFile) -> Path:
    import pooch

    path = make_folder("downloads") / file.filename
    partial = path.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}{TEMPORARY_SUFFIX}")
    try:
        try:
            pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=30)(file.url, str(partial), None)
            partial.replace(path)
        except BaseException:  # also on Ctrl-C: no half file stays
            partial.unlink(missing_ok=True)
            raise
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None and error.strerror:
            raise write_failure(path, error) from error
        raise MissingError(
            f"{file.name} could not be downloaded from {file.url} ({str(error)[:200]}); try again, or get "
            f"{file.filename} from {file.page} and run `dps weights import {file.filename}`"
        ) from None
    return path


def _check_download(file: WeightFile, path: Path) -> None:
    actual = sha256_file(path)
    if file.sha256 is None or actual == file.sha256:
        return
    size = path.stat().st_size
    bad = set_aside(path)
    raise MissingError(
        f"{path} (kept as {bad.name}): SHA-256 {actual}, but {file.sha256} was expected"
        f"{'' if file.size in (None, size) else f', and {size:,} bytes instead of {file.size:,}'}; "
        f"run `dps weights get {file.name}` again, or get {file.filename} from {file.page} and run "
        f"`dps weights import {file.filename}`"
    )


def import_weights(path: str | Path, name: str | None = None) -> ImportReport:
    """Take in a weight file, or those in a folder, zip or tar: recognised by keys and shapes, checked, converted.

    Args:
        path: the file, folder or archive; for a TensorFlow checkpoint its `.index`, or its prefix.
        name: a registered name, where keys and shapes fit several (both releases of DeepFillv2 do).

    Returns:
        What is installed now, and what was passed over with the reason.

    Raises:
        UsageError: no such name.
        MissingError: nothing was recognised, or the file is damaged.
    """
    return import_path(typed_path(str(path)), None if name is None else find_weights(name).name)
