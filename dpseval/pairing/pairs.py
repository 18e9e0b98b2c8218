"""Strict pairing by id: outputs of every set with truth, mask and sketch of the built folder."""

from __future__ import annotations

import json
import re
import shlex
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dpsdata.contracts import (
    IMAGE_SUFFIXES,
    NO_LEVEL,
    RUN_FILE,
    MissingError,
    UsageError,
    did_you_mean,
    level_folder,
    parse_level_folder,
)
from dpsdata.dataset.manifest import ManifestRow, find_stored_masks, read_dataset, read_manifest
from dpsdata.dataset.shards import StoredFiles, open_files
from dpsdata.masks import MASK_FAMILIES, check_family, is_from_files
from dpsdata.masks.files import FILES, open_mask_folder
from dpseval.pairing.files import MaskSource, OutputFile, PairingIssue, PhotoFiles, SetKey, is_text


def find_masks(
    rows: Sequence[ManifestRow], files: StoredFiles, family: str, seed: int, stored_in: str | None, is_recorded: bool
) -> tuple[dict[str, MaskSource], list[PairingIssue]]:
    """Pair photos and masks by id.

    Args:
        rows: the photos that are scored.
        files: of the built folder.
        family: mask family, `files:DIR` or `pool:DIR`.
        seed: of the build.
        stored_in: folder of the built dataset that holds these masks; None where the build did not make them.
        is_recorded: whether `run.json` of the outputs tells that they were made with mask files. They are read here as
            they were there then; those beside any other outputs must be plain 0 and 255.

    Returns:
        The mask of each id, and the findings `missing` and `duplicate`.
    """
    stored = {row.id: files.source(f"masks/{stored_in}/{row.id}.png") for row in rows if stored_in in row.masks}
    masks = {row.id: MaskSource(family, seed, stored.get(row.id)) for row in rows}
    if len(stored) == len(rows) or not family.startswith(FILES):
        return masks, []
    listed = open_mask_folder(family)
    findings = []
    for name in (row.id for row in rows if row.id not in stored):
        paths = listed.candidates(name)
        if not paths:
            findings.append(
                PairingIssue("missing", str(listed.root / f"{name}.png"), "this photo has no mask file", name)
            )
        elif not is_recorded:
            masks[name] = MaskSource(family, seed, paths[0])
        findings += [PairingIssue("duplicate", str(path), f"a second mask of {name}", name) for path in paths[1:]]
    return masks, findings


def check_masks(masks: str) -> str:
    """The mask family of an option: a family, `files:DIR`, or a folder, which reads as `files:DIR`.

    Raises:
        UsageError: neither a family nor a folder.
    """
    if masks not in MASK_FAMILIES and not is_from_files(masks) and Path(masks).is_dir():
        return f"files:{masks}"
    family = check_family(masks)
    if is_from_files(family) and not Path(family.partition(":")[2]).is_dir():
        raise UsageError(f"masks: {family}: there is no such folder")
    return family


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
    if _level_folders(outputs) and not any(map(_level_folders, _subfolders(outputs))):
        raise UsageError(
            f"{outputs} holds the levels of one method; pass the folder around it: {outputs.absolute().parent}"
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
        names = sorted({item.name for item in _subfolders(outputs)})
        hint = did_you_mean(absent[0], names)
        listed = ", ".join(names) or "none"
        raise UsageError(f"{outputs}: method {absent[0]!r} has no outputs here; {hint}there are: {listed}")
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
        raise MissingError(f"{outputs}: {_explain_layout(outputs)}")
    return sorted(filled, key=lambda item: item.key.rank), findings


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _level_folders(method: Path) -> list[Path]:
    return [path for path in _subfolders(method) if re.fullmatch(rf"{NO_LEVEL}|l[\d.]+", path.name)]


def _explain_layout(outputs: Path) -> str:
    """Why a folder has no set in it, with the command that helps where pictures lie a folder too high."""
    for folder, place in ((outputs, outputs / "NAME"), *((item, item) for item in _subfolders(outputs))):
        loose = next((path for path in sorted(folder.iterdir()) if path.is_file() and _is_picture(path)), None)
        if loose is not None:
            target = shlex.quote(str(place / NO_LEVEL))
            files = f"{shlex.quote(str(folder))}/*{loose.suffix}"
            return f"{loose} is in no set; run: mkdir -p {target} && mv {files} {target}"
    return "no outputs here; expected METHOD/l0.25/ID.png, or METHOD/none/ID.png for a method without a level"


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
            findings.append(PairingIssue("extra", str(path), "not a picture; it is not scored"))
            continue
        name = unicodedata.normalize("NFC", path.stem)
        if name in files:
            findings.append(
                PairingIssue("duplicate", str(path), f"a second output of {name}: {files[name].name}", name, key)
            )
        else:
            files[name] = path
    return files


ALL = "all"
_MAX_BYTES = 2**20


@dataclass(frozen=True)
class Pairing:
    """What belongs together.

    Attributes:
        outputs: the folder of outputs.
        dataset: the built folder.
        root_hash: of the dataset.
        size: sides of its photos in px.
        split: the split that is scored, or `all`.
        masks: mask family.
        sketches: folder of drawn sketches; None for the stored ones.
        keys: all sets, sorted.
        photos: in the order of the dataset.
        findings: what is wrong so far.
    """

    outputs: Path
    dataset: Path
    root_hash: str
    size: int
    split: str
    masks: str
    sketches: Path | None
    keys: tuple[SetKey, ...]
    photos: tuple[PhotoFiles, ...]
    findings: tuple[PairingIssue, ...]


def pair_outputs(
    outputs: Path,
    dataset: Path,
    *,
    methods: tuple[str, ...] = (),
    levels: tuple[float, ...] = (),
    split: str | None = None,
    masks: str | None = None,
    sketches: Path | None = None,
) -> Pairing:
    """Pair by id; lists folders and opens no picture.

    Args:
        outputs: folder of outputs, in the layout METHOD/l0.25/ID.png or METHOD/none/ID.png.
        dataset: folder that `dpsdata build` made.
        methods: only these; empty for all.
        levels: likewise.
        split: of the dataset; None for that of the outputs.
        masks: family, or `files:DIR`; None for those of the outputs.
        sketches: folder of drawn sketches; None for those of the outputs.

    Returns:
        The pairs with all findings of the listing; nothing is left out yet.

    Raises:
        MissingError: no outputs, or no built dataset.
        UsageError: an unknown split, method or level, or no way to know the masks.
    """
    description = read_dataset(dataset)
    rows = [row for row in read_manifest(dataset) if row.status == "ok"]
    sets, findings = find_sets(outputs, methods, levels)
    run = read_run(outputs)
    made_from = run.get("dataset_root_hash")
    if made_from is not None and made_from != description["root_hash"]:
        reason = f"made from the dataset {str(made_from)[:16]}..., but {dataset} is {description['root_hash'][:16]}..."
        findings.append(PairingIssue("other-dataset", str(outputs / RUN_FILE), reason))
    split = _choose_split(rows, sets, split or run.get("split"))
    chosen = [row for row in rows if split in (ALL, row.split)]
    family, stored = _choose_masks(description, rows, masks, run, dataset)
    sketches = _choose_sketches(sketches, run)
    ids = [row.id for row in chosen]
    findings += _pair_ids(sets, ids, {row.id: row.split for row in rows}, dataset)
    seed = int(description["config"]["seed"])
    files = open_files(dataset, description, rows)
    sources, lacking = find_masks(chosen, files, family, seed, stored, is_from_files(str(run.get("masks"))))
    findings += lacking
    size = int(description["size"])
    photos = tuple(_gather(row.id, sets, files, size, sources[row.id], sketches) for row in chosen)
    findings += [
        PairingIssue("missing", str(photo.sketch), "this photo has no drawn sketch", photo.id)
        for photo in photos
        if photo.sketch is not None and not photo.sketch.exists()
    ]
    return Pairing(
        outputs,
        dataset,
        description["root_hash"],
        size,
        split,
        family,
        sketches,
        tuple(item.key for item in sets),
        photos,
        tuple(findings),
    )


def leave_out(pairing: Pairing, findings: Iterable[PairingIssue], allowed: Sequence[str]) -> Pairing:
    """Drop what the allowed findings concern.

    A photo is left out of every set, so that sets are compared on the same photos; where `unequal-ids` is allowed,
    each set keeps all that it has.

    Args:
        pairing: all pairs.
        findings: with the ids and sets that they concern.
        allowed: kinds that are tolerated.

    Returns:
        The pairs that are scored; a photo without any output is gone, and so is a set without any photo.
    """
    own_ids = "unequal-ids" in allowed
    everywhere = {item.id for item in findings if item.id and (item.key is None or not own_ids)}
    in_one_set = {(item.id, item.key) for item in findings if item.id}
    photos = []
    for photo in pairing.photos:
        kept = tuple(item for item in photo.outputs if (photo.id, item.key) not in in_one_set)
        if photo.id not in everywhere and kept:
            photos.append(replace(photo, outputs=kept))
    there = {item.key for photo in photos for item in photo.outputs}
    return replace(pairing, photos=tuple(photos), keys=tuple(key for key in pairing.keys if key in there))


def refused_findings(pairing: Pairing, findings: Iterable[PairingIssue], allowed: Sequence[str]) -> list[PairingIssue]:
    """The findings that no allowed kind tolerates; `missing` and `unequal-ids` are two views of the same gap.

    Args:
        pairing: all pairs, before anything is left out.
        findings: of the listing and of later checks.
        allowed: kinds that are tolerated.
    """
    present = {photo.id for photo in pairing.photos if photo.outputs}
    refused = []
    for item in findings:
        partly = item.kind == "missing" and item.key is not None and item.id in present
        implied = (item.kind == "unequal-ids" and "missing" in allowed) or (partly and "unequal-ids" in allowed)
        if item.kind not in allowed and not implied:
            refused.append(item)
    return refused


def read_run(outputs: Path) -> dict[str, Any]:
    """`run.json` of a folder of outputs; empty where there is none, as with a baseline's pictures.

    Raises:
        UsageError: the file is damaged.
    """
    path = outputs / RUN_FILE
    if not path.is_file():
        return {}
    try:
        stored = json.loads(path.read_bytes() if path.stat().st_size <= _MAX_BYTES else b"")
    except (OSError, ValueError, RecursionError):
        stored = None
    if not isinstance(stored, dict):
        raise UsageError(f"{path}: damaged, expected a JSON object; delete it and pass --masks and --sketches")
    wrong = [name for name in ("split", "masks", "sketches") if not isinstance(stored.get(name), str | None)]
    if wrong:
        raise UsageError(f"{path}: damaged, expected a text as {wrong[0]!r}; delete it and pass --{wrong[0]}")
    return stored


def _choose_split(rows: list[ManifestRow], sets: list[OutputSet], wanted: str | None) -> str:
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.split] = counts.get(row.split, 0) + 1
    if wanted is not None:
        if wanted != ALL and wanted not in counts:
            raise UsageError(f"split: expected all or one of {', '.join(sorted(counts))}, got {wanted!r}")
        return wanted
    found = {name for item in sets for name in item.files}
    splits = {row.split for row in rows if row.id in found}
    return next(iter(splits)) if len(splits) == 1 and len(counts) > 1 else ALL


def _choose_masks(
    description: dict[str, Any], rows: list[ManifestRow], wanted: str | None, run: dict[str, Any], dataset: Path
) -> tuple[str, str | None]:
    """The family, and the folder of the dataset that holds its masks."""
    made_with = run.get("masks")
    moved = is_from_files(str(wanted)) and is_from_files(str(made_with))
    if moved:  # the folder may lie elsewhere by now, its word says what was done with it
        wanted = f"{str(made_with).partition(':')[0]}:{str(wanted).partition(':')[2]}"
    if wanted is not None and made_with is not None and wanted != made_with and not moved:
        raise UsageError(f"masks: the outputs were made with {made_with}, got {wanted}; leave --masks out")
    if wanted or made_with:
        family = check_family(wanted or str(made_with))
        folder, key = find_stored_masks(description, family)
        made_from = str(run.get("mask_source"))
        if made_with and made_from.startswith("sha256:") and key != made_from:
            raise UsageError(
                f"masks: the outputs were made with other files than {family} holds now; pass --masks FOLDER with the "
                "original masks, or predict again into another folder"
            )
        is_stored = folder is not None and all(folder in row.masks for row in rows)
        return (family, folder) if is_stored else (check_masks(family), None)
    stored = sorted({family for row in rows for family in row.masks})
    if len(stored) == 1 and stored[0] in MASK_FAMILIES:
        return stored[0], stored[0]
    raise UsageError(
        f"masks: the outputs have no {RUN_FILE} that names their masks; run it again with --masks "
        f"{' or --masks '.join(stored) or 'FAMILY'}, or with --masks FOLDER for masks of your own"
    )


def _choose_sketches(wanted: Path | None, run: dict[str, Any]) -> Path | None:
    folder = wanted if wanted is not None else run.get("sketches")
    if folder is not None and not Path(folder).is_dir():
        raise UsageError(f"sketches: {folder}: there is no such folder; pass --sketches FOLDER")
    return None if folder is None else Path(folder)


def _pair_ids(sets: list[OutputSet], ids: list[str], splits: dict[str, str], dataset: Path) -> list[PairingIssue]:
    findings: list[PairingIssue] = []
    wanted = set(ids)
    held = {item.key: wanted & item.files.keys() for item in sets}
    anywhere = set().union(*held.values())
    unequal = any(ids_of_set != anywhere for ids_of_set in held.values())
    for item in sets:
        place = item.folder
        for name in ids:
            if name not in item.files:
                findings.append(PairingIssue("missing", str(place / f"{name}.png"), "no such output", name, item.key))
            elif item.refined is not None and name not in item.refined:
                reason = "no refined sketch, which other photos of this set have"
                findings.append(PairingIssue("missing", str(place / "refined" / f"{name}.png"), reason, name, item.key))
        for files in (item.files, item.refined or {}):
            for name, path in files.items():
                if name not in wanted:
                    where = f"of the split {splits[name]!r}" if name in splits else f"no id of {dataset}"
                    findings.append(PairingIssue("extra", str(path), f"{where}; it is not scored"))
    if unequal:
        counts = ", ".join(f"{key}: {len(held[key])}" for key in held)
        findings.append(PairingIssue("unequal-ids", "sets", f"they hold different photos ({counts} of {len(ids)})"))
    return findings


def _gather(
    identifier: str, sets: list[OutputSet], files: StoredFiles, size: int, mask: MaskSource, sketches: Path | None
) -> PhotoFiles:
    name = f"{identifier}.png"
    return PhotoFiles(
        identifier,
        size,
        files.source(f"images/{name}"),
        mask,
        files.source(f"sketches/{name}") if sketches is None else sketches / name,
        sketches is not None,
        tuple(
            OutputFile(item.key, item.files[identifier], (item.refined or {}).get(identifier))
            for item in sets
            if identifier in item.files
        ),
    )
