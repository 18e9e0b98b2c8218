"""A folder as `dps doctor --data` sees it: photos, what `dpsdata build` made, or a folder of outputs."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dpsdata.contracts import NO_LEVEL, BrokenImageError, MissingError, UsageError, parse_level_folder
from models.doctor.findings import Finding, printable

_PROBED_COUNT = 5


@dataclass(frozen=True)
class DataFound:
    """What a folder holds.

    Attributes:
        kind: `photos`, `built`, `outputs` or `unknown`.
        layout: name of the layout of photos; else the kind.
        count: photos, samples or pictures.
    """

    kind: str
    layout: str
    count: int


UNKNOWN = DataFound("unknown", "unknown", 0)


def check_data(place: Path) -> tuple[DataFound, list[Finding]]:
    """Recognise a folder or zip; names and headers are read, `dpsdata verify` reads every byte.

    Args:
        place: what the person called their data.
    """
    from dpsdata.sources.scan import BUILT_MARKS  # with numpy, which --help has no time for

    if place.is_dir():
        names = _names_in(place)
        if names & BUILT_MARKS or {".build", "images"} <= names:
            return _check_built(place)
        sets = find_output_sets(place)
        if sets:
            return _check_outputs(place, sets)
    return _check_photos(place)


def find_output_sets(folder: Path) -> dict[tuple[str, str], int]:
    """{(method, folder of its level): number of pictures} of a folder of outputs; empty where it is none."""
    from dpsdata.sources.scan import is_image_name  # with numpy, which --help has no time for

    found: dict[tuple[str, str], int] = {}
    for method in _subfolders(folder):
        for level in _subfolders(method):
            if level.name == NO_LEVEL or _is_level(level.name):
                count = sum(is_image_name(item.name) for item in os.scandir(level))
                if count:
                    found[method.name, level.name] = count
    return found


def _subfolders(folder: Path) -> Iterator[Path]:
    with os.scandir(folder) as items:
        names = sorted(item.name for item in items if item.is_dir() and not item.name.startswith("."))
    return (folder / name for name in names)


def _is_level(name: str) -> bool:
    try:
        parse_level_folder(name)
    except UsageError:
        return False
    return True


def _problem(sentence: str, command: str) -> tuple[DataFound, list[Finding]]:
    return UNKNOWN, [Finding("data", "problem", printable(sentence), printable(command))]


def _quoted(place: Path) -> str:
    return shlex.quote(str(place))


def _check_built(folder: Path) -> tuple[DataFound, list[Finding]]:
    from dpsdata.dataset.journal import UNFINISHED, state_folder
    from dpsdata.dataset.manifest import manifest_text, read_dataset, read_manifest, root_hash
    from dpsdata.dataset.shards import dataset_format, open_files

    again = f"dpsdata build SOURCE {_quoted(folder)}"
    if (state_folder(folder) / UNFINISHED).exists() or not (folder / "dataset.json").is_file():
        return _problem(f"{folder}: a build that did not end; the same `dpsdata build` goes on with it", again)
    try:
        description, rows = read_dataset(folder), read_manifest(folder)
    except MissingError as error:
        return _problem(str(error), again)
    if root_hash(manifest_text(rows)) != description["root_hash"]:
        return _problem(f"{folder}: a broken built folder: manifest.csv is not the one of dataset.json", again)
    good = [row for row in rows if row.status == "ok"]
    if not good:
        return _problem(f"{folder}: a built folder without a sample; errors.csv holds the reasons", again)
    if dataset_format(description) != "files":
        try:
            open_files(folder, description, rows)
        except MissingError as error:
            return _problem(str(error), again)
    wanted: dict[str, set[str]] = {}
    for row in good if dataset_format(description) == "files" else []:
        for path in map(PurePosixPath, row.files()):
            wanted.setdefault(str(path.parent), set()).add(path.name)
    lost = [f"{part}/{name}" for part, names in wanted.items() for name in sorted(names - _names_in(folder / part))]
    if lost:
        sentence = f"{folder}: a broken built folder: {len(lost):,} files are missing, such as {lost[0]}"
        return _problem(sentence, again)
    counts: dict[str, int] = {}
    for row in good:
        counts[row.split] = counts.get(row.split, 0) + 1
    splits = ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()))
    sentence = (
        f"{folder}: built by `dpsdata build`, {len(good):,} samples of {description['size']} px ({splits}), no file "
        "missing; `dpsdata verify` hashes them"
    )
    return DataFound("built", "built", len(good)), [Finding("data", "ok", printable(sentence))]


def _names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def _check_outputs(folder: Path, sets: dict[tuple[str, str], int]) -> tuple[DataFound, list[Finding]]:
    from models.prediction.settings import read_run

    try:
        read_run(folder)
    except UsageError as error:
        return _problem(str(error), "dps predict BUILT ANOTHER_OUT --masks FAMILY")
    methods: dict[str, list[str]] = {}
    for method, level in sets:
        methods.setdefault(method, []).append(level)
    listed = "; ".join(f"{method}: {', '.join(levels)}" for method, levels in methods.items())
    found = DataFound("outputs", "outputs", sum(sets.values()))
    sentence = f"{folder}: outputs for `dpseval score`, {found.count:,} pictures ({listed})"
    if len(set(sets.values())) > 1:
        few = min(sets, key=lambda key: sets[key])
        sentence += (
            f"; the sets differ in size, {'/'.join(few)} has the fewest: {sets[few]:,} of {max(sets.values()):,}"
        )
        command = f"dps predict BUILT {_quoted(folder)} --masks FAMILY --method {shlex.quote(few[0])}"
        return found, [Finding("data", "note", printable(sentence), printable(command))]
    return found, [Finding("data", "ok", printable(sentence))]


def _check_photos(place: Path) -> tuple[DataFound, list[Finding]]:
    from dpsdata.images.header import probe_image
    from dpsdata.sources.layouts import find_samples, read_sample

    other = "dps doctor --data FOLDER_OF_PHOTOS"
    try:
        listing = find_samples(place)
    except (MissingError, UsageError) as error:
        return _problem(str(error), other)
    count = len(listing.samples)
    chosen = sorted({index * (count - 1) // max(1, _PROBED_COUNT - 1) for index in range(_PROBED_COUNT)})
    broken: list[str] = []
    sizes: list[str] = []
    for sample in (listing.samples[index] for index in chosen):
        try:
            width, height = probe_image(read_sample(sample))
            sizes.append(f"{width}x{height}")
        except BrokenImageError as error:
            broken.append(f"{sample.relative_path}: {error}")
    if not sizes:
        return _problem(f"{place}: no photo in it can be read, such as {broken[0]}", other)
    found = DataFound("photos", listing.layout, count)
    sentence = f"{place}: {count:,} photos, layout {listing.layout}, such as {sizes[0]} px"
    bad = broken + [f"{path}: {reason}" for path, reason in listing.skipped]
    if not bad:
        return found, [Finding("data", "ok", printable(sentence))]
    how_many = f"at least {len(bad)}" if broken else f"{len(bad):,}"
    command = f"dpsdata build {_quoted(place)} BUILT"
    sentence += f"; {how_many} cannot be used, such as {bad[0]}; a build leaves them out and lists them in errors.csv"
    return found, [Finding("data", "note", printable(sentence), printable(command))]
