"""Published split lists: text files of names, matched to samples by path and never by shifted numbers."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dpsdata.contracts import BrokenImageError, MissingError, UsageError
from dpsdata.sources.read import SourceSample, read_place
from dpsdata.sources.scan import is_image_name

_SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_CODES = {"0": "train", "1": "val", "2": "test"}  # as in CelebA's list_eval_partition
_MAX_BYTES = 64 * 2**20


@dataclass(frozen=True)
class SplitList:
    """Names of one or several lists with their splits.

    Attributes:
        label: short name for the manifest, without folders.
        names: (name as listed, split).
        rest: split of all that no list names, or None.
    """

    label: str
    names: tuple[tuple[str, str], ...]
    rest: str | None = None


def _lines(path: Path) -> list[str]:
    try:
        data = read_place(path, None)
        if len(data) > _MAX_BYTES:
            raise MissingError(f"{path}: {len(data)} bytes are too many for a list of names")
        text = data.decode("utf-8-sig")
    except BrokenImageError as error:
        raise MissingError(f"{path}: cannot read this list: {error}") from None
    except UnicodeDecodeError:
        raise MissingError(f"{path}: not a text file in UTF-8; expected one name on each line") from None
    stripped = (line.strip() for line in text.splitlines())
    lines = [line for line in stripped if line and not line.startswith("#")]
    if not lines:
        raise MissingError(f"{path}: no names in this list")
    return lines


def _name_and_split(line: str) -> tuple[str, str]:
    """Split off the last field, behind a comma or white space."""
    head, comma, tail = line.rpartition(",")
    if not comma:
        head, _, tail = line.replace("\t", " ").rpartition(" ")
    return head.strip(), tail.strip()


def _read_table(path: Path) -> list[tuple[str, str]]:
    rows = [_name_and_split(line) for line in _lines(path)]
    if rows and rows[0][1].lower() in ("split", "partition"):
        rows = rows[1:]
    named = _CODES if all(last in _CODES for _, last in rows) else _SPLITS
    for name, last in rows:
        if not name or last.lower() not in named:
            raise UsageError(
                f"{path}: {(name + ' ' + last).strip()[:80]!r} has no split; expected `NAME train`, `NAME val` or "
                f"`NAME test` on each line; for a list of names alone write file:test={path.name}"
            )
    return [(name, named[last.lower()]) for name, last in rows]


def read_split_list(text: str) -> SplitList:
    """Read the lists of a `file:` rule.

    Args:
        text: `LIST`, or `SPLIT=LIST` with more after commas; one of them may be `SPLIT=rest`.

    Raises:
        UsageError: wrong grammar, or a line without its split.
        MissingError: a list cannot be read.
    """
    if "=" not in text:
        return SplitList(Path(text).name, tuple(_read_table(Path(text))))
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
            names += [(line, split) for line in _lines(Path(value.strip()))]
    if not names:
        raise UsageError(f"split: file:{text} names no list; expected one such as file:test=LIST,train=rest")
    return SplitList(",".join(labels), tuple(names), rest)


def _parts(name: str) -> tuple[str, ...]:
    """Parts of a path without an image's (or an array's) suffix."""
    path = PurePosixPath(unicodedata.normalize("NFC", name.replace("\\", "/")).lstrip("/"))
    if is_image_name(path.name) or path.suffix.lower() == ".npy":
        path = path.with_suffix("")
    return path.parts


def match_list(
    samples: Sequence[SourceSample], names: Sequence[tuple[str, str]]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Find the sample of each listed name: by ID, else by as many trailing parts of its path as agree.

    `img00000001.png` is not taken for `1.jpg`, nor 1-based numbers for 0-based ones.

    Args:
        samples: the source's samples.
        names: (name, split).

    Returns:
        ID -> split, and the names that the source does not have.

    Raises:
        UsageError: a name fits several samples, or a sample is in two splits.
        MissingError: not one name is in the source.
    """
    ids = {sample.id for sample in samples}
    tails: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for sample in samples:
        parts = _parts(sample.relative_path)
        for start in range(len(parts)):
            tails[parts[start:]].append(sample.id)
    placed: dict[str, str] = {}
    missing: list[str] = []
    for name, split in names:
        found = [name] if name in ids else _longest_tail(tails, _parts(name))
        if not found:
            missing.append(name)
            continue
        if len(found) > 1:
            raise UsageError(f"split: {name!r} in the list fits both {found[0]} and {found[1]}; list paths instead")
        if placed.setdefault(found[0], split) != split:
            raise UsageError(f"split: {name!r} is listed in {placed[found[0]]} and in {split}; keep one of them")
    if not placed:
        raise MissingError(
            f"split: none of the {len(names)} listed names is in the source; the list has names like {names[0][0]!r}, "
            f"the source has {samples[0].relative_path!r}, and numbers are never shifted to fit"
        )
    return placed, tuple(missing)


def _longest_tail(tails: dict[tuple[str, ...], list[str]], parts: tuple[str, ...]) -> list[str]:
    for start in range(len(parts)):
        found = tails.get(parts[start:])
        if found:
            return found
    return []
