"""CelebA-HQ layouts found on disk -> an ordered list of samples with stable IDs.

| layout          | shape                                                                      | split hint  |
|-----------------|----------------------------------------------------------------------------|-------------|
| `celebamask-hq` | `CelebA-HQ-img/{0..29999}.jpg` with its mapping or its label folder beside | none        |
| `data-pack`     | `00001.jpg` ... `30000.jpg` in one folder, counted from 1                  | none        |
| `stargan-v2`    | `{train,val}/{female,male}/*.jpg`                                          | train, val  |
| `flat-256`      | `celeba_hq_256/*.jpg`                                                      | none        |
| `folder`        | any folder of photos, read with all below it                               | see below   |

Each may lie in a zip too, given itself or alone in a folder. In `folder`, photos below folders named train, val
(valid, validation) and test take these as their split hint; what is outside such folders has none, and is told. A hint
of several (`test/train`, where folders of both names lie in each other) is refused by the rules that take hints.

An ID is the path below the source without its suffix, `/` as `__`, in Unicode NFC. Where several files
come to one ID (`x.jpg` and `x.png`), each of them gets `-` and the first 8 hex digits of the SHA-256 of
its content, so that no ID depends on the order in which files are found; so do IDs that differ in case alone,
since many disks hold only one of them. Files of one ID that have the same content too are taken once.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Any

from dpsdata.contracts import BrokenImageError, MissingError, UsageError, sample_id
from dpsdata.sources.scan import (
    ARCHIVE_SUFFIXES,
    BUILT_MARKS,
    MAPPING_NAME,
    Entry,
    Scan,
    SourceSample,
    hub_snapshot,
    read_place,
    read_sample,
    sample_stamp,
    scan_folder,
    scan_zip,
)

__all__ = [
    "LAYOUTS_SENTENCE",
    "Notice",
    "SourceListing",
    "SourceSample",
    "find_samples",
    "natural_key",
    "read_sample",
    "sample_stamp",
]

LAYOUTS_SENTENCE = (
    "dpsdata reads image files in folders or zips: CelebAMask-HQ, data packs 00001.jpg to 30000.jpg, "
    "StarGAN v2 trees, celeba_hq_256, or any folder of faces"
)
_FOREIGN_SUFFIXES = ARCHIVE_SUFFIXES | {".npy", ".npz", ".gz", ".dat"}
_SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_EXAMPLES = 5


@dataclass(frozen=True)
class Notice:
    """Something in a source or a dataset that a person should look at.

    Attributes:
        kind: its short name, such as `tiny` or `near-copies`.
        count: how many files or photos it is about.
        examples: a few of them.
        reason: what it is, and what to do about it.
    """

    kind: str
    count: int
    examples: tuple[str, ...]
    reason: str

    def describe(self) -> dict[str, Any]:
        """As `dataset.json` holds it."""
        return {"kind": self.kind, "reason": self.reason, "count": self.count, "examples": list(self.examples)}


@dataclass(frozen=True)
class SourceListing:
    """What was found in a source.

    Attributes:
        layout: name of the layout.
        root: the folder or zip that was listed.
        samples: all photos in natural order of their paths.
        skipped: (path, reason) of what looks like a photo by its name or content but is not taken.
        others: how many other files there are, by suffix or kind.
        notices: what was not clear in the source.
        lists: files that may say which photo is in which split, by their names.
    """

    layout: str
    root: Path
    samples: tuple[SourceSample, ...]
    skipped: tuple[tuple[str, str], ...]
    others: Mapping[str, int] = field(default_factory=dict)
    notices: tuple[Notice, ...] = ()
    lists: tuple[str, ...] = ()


def natural_key(path: str) -> tuple[object, ...]:
    """Sort key that counts numbers as numbers: 2.jpg before 10.jpg, folder by folder."""
    parts = unicodedata.normalize("NFC", path).split("/")
    pieces = tuple(
        tuple(int(piece) if number % 2 else piece for number, piece in enumerate(re.split("([0-9]+)", part)))
        for part in parts
    )
    return (pieces, path)


def _scan_source(source: Path, exclude: Path | None) -> tuple[Path, Scan, list[Notice]]:
    if not source.exists():
        raise MissingError(f"{source}: no such folder or zip; give the folder of your photos")
    if source.is_file():
        if source.suffix.lower() == ".zip":
            return source, scan_zip(source), []
        if source.suffix.lower() in _FOREIGN_SUFFIXES:
            raise MissingError(f"{source}: {source.suffix} files are not read; unpack it first. {LAYOUTS_SENTENCE}")
        raise UsageError(f"{source}: a single file; give its folder, or a zip. {LAYOUTS_SENTENCE}")
    if not source.is_dir():
        raise UsageError(f"{source}: expected a folder or a zip. {LAYOUTS_SENTENCE}")
    if exclude is not None and exclude.resolve() == source.resolve():
        raise UsageError(f"{source}: the source and the folder to build are the same; choose another folder to build")
    if all((source / mark).is_file() for mark in BUILT_MARKS):
        raise UsageError(f"{source}: a folder that `dpsdata build` made; give {source / 'images'} to use its photos")
    source = hub_snapshot(source)
    scan = scan_folder(source, exclude)
    if scan.entries:
        return source, scan, _zips_beside_photos(source, scan)
    if not scan.zips:
        return source, scan, []
    if len(scan.zips) == 1:
        return scan.zips[0].file, scan_zip(scan.zips[0].file), []
    for entry in sorted(scan.zips, key=lambda entry: natural_key(entry.relative_path)):
        try:
            inner = scan_zip(entry.file, f"{entry.relative_path}/")
        except MissingError as error:
            scan.skipped.append((entry.relative_path, str(error)))
            continue
        scan.entries += inner.entries
        scan.skipped += inner.skipped
        scan.marks |= inner.marks
        scan.others += inner.others
        scan.lists += inner.lists
    return source, scan, []


def _zips_beside_photos(source: Path, scan: Scan) -> list[Notice]:
    """What is said of zips where loose photos are taken; zips whose photos lie there unpacked are only counted.

    Raises:
        UsageError: the zips hold more photos than lie loose: these are hardly what is to be built.
    """
    loose = {entry.relative_path.rpartition("/")[2] for entry in scan.entries}
    unread: list[str] = []
    count = 0
    for entry in scan.zips:
        try:
            names = {PurePosixPath(item.relative_path).name for item in scan_zip(entry.file).entries}
        except MissingError:
            names = set()
        if names - loose:
            unread.append(entry.relative_path)
            count += len(names - loose)
        else:
            scan.others[".zip"] += 1
    if count > len(loose):
        raise UsageError(
            f"{source}: {len(scan.entries):,} loose images and {len(unread):,} zips with {count:,} others, such as "
            f"{unread[0]}; give the zip alone, unpack it, or move {scan.entries[0].relative_path} away"
        )
    if not unread:
        return []
    words = f"zips beside the photos are not read ({count:,} images in them); unpack them to use these"
    return [Notice("zips", len(unread), tuple(sorted(unread)[:_EXAMPLES]), words)]


def _detect(root: Path, scan: Scan) -> tuple[str, list[Entry]]:
    """The layout's name and the entries that belong to it."""
    # Lists of names, since a path object for each photo costs more than all else here.
    paths = {entry: entry.relative_path.split("/") for entry in scan.entries}
    images = [entry for entry, names in paths.items() if names[-2:-1] == ["CelebA-HQ-img"]]
    if images and scan.marks:
        return "celebamask-hq", images
    beside = root.parent / MAPPING_NAME
    if root.name == "CelebA-HQ-img" and beside.is_file():
        return "celebamask-hq", [entry for entry, names in paths.items() if len(names) == 1]
    everything = list(scan.entries)
    stargan = [entry for entry in everything if _STARGAN.search(entry.relative_path)]
    if len({paths[entry][-3] for entry in stargan}) > 1 or len(stargan) == len(everything):
        return "stargan-v2", everything
    folders = {tuple(names[:-1]) for names in paths.values()}
    if len(folders) == 1:
        (folder,) = folders
        stems = [PurePosixPath(names[-1]).stem for names in paths.values()]
        if all(re.fullmatch("[0-9]{5}", stem) and 1 <= int(stem) <= 30000 for stem in stems):
            return "data-pack", everything
        if "celeba_hq_256" in (folder[-1] if folder else root.stem, root.stem):
            return "flat-256", everything
    return "folder", everything


_STARGAN = re.compile(r"(^|/)(train|val)/(female|male)/[^/]+$")


def _split_hints(layout: str, entries: list[Entry]) -> tuple[dict[Entry, str], list[Notice]]:
    """Splits that the folders name, and what is outside such folders."""
    hints: dict[Entry, str] = {}
    parents = [tuple(entry.relative_path.split("/")[:-1]) for entry in entries]
    # A folder `test` around all of them is where somebody tried something, if others inside it name splits.
    levels = takewhile(lambda names: len(set(names)) == 1, zip(*parents, strict=False))
    shared = tuple(names[0] for names in levels)
    for entry, folders in zip(entries, parents, strict=True):
        if layout == "stargan-v2" and _STARGAN.search(entry.relative_path):
            hints[entry] = folders[-2]
        elif layout == "folder":
            named = _name_splits(folders[len(shared) :]) or _name_splits(shared)
            hints |= {entry: "/".join(named)} if named else {}
    outside = tuple(entry.relative_path for entry in entries if entry not in hints)
    if not hints or not outside:
        return hints, []
    words = "images are outside the folders that name the splits, and are in none of them (`unlisted`)"
    return hints, [Notice("outside-of-splits", len(outside), outside[:_EXAMPLES], words)]


def _name_splits(folders: tuple[str, ...]) -> list[str]:
    """The different splits that folders name, from the outermost on."""
    return list(dict.fromkeys(_SPLIT_NAMES[folder.lower()] for folder in folders if folder.lower() in _SPLIT_NAMES))


def _assign_ids(entries: list[Entry], skipped: list[tuple[str, str]]) -> dict[Entry, str]:
    """IDs of all entries; files whose ID cannot be told apart go to `skipped`."""
    groups: dict[str, list[Entry]] = defaultdict(list)
    names = {entry: sample_id(entry.relative_path) for entry in entries}
    for entry, name in names.items():
        groups[name.casefold()].append(entry)
    ids = {group[0]: names[group[0]] for group in groups.values() if len(group) == 1}
    taken = {name.casefold(): entry.relative_path for entry, name in ids.items()}
    for group in groups.values():
        if len(group) == 1:
            continue
        for entry in group:
            name = names[entry]
            try:
                digest = hashlib.sha256(read_place(entry.file, entry.member)).hexdigest()[:8]
            except BrokenImageError as error:
                skipped.append((entry.relative_path, str(error)))
                continue
            full = f"{name}-{digest}"
            if full.casefold() in taken:
                other = taken[full.casefold()]
                skipped.append((entry.relative_path, f"the same name and the same content as {other}"))
                continue
            ids[entry], taken[full.casefold()] = full, entry.relative_path
    return ids


def _nothing_found(source: Path, scan: Scan) -> MissingError:
    foreign = sorted(scan.others.keys() & _FOREIGN_SUFFIXES)
    if foreign == [".zip"]:
        return MissingError(f"{source}: it holds zips, and zips inside of a zip are not read; unpack the outer one")
    if foreign:
        return MissingError(
            f"{source}: it holds {', '.join(foreign)} files, not image files; "
            f"export them as PNG or JPEG first. {LAYOUTS_SENTENCE}"
        )
    if scan.skipped:
        path, reason = scan.skipped[0]
        return MissingError(
            f"{source}: no photo can be taken; {len(scan.skipped)} were skipped, such as {path}: {reason}"
        )
    return MissingError(f"{source}: no image files in it. {LAYOUTS_SENTENCE}")


def _archives(scan: Scan) -> list[Notice]:
    """Archives beside photos: they may hold what was meant."""
    found = {suffix: scan.others[suffix] for suffix in sorted(scan.others.keys() & ARCHIVE_SUFFIXES - {".zip"})}
    if not found:
        return []
    examples = tuple(f"{count} {suffix}" for suffix, count in found.items())[:_EXAMPLES]
    words = "archives beside the photos are not read; unpack them to use what they hold"
    return [Notice("archives", sum(found.values()), examples, words)]


def find_samples(source: Path | str, exclude: Path | None = None) -> SourceListing:
    """List the photos of a folder or zip in natural order, with stable IDs and the layout's name.

    Args:
        source: the folder or zip.
        exclude: folder that is left out, since it is the one to build.

    Returns:
        Samples and skipped paths. Nothing is decoded: a name decides here, the content later.

    Raises:
        MissingError: no such source, or no photo in it; says what is read instead.
        UsageError: a single file that is no zip, or `exclude` is the source itself.
    """
    root, scan, notices = _scan_source(Path(source), exclude)
    if not scan.entries:
        raise _nothing_found(root, scan)
    layout, entries = _detect(root, scan)
    entries.sort(key=lambda entry: natural_key(entry.relative_path))
    hints, outside = _split_hints(layout, entries)
    others = scan.others + Counter({"images of other folders": len(scan.entries) - len(entries)})
    notices += outside + _archives(scan)
    skipped = list(scan.skipped)
    ids = _assign_ids(entries, skipped)
    samples = tuple(
        SourceSample(ids[entry], entry.relative_path, entry.file, entry.member, hints.get(entry))
        for entry in entries
        if entry in ids
    )
    if not samples:
        scan.skipped = skipped
        raise _nothing_found(root, scan)
    skipped.sort(key=lambda item: (natural_key(item[0]), item[1]))
    counts, lists = dict(sorted(others.items())), tuple(sorted(scan.lists))
    return SourceListing(layout, root, samples, tuple(skipped), counts, tuple(notices), lists)
