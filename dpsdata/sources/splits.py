"""Named splits, by ID, with the hash of each ID list.

| rule                          | what it gives                                                                |
|-------------------------------|------------------------------------------------------------------------------|
| `auto`                        | the layout's own split where it has one, else `ratio`                        |
| `layout`                      | the layout's own split                                                       |
| `ratio`, `ratio:0.9,0.05,0.05`| train, val, test (two numbers: train, test) in the order of a hash of (seed, ID) |
| `last-2000`                   | the last 2000 in natural order are test, the rest train                      |
| `celeba-partition[:MAPPING]`  | CelebA's own partition, through `CelebA-HQ-to-CelebA-mapping.txt`            |
| `file:LIST`                   | a list with `NAME SPLIT` on each line                                        |
| `file:test=LIST,train=LIST2`  | lists of names, one a split; `train=rest` takes what no list names           |

`ratio` gives exact counts (largest remainders; one photo at least for a share above zero where there are
enough). A photo that is added moves at most one other across each border.
The SHA-256 of a list is that of its IDs in code point order, each with a line feed after it, in UTF-8.
Photos that a rule says nothing about are in the split `unlisted`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import ItemsView, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath

from dpsdata.contracts import BrokenImageError, MissingError, UsageError, hash_ids
from dpsdata.runtime.device import keyed_seed
from dpsdata.sources.scan import MAPPING_NAME, SourceSample, open_zip, read_place
from dpsdata.sources.split_lists import match_list, read_split_list

_MAX_NUMBER = 202_599
_MAX_BYTES = 16 * 2**20


def _find(root: Path) -> tuple[Path, int | None]:
    """The mapping in the source, beside it, or one folder below."""
    if root.is_file():
        for number, info in enumerate(open_zip(root).infolist()):
            if PurePosixPath(info.filename).name == MAPPING_NAME and "__MACOSX" not in info.filename:
                return root, number
        candidates = [root.parent / MAPPING_NAME]
    else:
        below = sorted(folder for folder in root.iterdir() if folder.is_dir()) if root.is_dir() else []
        candidates = [folder / MAPPING_NAME for folder in (root, root.resolve().parent, *below)]
    for candidate in candidates:
        if candidate.is_file():
            return candidate, None
    raise MissingError(
        f"{root}: no {MAPPING_NAME} in it; it comes with CelebAMask-HQ; name it with celeba-partition:PATH"
    )


def read_mapping(path: Path | None, root: Path) -> dict[int, int]:
    """Read the mapping.

    The number in `orig_file` is used, which counts from 1 as CelebA's partition list does; `orig_idx`
    counts from 0, and would be wrong by one at the borders.

    Args:
        path: the file, or None to look for it in the source.
        root: the source, a folder or zip.

    Returns:
        CelebA-HQ index -> number of the CelebA file, 1 to 202599.

    Raises:
        MissingError: not there, or not in the form `idx orig_idx orig_file`.
    """
    file, member = (path, None) if path is not None else _find(root)
    try:
        text = read_place(file, member)[:_MAX_BYTES].decode("utf-8-sig")
    except (BrokenImageError, UnicodeDecodeError) as error:
        raise MissingError(f"{file}: cannot read the mapping: {error}") from None
    mapping: dict[int, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split()
        if not fields or (number == 1 and fields[0] == "idx"):
            continue
        stem = PurePosixPath(fields[-1]).stem
        numbers = len(fields) == 3 and fields[0].isascii() and fields[0].isdigit() and stem.isascii() and stem.isdigit()
        if not numbers or len(stem) > 6 or not 1 <= int(stem) <= _MAX_NUMBER or len(fields[0]) > 6:
            raise MissingError(
                f"{file}: line {number} is {line[:60]!r}; expected `idx orig_idx orig_file`, "
                "such as `0 119613 119614.jpg`"
            )
        if mapping.setdefault(int(fields[0]), int(stem)) != int(stem):
            raise MissingError(
                f"{file}: line {number} gives index {fields[0]} a second file; download the mapping again"
            )
    if not mapping:
        raise MissingError(f"{file}: no lines of the form `idx orig_idx orig_file`; download the mapping again")
    return mapping


UNLISTED = "unlisted"
_ORDER = ("train", "val", "test")
_DEFAULT_SHARES = (0.9, 0.05, 0.05)
_RULES = "auto, layout, ratio:TRAIN,VAL,TEST, last-N, celeba-partition[:MAPPING], file:LIST or file:SPLIT=LIST,..."
# CelebA's list_eval_partition: 000001.jpg to 162770.jpg train, to 182637.jpg validation, to 202599.jpg test.
_LAST_TRAIN, _LAST_VAL = 162770, 182637

# `trainA`, `train2017`, `test_hq`, and no `trains`.
_NEAR_SPLIT = re.compile(r"(?i:(train|val|test))(?i:ing|id|idation)?(?:$|[^a-z])")


@dataclass(frozen=True)
class Splits:
    """IDs of every split, in the order of the samples.

    Attributes:
        rule: the rule that was carried out, with its defaults filled in.
        parts: split name -> IDs; every sample is in exactly one.
        missing: names of a published list that the source does not have.
        notes: what was taken to be meant by a list, for people to check.
    """

    rule: str
    parts: Mapping[str, tuple[str, ...]]
    missing: tuple[str, ...] = field(default=())
    notes: tuple[str, ...] = field(default=())

    @cached_property
    def _by_id(self) -> dict[str, str]:
        return {name: split for split, ids in self.parts.items() for name in ids}

    def items(self) -> ItemsView[str, tuple[str, ...]]:
        """Pairs of split name and IDs: train, val, test, then others."""
        return self.parts.items()

    def split_of(self, sample_id: str) -> str:
        """The split of an ID; `unlisted` for one that no rule has placed."""
        return self._by_id.get(sample_id, UNLISTED)

    def counts(self) -> dict[str, int]:
        """Number of IDs in each split."""
        return {split: len(ids) for split, ids in self.parts.items()}

    def hashes(self) -> dict[str, str]:
        """SHA-256 of each ID list, see `hash_ids`."""
        return {split: hash_ids(ids) for split, ids in self.parts.items()}


def _gather(
    rule: str, samples: Sequence[SourceSample], placed: Mapping[str, str], missing: Iterable[str] = ()
) -> Splits:
    parts: dict[str, list[str]] = defaultdict(list)
    for sample in samples:
        parts[placed.get(sample.id, UNLISTED)].append(sample.id)
    rank = {name: number for number, name in enumerate((*_ORDER, UNLISTED))}
    names = sorted(parts, key=lambda name: (rank.get(name, len(_ORDER) - 0.5), name))
    return Splits(rule, {name: tuple(parts[name]) for name in names}, tuple(missing))


def _by_layout(samples: Sequence[SourceSample]) -> Splits:
    both = next((sample for sample in samples if "/" in (sample.split_hint or "")), None)
    if both is not None:
        raise UsageError(
            f"split: {both.relative_path} is in folders of several splits ({both.split_hint}); move it, or pass "
            "--split ratio or --split file:LIST"
        )
    placed = {sample.id: sample.split_hint for sample in samples if sample.split_hint}
    if not placed:
        raise UsageError("split: this source has no split of its own; use ratio, last-N or file:LIST")
    return _gather("layout", samples, placed)


def _has_own_split(samples: Sequence[SourceSample]) -> bool:
    """Whether the layout has a split of its own.

    Raises:
        UsageError: one folder alone names a split and others are outside it: nothing says which split they are in.
    """
    named = {sample.split_hint for sample in samples}
    if None in named and len(named) == 2:
        inside = [sample for sample in samples if sample.split_hint]
        others = [sample for sample in samples if not sample.split_hint]
        raise UsageError(
            f"split: {len(inside):,} photos are in a folder named {inside[0].split_hint}, such as "
            f"{inside[0].relative_path}, and {len(others):,} outside of it, such as {others[0].relative_path}; pass "
            "--split layout to leave these in no split, --split ratio to split all at random, or --split file:LIST"
        )
    if named == {None}:
        _check_folder_names(samples)
    return named != {None}


def _check_folder_names(samples: Sequence[SourceSample]) -> None:
    """Raise UsageError where folders are named nearly as splits are: those are not to be dealt anew in silence."""
    found: dict[str, str] = {}
    for sample in samples:
        for part in sample.relative_path.split("/")[:-1]:
            match = _NEAR_SPLIT.match(part)
            if match:
                found.setdefault(match[1].lower(), part)
    if len(found) > 1:
        names = " and ".join(list(found.values())[:2])
        raise UsageError(
            f"split: the folders {names} look like splits, but those that are read are named train, val and test; "
            "rename them, or pass --split ratio to split at random, or --split file:LIST"
        )


def _shares(text: str) -> tuple[float, ...]:
    try:
        shares = tuple(float(part) for part in text.split(","))
    except ValueError:
        shares = ()
    if len(shares) not in (2, 3) or not all(0 <= share <= 1 for share in shares) or abs(sum(shares) - 1) > 1e-6:
        raise UsageError(f"split: expected ratio:TRAIN,VAL,TEST with numbers that add up to 1, got ratio:{text}")
    return shares


def _share_counts(count: int, shares: Sequence[float]) -> list[int]:
    """Whole numbers that add up to `count`, by largest remainders, with none of a share above zero empty."""
    exact = [count * share for share in shares]
    counts = [int(value + 1e-9) for value in exact]
    for place in sorted(range(len(shares)), key=lambda place: counts[place] - exact[place])[: count - sum(counts)]:
        counts[place] += 1
    wanted = [place for place, share in enumerate(shares) if share > 0]
    if count >= len(wanted):
        for place in wanted:
            if counts[place] == 0:
                counts[counts.index(max(counts))] -= 1
                counts[place] = 1
    return counts


def _by_ratio(samples: Sequence[SourceSample], text: str, seed: int) -> Splits:
    shares = _shares(text) if text else _DEFAULT_SHARES
    names = _ORDER if len(shares) == 3 else ("train", "test")
    order = sorted((sample.id for sample in samples), key=lambda name: (keyed_seed(seed, name, "split"), name))
    placed: dict[str, str] = {}
    start = 0
    for name, count in zip(names, _share_counts(len(order), shares), strict=True):
        placed.update(dict.fromkeys(order[start : start + count], name))
        start += count
    return _gather("ratio:" + ",".join(f"{share:g}" for share in shares), samples, placed)


def _by_last(samples: Sequence[SourceSample], count: int) -> Splits:
    if not 1 <= count < len(samples):
        raise UsageError(
            f"split: last-{count} needs more than {count} photos, and at least 1; there are {len(samples)}"
        )
    placed = {sample.id: "train" if place < len(samples) - count else "test" for place, sample in enumerate(samples)}
    return _gather(f"last-{count}", samples, placed)


def _by_celeba_partition(samples: Sequence[SourceSample], mapping_file: str, root: Path) -> Splits:
    mapping = read_mapping(Path(mapping_file) if mapping_file else None, root)
    placed = {}
    for sample in samples:
        stem = PurePosixPath(sample.relative_path).stem
        if not re.fullmatch("0|[1-9][0-9]{0,4}", stem):
            # 00001.jpg of a data pack counts from 1, other sets count anew: nothing is guessed
            raise UsageError(
                f"{sample.relative_path}: celeba-partition needs the file names of CelebAMask-HQ, 0.jpg to 29999.jpg; "
                "use ratio, last-N or file:LIST for this source"
            )
        number = mapping.get(int(stem))
        if number is not None:
            placed[sample.id] = "train" if number <= _LAST_TRAIN else "val" if number <= _LAST_VAL else "test"
    return _gather("celeba-partition", samples, placed)


def _by_lists(samples: Sequence[SourceSample], text: str, root: Path) -> Splits:
    listed = read_split_list(text)
    placed, missing = match_list(samples, listed.names, root)
    if listed.rest:
        placed = {sample.id: placed.get(sample.id, listed.rest) for sample in samples}
    return replace(_gather(f"file:{listed.label}", samples, placed, missing), notes=listed.notes)


def make_splits(samples: Sequence[SourceSample], rule: str, seed: int, root: Path) -> Splits:
    """Put every sample into a split.

    Args:
        samples: all samples in natural order (all of the source, not a `--limit` of it).
        rule: one of the rules above.
        seed: used by `ratio`.
        root: source folder or zip, where `celeba-partition` looks for the mapping.

    Raises:
        UsageError: no such rule, or one that does not fit the samples.
        MissingError: a list or the mapping is not there or cannot be read, or not one of its names is in the source.
    """
    name, _, argument = rule.partition(":")
    last = re.fullmatch("last-([0-9]{1,9})", rule)
    if name == "auto" and not argument:
        return _by_layout(samples) if _has_own_split(samples) else _by_ratio(samples, "", seed)
    if name == "layout" and not argument:
        return _by_layout(samples)
    if name == "ratio":
        return _by_ratio(samples, argument, seed)
    if last:
        return _by_last(samples, int(last[1]))
    if name == "celeba-partition":
        return _by_celeba_partition(samples, argument, root)
    if name == "file" and argument:
        return _by_lists(samples, argument, root)
    raise UsageError(f"split: expected {_RULES}, got {rule!r}")
