from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpsdata.contracts import MissingError, UsageError, hash_ids
from dpsdata.sources.layouts import SourceSample
from dpsdata.sources.splits import Splits, make_splits

NOWHERE = Path("/nowhere")
HEADER = "idx   orig_idx     orig_file\n"


def _samples(*paths: str, hint: str | None = None) -> list[SourceSample]:
    return [
        SourceSample(path.rpartition(".")[0].replace("/", "__"), path, NOWHERE / path, None, hint) for path in paths
    ]


def _numbered(count: int) -> list[SourceSample]:
    return _samples(*(f"{number}.jpg" for number in range(count)))


def _split(samples: list[SourceSample], rule: str, seed: int = 0, root: Path = NOWHERE) -> Splits:
    return make_splits(samples, rule, seed, root)


def test_hash_of_an_id_list() -> None:
    assert hash_ids(["b", "a", "é"]) == hashlib.sha256("a\nb\né\n".encode()).hexdigest()
    assert hash_ids([]) == hashlib.sha256(b"").hexdigest()


@pytest.mark.parametrize(
    ("rule", "count", "expected"),
    [
        ("ratio", 100, {"train": 90, "val": 5, "test": 5}),
        ("ratio", 12, {"train": 10, "val": 1, "test": 1}),
        ("ratio", 3, {"train": 1, "val": 1, "test": 1}),
        ("ratio", 1, {"train": 1}),
        ("ratio:0.5,0.25,0.25", 7, {"train": 3, "val": 2, "test": 2}),
        ("ratio:0.8,0.2", 10, {"train": 8, "test": 2}),
        ("ratio:1,0,0", 4, {"train": 4}),
        ("last-2", 5, {"train": 3, "test": 2}),
    ],
)
def test_counts(rule: str, count: int, expected: dict[str, int]) -> None:
    assert _split(_numbered(count), rule).counts() == expected


@given(st.integers(1, 60), st.integers(0, 5), st.sampled_from(["ratio", "ratio:0.3,0.3,0.4", "ratio:0.5,0.5"]))
@settings(max_examples=40, deadline=None)
def test_ratio_is_a_partition_that_ignores_the_order(count: int, seed: int, rule: str) -> None:
    samples = _numbered(count)
    splits = _split(samples, rule, seed)
    assert sorted(name for _, ids in splits.items() for name in ids) == sorted(sample.id for sample in samples)
    assert splits.hashes() == _split(samples[::-1], rule, seed).hashes()
    assert all(splits.split_of(name) == split for split, ids in splits.items() for name in ids)


def test_ratio_follows_the_seed_and_keeps_photos_when_one_is_added() -> None:
    before, after = _split(_numbered(200), "ratio"), _split(_numbered(201), "ratio")
    moved = sum(before.split_of(str(number)) != after.split_of(str(number)) for number in range(200))
    assert moved <= 2
    assert before.hashes() != _split(_numbered(200), "ratio", seed=1).hashes()


def test_last_takes_the_end_of_the_natural_order() -> None:
    splits = _split(_samples("2.jpg", "9.jpg", "10.jpg"), "last-1")
    assert dict(splits.items()) == {"train": ("2", "9"), "test": ("10",)}
    with pytest.raises(UsageError, match="there are 3"):
        _split(_numbered(3), "last-3")
    with pytest.raises(UsageError, match="at least 1"):
        _split(_numbered(3), "last-0")


def test_auto_and_layout() -> None:
    hinted = [*_samples("a.jpg", hint="train"), *_samples("b.jpg", hint="val")]
    for rule in ("auto", "layout"):
        splits = _split(hinted, rule)
        assert dict(splits.items()) == {"train": ("a",), "val": ("b",)}
        assert splits.rule == "layout"
    assert _split(_numbered(20), "auto").rule == "ratio:0.9,0.05,0.05"
    partly = [*hinted, *_samples("c.jpg")]
    assert _split(partly, "layout").split_of("c") == "unlisted"
    with pytest.raises(UsageError, match="no split of its own"):
        _split(_numbered(3), "layout")


@pytest.mark.parametrize(
    "rule",
    ["", "first-3", "ratio:a", "ratio:0.5,0.6", "ratio:1", "ratio:1.5,-0.5", "ratio:nan,1", "last-", "last--1", "file:",
     "auto:x"],
)  # fmt: skip
def test_wrong_rules(rule: str) -> None:
    with pytest.raises(UsageError, match="split: expected"):
        _split(_numbered(5), rule)


# CelebA's borders: file 162770 is the last of train, 162771 to 182637 are validation, 182638 on test.
_BORDERS = [(162770, "train"), (162771, "val"), (182637, "val"), (182638, "test"), (1, "train"), (202599, "test")]


def _mapping_text() -> str:
    # the second column counts from 0, and would put 162771 and 182638 on the wrong side
    return HEADER + "".join(
        f"{index:<10}{number - 1:<10}{number:06d}.jpg\n" for index, (number, _) in enumerate(_BORDERS)
    )


def test_celeba_partition_at_its_borders(tmp_path: Path) -> None:
    (tmp_path / "CelebA-HQ-to-CelebA-mapping.txt").write_text(_mapping_text())
    samples = _samples(*(f"CelebA-HQ-img/{number}.jpg" for number in range(7)))
    splits = _split(samples, "celeba-partition", root=tmp_path)
    assert [splits.split_of(f"CelebA-HQ-img__{index}") for index in range(6)] == [split for _, split in _BORDERS]
    assert splits.split_of("CelebA-HQ-img__6") == "unlisted"
    (tmp_path / "CelebA-HQ-img").mkdir()
    assert _split(samples, "celeba-partition", root=tmp_path / "CelebA-HQ-img").parts == splits.parts


def test_celeba_partition_counts_of_the_published_split(tmp_path: Path) -> None:
    lines = [HEADER]
    ranges = ((1, 24_183), (162_771, 2_993), (182_638, 2_824))
    numbers = [first + step for first, count in ranges for step in range(count)]
    lines += [f"{index} {number - 1} {number:06d}.jpg\n" for index, number in enumerate(numbers)]
    file = tmp_path / "map.txt"
    file.write_text("".join(lines))
    splits = _split(_numbered(30_000), f"celeba-partition:{file}")
    assert splits.counts() == {"train": 24_183, "val": 2_993, "test": 2_824}


def test_celeba_partition_with_the_mapping_in_a_zip(tmp_path: Path) -> None:
    file = tmp_path / "s.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("CelebAMask-HQ/CelebA-HQ-to-CelebA-mapping.txt", _mapping_text())
    assert _split(_numbered(6), "celeba-partition", root=file).counts() == {"train": 2, "val": 2, "test": 2}


def test_celeba_partition_guesses_no_numbering(tmp_path: Path) -> None:
    file = tmp_path / "map.txt"
    file.write_text(_mapping_text())
    for path in ("00001.jpg", "img1.jpg"):
        with pytest.raises(UsageError, match="file names of CelebAMask-HQ"):
            _split(_samples(path), f"celeba-partition:{file}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        (HEADER, "no lines"),
        (HEADER + "0 1\n", "line 2"),
        (HEADER + "0 1 x.jpg\n", "line 2"),
        (HEADER + "0 1 202600.jpg\n", "line 2"),
        (HEADER + "0 1 000002.jpg\n0 5 000006.jpg\n", "a second file"),
    ],
)
def test_damaged_mappings(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "map.txt"
    file.write_text(text)
    with pytest.raises(MissingError, match=message):
        _split(_numbered(1), f"celeba-partition:{file}")


def test_no_mapping(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="celeba-partition:PATH"):
        _split(_numbered(1), "celeba-partition", root=tmp_path)


@pytest.mark.parametrize(
    "text",
    ["a train\nx/b.jpg val\n c test\n", "id,split\na,train\nb,valid\nc,test\n", "a.png 0\nb 1\nc 2\n",
     "# from the paper\n\n/data/x/a.jpg\ttrain\nx__b validation\nc.npy test\n", "﻿a train\nb val\nc test\n"],
)  # fmt: skip
def test_list_with_splits(tmp_path: Path, text: str) -> None:
    file = tmp_path / "list.txt"
    file.write_text(text, encoding="utf-8")
    splits = _split(_samples("a.jpg", "x/b.png", "c.jpg"), f"file:{file}")
    assert dict(splits.items()) == {"train": ("a",), "val": ("x__b",), "test": ("c",)}
    assert splits.rule == "file:list.txt"
    assert splits.missing == ()


def test_lists_one_a_split(tmp_path: Path) -> None:
    (tmp_path / "test.txt").write_text("c.jpg\nnot here.jpg\n")
    (tmp_path / "train.txt").write_text("a.jpg\n")
    samples = _samples("a.jpg", "b.jpg", "c.jpg")
    splits = _split(samples, f"file:test={tmp_path}/test.txt,train={tmp_path}/train.txt")
    assert dict(splits.items()) == {"train": ("a",), "test": ("c",), "unlisted": ("b",)}
    assert splits.missing == ("not here.jpg",)
    assert splits.rule == "file:test=test.txt,train=train.txt"
    rest = _split(samples, f"file:test={tmp_path}/test.txt,train=rest")
    assert dict(rest.items()) == {"train": ("a", "b"), "test": ("c",)}


def test_numbers_are_never_shifted(tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_text("img00000001.png\n00002.png\n")
    with pytest.raises(MissingError, match="never shifted"):
        _split(_samples("1.jpg", "2.jpg"), f"file:test={tmp_path}/l.txt")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x.jpg test\n", "fits both"),
        ("train/x.jpg train\ntrain/x.jpg test\n", "is listed in train and in test"),
        ("x.jpg\n", "file:test=l.txt"),
        ("x.jpg middle\n", "has no split"),
    ],
)
def test_wrong_lists(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "l.txt").write_text(text)
    with pytest.raises(UsageError, match=message):
        _split(_samples("train/x.jpg", "val/x.jpg"), f"file:{tmp_path}/l.txt")


def test_longest_matching_path_wins(tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_text("/old/home/val/x.jpg\n")
    splits = _split(_samples("train/x.jpg", "val/x.jpg"), f"file:test={tmp_path}/l.txt")
    assert splits.split_of("val__x") == "test"
    assert splits.split_of("train__x") == "unlisted"


@pytest.mark.parametrize("rule", ["file:nope.txt", "file:test=nope.txt"])
def test_lists_that_are_not_there(rule: str) -> None:
    with pytest.raises(MissingError, match="cannot read this list"):
        _split(_numbered(2), rule)


@pytest.mark.parametrize("rule", ["file:middle=a.txt", "file:test=,train=a.txt", "file:train=rest"])
def test_wrong_grammar(rule: str) -> None:
    with pytest.raises(UsageError):
        _split(_numbered(2), rule)


def test_binary_and_empty_lists(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "e").write_text("\n# nothing\n")
    with pytest.raises(MissingError, match="not a text file"):
        _split(_numbered(2), f"file:{tmp_path}/b")
    with pytest.raises(MissingError, match="no names"):
        _split(_numbered(2), f"file:{tmp_path}/e")
