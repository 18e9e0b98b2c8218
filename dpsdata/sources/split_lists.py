"""Published split lists: names in a text, CSV or JSON file, matched to samples by path and never by shifted numbers.

Read are lists with `NAME SPLIT` on each line (columns apart by white space, commas, semicolons or tabs, in any order,
quoted or not, with or without a header and further columns), lists of names alone, and JSON, as `{"train": [names]}` or
`{name: "train"}`; in UTF-8, UTF-16 or, where that does not fit, Windows-1252. What can be meant in two ways is refused.
"""

from __future__ import annotations

import codecs
import csv
import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from dpsdata.contracts import BrokenImageError, MissingError, UsageError
from dpsdata.sources.scan import SourceSample, is_image_name, read_place

_SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
           "testing": "test"}  # fmt: skip
_CODES = {"0": "train", "1": "val", "2": "test"}  # as in CelebA's list_eval_partition
_SPLIT_HEADERS = frozenset({"split", "partition", "set", "subset"})
_NAME_HEADERS = frozenset(
    {"image", "images", "image_id", "imageid", "image_name", "imagename", "img", "file", "files", "file_name",
     "filename", "filenames", "name", "names", "path", "paths", "filepath", "file_path", "photo", "id"}
)  # fmt: skip
_ENCODINGS = ((codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF16_LE, "utf-16"),
              (codecs.BOM_UTF16_BE, "utf-16"))  # fmt: skip
_MAX_BYTES = 64 * 2**20

Rows = list[list[str]]


@dataclass(frozen=True)
class SplitList:
    """Names of one or several lists with their splits.

    Attributes:
        label: short name for the manifest, without folders.
        names: (name as listed, split).
        rest: split of all that no list names, or None.
        notes: what was taken to be meant, for people to check.
    """

    label: str
    names: tuple[tuple[str, str], ...]
    rest: str | None = None
    notes: tuple[str, ...] = ()


def _read_text(path: Path, notes: list[str]) -> str:
    try:
        data = read_place(path, None)
    except BrokenImageError as error:
        raise MissingError(f"{path}: cannot read this list: {error}") from None
    if len(data) > _MAX_BYTES:
        raise MissingError(f"{path}: {len(data)} bytes are too many for a list of names")
    encoding = next((name for mark, name in _ENCODINGS if data.startswith(mark)), "utf-8-sig")
    if encoding == "utf-8-sig" and b"\0" in data[:2]:
        encoding = "utf-16-le" if data[1] == 0 else "utf-16-be"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        text = data.decode("cp1252", "replace")
        notes.append(f"{path.name} is not in UTF-8; it is read as Windows-1252")
    if "\0" in text:
        raise MissingError(f"{path}: not a text file; expected one name on each line, in UTF-8")
    return text


def _read_lines(text: str, path: Path) -> list[str]:
    stripped = (line.strip() for line in re.split(r"\r\n|\r|\n", text))
    lines = [line for line in stripped if line and not line.startswith("#")]
    if not lines:
        raise MissingError(f"{path}: no names in this list")
    return lines


def _tables(lines: list[str]) -> Iterator[Rows]:
    """The lines as rows of two cells or more, by each mark that may stand between columns."""
    for mark in ("\t", ";", ","):
        if any(mark in line for line in lines[:2]):
            rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=mark, skipinitialspace=True)]
            if len({len(row) for row in rows}) == 1 and len(rows[0]) > 1:
                yield _drop_empty(rows)
            # A name may hold the mark: the last one parts it from its split.
            split = [line.strip().rpartition(mark) for line in lines]
            if all(found for _, found, _ in split):
                yield [[_unquote(name), _unquote(last)] for name, _, last in split]
    parted = [line.rsplit(None, 1) for line in lines]
    if len(parted[0]) == 1 and parted[0][0] == str(len(parted) - 1):  # CelebA's lists begin with their count
        parted = parted[1:]
    if parted and all(len(row) == 2 for row in parted):
        yield [[_unquote(cell) for cell in row] for row in parted]


def _drop_empty(rows: Rows) -> Rows:
    """Without columns that are empty in every row below the first: what a comma at the end makes."""
    kept = [column for column in range(len(rows[0])) if any(row[column] for row in rows[1:] or rows)]
    return [[row[column] for column in kept] for row in rows]


def _unquote(text: str) -> str:
    text = text.strip()
    return text[1:-1].strip() if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text


def _columns(rows: Rows) -> tuple[Rows, int, int] | None:
    """Rows without their header, and the columns of the names and of the splits; None where there are none such."""
    header = [cell.lower() for cell in rows[0]]
    places = range(len(header))
    splits = [place for place in places if header[place] in _SPLIT_HEADERS]
    names = [place for place in places if header[place] in _NAME_HEADERS]
    if splits or (names and len(rows) > 1 and not any(is_image_name(cell) for cell in header)):
        rows = rows[1:]
    if not rows:
        return None
    if not splits:
        values = [{row[place].lower() for row in rows} for place in places]
        splits = [place for place in places if values[place] <= _SPLITS.keys()]
        if not splits and values[-1] <= _CODES.keys():
            splits = [places[-1]]
    if len(splits) != 1:
        return None
    others = [place for place in places if place != splits[0]]
    if len(names) != 1 and len(others) > 1:
        names = [place for place in others if all(is_image_name(row[place]) for row in rows)]
    elif len(names) != 1:
        names = others
    return (rows, names[0], splits[0]) if len(names) == 1 else None


def _read_json(path: Path, text: str) -> list[tuple[str, str]] | None:
    """Names with their splits from JSON; None where it is none. The splits may be the keys, or the values."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        content: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    pairs: list[tuple[Any, Any]] = []
    if isinstance(content, dict):
        for key, value in content.items():
            pairs += [(name, key) for name in value] if isinstance(value, list) else [(key, value)]
    if not pairs or not all(isinstance(name, str) and isinstance(split, str) for name, split in pairs):
        raise UsageError(f'{path}: expected JSON as {{"train": [NAMES], "test": [NAMES]}}, or a text file of names')
    for name, split in pairs:
        if split.lower() not in _SPLITS:
            raise UsageError(f"{path}: {name[:80]!r} is in the split {split[:80]!r}; expected train, val or test")
    return [(name, _SPLITS[split.lower()]) for name, split in pairs]


def _read_table(path: Path, notes: list[str]) -> list[tuple[str, str]]:
    text = _read_text(path, notes)
    pairs = _read_json(path, text)
    if pairs is not None:
        return pairs
    lines = _read_lines(text, path)
    for table in _tables(lines):
        found = _columns(table)
        if found is not None:
            rows, name, split = found
            named = _meaning(path, rows, split, notes)
            return [_place(path, row[name], row[split], named) for row in rows]
    rows = [line.replace(",", " ").replace(";", " ").split() for line in lines]
    wrong = next((row for row in rows if not {cell.lower() for cell in row} & _SPLITS.keys()), rows[0])
    raise UsageError(
        f"{path}: {' '.join(wrong)[:80]!r} has no split; expected `NAME train`, `NAME val` or "
        f"`NAME test` on each line; for a list of names alone write file:test={path.name}"
    )


def _meaning(path: Path, rows: Rows, column: int, notes: list[str]) -> dict[str, str]:
    """What the values of the column of splits mean."""
    values = {row[column].lower() for row in rows}
    if not values <= _CODES.keys():
        return _SPLITS
    if "0" not in values:
        raise UsageError(
            f"{path}: its splits are the numbers {', '.join(sorted(values))}; CelebA's count from 0 (0 train, 1 val, "
            "2 test), and a list that counts from 1 looks the same; write train, val or test instead of numbers"
        )
    notes.append(f"numbers of {path.name} are read as CelebA's: 0 train, 1 val, 2 test")
    return _CODES


def _place(path: Path, name: str, split: str, named: dict[str, str]) -> tuple[str, str]:
    if not name or split.lower() not in named:
        raise UsageError(
            f"{path}: {(name + ' ' + split).strip()[:80]!r} has no split; expected `NAME train`, `NAME val` or "
            f"`NAME test` on each line; for a list of names alone write file:test={path.name}"
        )
    return name, named[split.lower()]


def _read_names(path: Path, notes: list[str]) -> list[str]:
    """Names of a list without splits; a header and a column of running numbers are left out."""
    text = _read_text(path, notes)
    if _read_json(path, text) is not None:
        raise UsageError(f"{path}: this list already names the splits; write file:{path.name}")
    lines = _read_lines(text, path)
    for table in _tables(lines):
        found = _columns(table)
        if found is not None and {row[found[2]].lower() for row in found[0]} <= _SPLITS.keys():
            raise UsageError(f"{path}: this list already names the splits; write file:{path.name}")
        name = next((place for place in range(len(table[0])) if all(is_image_name(row[place]) for row in table[1:])), 0)
        body = table if is_image_name(table[0][name]) else table[1:]
        counted = [{row[place] for row in body} for place in range(name)]
        is_counted = all(len(values) == len(body) and all(value.isdigit() for value in values) for values in counted)
        if name and name == len(table[0]) - 1 and is_counted:
            return [row[name] for row in body]
    lines = [_unquote(line.rstrip(",;\t ")) for line in lines]
    if lines[0].lower() in _NAME_HEADERS and len(lines) > 1:
        lines = lines[1:]
    return lines


def read_split_list(text: str) -> SplitList:
    """Read the lists of a `file:` rule.

    Args:
        text: `LIST`, or `SPLIT=LIST` with more after commas; one of them may be `SPLIT=rest`.

    Raises:
        UsageError: wrong grammar, or a line without its split.
        MissingError: a list cannot be read.
    """
    notes: list[str] = []
    if "=" not in text or Path(text).is_file():
        return SplitList(Path(text).name, tuple(_read_table(Path(text), notes)), None, tuple(notes))
    names: list[tuple[str, str]] = []
    rest: str | None = None
    labels = []
    for part in text.split(","):
        key, equals, value = part.partition("=")
        split = _SPLITS.get(key.strip().lower())
        if not equals or split is None or not value.strip():
            raise UsageError(f"split: expected file:LIST or file:test=LIST,train=LIST2, got file:{text}")
        labels.append(f"{split}={Path(value.strip()).name}")
        if value.strip() == "rest":
            rest = split
        else:
            names += [(line, split) for line in _read_names(Path(value.strip()), notes)]
    if not names:
        raise UsageError(f"split: file:{text} does not name a list; expected one such as file:test=LIST,train=rest")
    return SplitList(",".join(labels), tuple(names), rest, tuple(notes))


def _parts(name: str) -> tuple[str, ...]:
    """Parts of a path without an image's (or an array's) suffix."""
    path = PurePosixPath(unicodedata.normalize("NFC", name.replace("\\", "/")).lstrip("/"))
    if is_image_name(path.name) or path.suffix.lower() == ".npy":
        path = path.with_suffix("")
    return path.parts


def match_list(
    samples: Sequence[SourceSample], names: Sequence[tuple[str, str]], root: Path
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Find the sample of each listed name: by ID, or where one of the two paths ends with the other.

    `img00000001.png` is not taken for `1.jpg`, nor 1-based numbers for 0-based ones, nor `train/0.png` for `val/0.png`:
    a folder that both name must be the same. Where names lie in several folders that are not in the source, only those
    of the folder that the source itself is are meant.

    Args:
        samples: the source's samples.
        names: (name, split).
        root: the source.

    Returns:
        ID -> split, and the names that the source does not have.

    Raises:
        UsageError: a name fits several samples, a sample is in two splits, or numbers have lost their zeros.
        MissingError: not one name is in the source.
    """
    ids = {sample.id for sample in samples}
    tails: dict[tuple[str, ...], list[str]] = defaultdict(list)
    whole: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for sample in samples:
        parts = _parts(sample.relative_path)
        whole[parts].append(sample.id)
        for start in range(len(parts)):
            tails[parts[start:]].append(sample.id)
    # (name, split, parts, number of its parts that lead to the source and not into it)
    listed = [(name, split, parts, _outer_parts(whole, parts)) for name, split in names for parts in [_parts(name)]]
    outer = {parts[:count] for name, _, parts, count in listed if count and name not in ids and parts not in tails}
    own = root.stem if root.suffix.lower() == ".zip" else root.resolve().name
    placed: dict[str, str] = {}
    missing: list[str] = []
    for name, split, parts, count in listed:
        found = [name] if name in ids else tails.get(parts, [])
        leads_here = count and parts[count - 1] == own
        if not found and count and (leads_here or not (len(outer) > 1 or _names_other_split(parts[:count], own))):
            found = whole[parts[count:]]
        if not found:
            missing.append(name)
            continue
        if len(found) > 1:
            raise UsageError(f"split: {name!r} in the list fits both {found[0]} and {found[1]}; list paths instead")
        if placed.setdefault(found[0], split) != split:
            raise UsageError(f"split: {name!r} is listed in {placed[found[0]]} and in {split}; keep one of them")
    _check_zeros(samples, missing)
    if not placed:
        raise MissingError(
            f"split: none of the {len(names)} listed names is in the source; the list has names like {names[0][0]!r}, "
            f"the source has {samples[0].relative_path!r}; numbers are never shifted to fit, and no other folder is "
            "taken for the one that a list names"
        )
    return placed, tuple(missing)


def _outer_parts(whole: dict[tuple[str, ...], list[str]], parts: tuple[str, ...]) -> int:
    """How many parts of a listed path stand before the whole path of a sample; 0 where it is no such path."""
    return next((start for start in range(1, len(parts)) if parts[start:] in whole), 0)


def _names_other_split(outer: tuple[str, ...], own: str) -> bool:
    """Whether a path leads into the folder of a split that the source's own name says it is not."""
    wanted, given = _SPLITS.get(outer[-1].lower() if outer else ""), _SPLITS.get(own.lower())
    return wanted is not None and given is not None and wanted != given


def _check_zeros(samples: Sequence[SourceSample], missing: Sequence[str]) -> None:
    """Refuse lists whose numbers a spreadsheet has stripped of their zeros; 1.jpg and 00001.jpg may be two photos."""
    stems = [(stem, PurePosixPath(name).suffix) for name in missing for stem in _parts(name)[-1:]]
    bare = {stem for stem, _ in stems if stem.isascii() and stem.isdigit() and (stem == "0" or stem[0] != "0")}
    for sample in samples if bare else ():
        stem = _parts(sample.relative_path)[-1]
        if stem.isascii() and stem.isdigit() and stem.startswith("0") and str(int(stem)) in bare - {stem}:
            raise UsageError(
                f"split: the list has {str(int(stem))!r} where the source has {sample.relative_path!r}: a spreadsheet "
                "has dropped the zeros, or these are numbers of another set; write the names as the files have them"
            )
