"""Finds the sets of outputs in a folder: METHOD/l0.25/ID.png, METHOD/none/ID.png, and refined sketches beside them."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

from dpsdata.contracts import IMAGE_SUFFIXES, NO_LEVEL, MissingError, UsageError, level_folder, parse_level_folder
from dpseval.pairing.files import SetKey
from dpseval.pairing.findings import PairingIssue, is_text

REFINED = "refined"


@dataclass
class OutputSet:
    """One set as it lies on disk.

    Attributes:
        key: method and level.
        folder: where it lies.
        files: pictures by id.
        refined: refined sketches by id; None where the set has no folder of them.
    """

    key: SetKey
    folder: Path
    files: dict[str, Path] = field(default_factory=dict)
    refined: dict[str, Path] | None = None


def find_sets(
    outputs: Path, methods: tuple[str, ...] = (), levels: tuple[float, ...] = ()
) -> tuple[list[OutputSet], list[PairingIssue]]:
    """List all sets and their files; nothing is opened.

    Args:
        outputs: the folder of outputs.
        methods: only these; empty for all.
        levels: only these, besides sets without a level; empty for all.

    Returns:
        The sets, sorted by method and level, and the findings `extra`, `duplicate` and `missing` (an empty set).

    Raises:
        MissingError: no such folder, or no set in it.
        UsageError: a method or level that was asked for is not there.
    """
    if not outputs.is_dir():
        raise MissingError(
            f"{outputs}: no such folder; make outputs with `dps predict`, or put pictures into METHOD/none/ID.png"
        )
    findings: list[PairingIssue] = []
    found: list[OutputSet] = []
    wanted = {unicodedata.normalize("NFC", name) for name in methods}
    for method in _subfolders(outputs):
        if not is_text(method.name):
            reason = "its name is no valid Unicode, so that no table can hold it; rename it"
            findings.append(PairingIssue("extra", str(method), reason))
        elif not methods or unicodedata.normalize("NFC", method.name) in wanted:
            found += _sets_of_method(method, findings)
    absent = sorted(wanted - {item.key.method for item in found})
    if absent:
        known = ", ".join(sorted({item.name for item in _subfolders(outputs)})) or "none"
        raise UsageError(f"{outputs}: method {absent[0]!r} has no outputs here; there are: {known}")
    there = {item.key.level for item in found}
    lost = [level for level in levels if level not in there]
    if lost:
        known = ", ".join(f"{level:g}" for level in sorted(level for level in there if level is not None)) or "none"
        raise UsageError(f"{outputs}: level {lost[0]:g} has no outputs here; there are: {known}")
    chosen = [item for item in found if not levels or item.key.level is None or item.key.level in levels]
    filled = []
    for item in chosen:
        _list_files(item, findings)
        if item.files:
            filled.append(item)
        else:
            findings.append(PairingIssue("missing", str(item.folder), "an empty set, with no picture in it"))
    if not filled:
        raise MissingError(
            f"{outputs}: no outputs here; expected METHOD/l0.25/ID.png, or METHOD/none/ID.png for a method "
            "without a level"
        )
    return sorted(filled, key=lambda item: item.key.rank), findings


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _sets_of_method(method: Path, findings: list[PairingIssue]) -> list[OutputSet]:
    sets: dict[SetKey, OutputSet] = {}
    name = unicodedata.normalize("NFC", method.name)
    for folder in _subfolders(method):
        try:
            level = None if folder.name == NO_LEVEL else parse_level_folder(folder.name)
        except UsageError:
            if any(_is_picture(path) for path in folder.iterdir()):
                reason = "neither a level such as l0.25 nor `none`; it is not scored"
                findings.append(PairingIssue("extra", str(folder), reason))
            continue
        key = SetKey(name, level)
        if key in sets:
            exact = NO_LEVEL if level is None else level_folder(level)
            first, second = sets[key].folder, folder
            if second.name == exact:
                first, second = second, first
            sets[key] = OutputSet(key, first)
            findings.append(PairingIssue("duplicate", str(second), f"the same level as {first.name}, which is scored"))
        else:
            sets[key] = OutputSet(key, folder)
    loose = [path for path in sorted(method.iterdir()) if path.is_file() and _is_picture(path)]
    if loose:
        reason = f"pictures beside the level folders, such as {loose[0].name}; move them into {NO_LEVEL}/"
        findings.append(PairingIssue("extra", str(method), reason))
    return list(sets.values())


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def _list_files(item: OutputSet, findings: list[PairingIssue]) -> None:
    item.files = _by_id(item.folder, item.key, findings, keep=(REFINED,))
    if (item.folder / REFINED).is_dir():
        item.refined = _by_id(item.folder / REFINED, item.key, findings)


def _by_id(folder: Path, key: SetKey, findings: list[PairingIssue], keep: tuple[str, ...] = ()) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or (path.is_dir() and path.name in keep):
            continue
        if path.is_dir() or not _is_picture(path):
            findings.append(PairingIssue("extra", str(path), "no picture; it is not scored"))
            continue
        name = unicodedata.normalize("NFC", path.stem)
        if name in files:
            findings.append(
                PairingIssue("duplicate", str(path), f"a second output of {name}: {files[name].name}", name, key)
            )
        else:
            files[name] = path
    return files
