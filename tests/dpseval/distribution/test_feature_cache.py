"""The cache of features: what is found, what is noticed, what goes."""

from __future__ import annotations

import os
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpsdata.contracts import UsageError
from dpseval.scoring.cache import FeatureCache, hash_pixels, make_key

VECTOR = np.arange(6, dtype=np.float32)


def key(number: int = 0) -> str:
    return make_key("test", f"{number}", "clean", "w", "float32")


def entry(cache: FeatureCache, number: int = 0) -> Path:
    assert cache.folder is not None
    return cache.folder / key(number)[:2] / f"{key(number)}.features"


def test_what_is_put_is_found_by_another_run(tmp_path: Path) -> None:
    arrays = {
        "vector": VECTOR,
        "maps": np.ones((2, 3, 4), np.float64).transpose(2, 0, 1),
        "mask": np.array([True, False]),
        "one": np.array(7, np.int64),
        "none": np.zeros((0, 3), np.uint8),
    }
    FeatureCache(tmp_path).put(key(), arrays)
    cache = FeatureCache(tmp_path)
    found = cache.get(key())
    assert found is not None
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        assert np.array_equal(found[name], array)
        assert found[name].dtype == array.dtype
        assert found[name].flags.writeable
    assert (cache.hit_count, cache.miss_count, cache.corrupt_count) == (1, 0, 0)


def test_absent(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path / "not there")
    assert cache.get(key()) is None
    assert (cache.hit_count, cache.miss_count, cache.corrupt_count) == (0, 1, 0)
    assert not (tmp_path / "not there").exists()


def test_the_default_folder_lies_beside_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DPS_HOME", str(tmp_path))
    cache = FeatureCache()
    cache.put(key(), {"vector": VECTOR})
    assert cache.folder == tmp_path / "features"
    assert entry(cache).is_file()


def test_a_cache_that_is_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DPS_HOME", str(tmp_path))
    cache = FeatureCache(enabled=False)
    cache.put(key(), {"vector": VECTOR})
    assert cache.get(key()) is None
    assert cache.folder is None
    assert list(tmp_path.iterdir()) == []


def test_every_flipped_bit_and_cut_is_noticed_and_mended(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    cache.put(key(), {"vector": VECTOR})
    good = entry(cache).read_bytes()
    damaged = [good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :] for place in range(len(good))]
    damaged += [good[:cut] for cut in (0, 5, 20, 45, len(good) - 1)] + [good + b"x"]
    for count, data in enumerate(damaged, start=1):
        entry(cache).write_bytes(data)
        assert cache.get(key()) is None
        assert cache.corrupt_count == count
        assert not entry(cache).exists()
    cache.put(key(), {"vector": VECTOR})
    found = cache.get(key())
    assert found is not None
    assert np.array_equal(found["vector"], VECTOR)


def test_an_entry_under_another_name_is_noticed(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    cache.put(key(1), {"vector": VECTOR})
    entry(cache, 2).parent.mkdir(exist_ok=True)
    entry(cache, 1).rename(entry(cache, 2))
    assert cache.get(key(2)) is None
    assert cache.corrupt_count == 1


def test_oldest_entries_go_first(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    big = {"vector": np.zeros(1000, np.float32)}
    for number in range(5):
        cache.put(key(number), big)
        os.utime(entry(cache, number), (number, number))
    size = entry(cache).stat().st_size
    assert cache.get(key(0)) is not None  # used just now, so no longer the oldest
    full = FeatureCache(tmp_path, limit_bytes=5 * size)
    full.put(key(9), big)
    left = [number for number in (0, 1, 2, 3, 4, 9) if entry(full, number).exists()]
    assert left == [0, 3, 4, 9]  # down to four fifths of the limit


def test_what_killed_writes_left_is_swept(tmp_path: Path) -> None:
    folder = tmp_path / "ab"
    folder.mkdir()
    for name, seconds in ((".dps-1.tmp", 1.0), (".dps-2.tmp", None)):
        (folder / name).write_bytes(b"half")
        if seconds is not None:
            os.utime(folder / name, (seconds, seconds))
    FeatureCache(tmp_path).put(key(), {"vector": VECTOR})
    assert [path.name for path in folder.glob(".dps-*")] == [".dps-2.tmp"]  # a new one may belong to another process


def test_a_cache_that_cannot_be_written_says_so_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    cache = FeatureCache(tmp_path / "file")
    cache.put(key(), {"vector": VECTOR})
    assert cache.failure is not None
    assert "file" in cache.failure
    assert cache.get(key()) is None


def test_any_difference_gives_another_key() -> None:
    pixels = [hash_pixels(np.full((2, 3, 3), value, np.uint8)) for value in (1, 2)]
    parts = ("inception-fid", pixels[0], "clean", "w1", "float32")
    others = ("lpips_alex", pixels[1], "torchmetrics", "w2", "bf16")
    keys = {make_key(*parts)} | {make_key(*parts[:i], others[i], *parts[i + 1 :]) for i in range(5)}
    keys |= {make_key("x", [*pixels], "", "", ""), make_key("x", [*pixels[::-1]], "", "", "")}
    assert len(keys) == 8
    assert make_key(*parts) == make_key(parts[0], [pixels[0]], *parts[2:])


@given(st.lists(st.text(max_size=4), min_size=4, max_size=4), st.lists(st.text(max_size=4), min_size=4, max_size=4))
def test_parts_of_a_key_do_not_run_together(first: list[str], second: list[str]) -> None:
    same = make_key(first[0], *first[1:], "f") == make_key(second[0], *second[1:], "f")
    assert same == (first == second)


def test_pixels_are_hashed_with_their_shape() -> None:
    flat = np.zeros(36, np.uint8)
    shapes = [(3, 4, 3), (4, 3, 3), (2, 6, 3), (36,)]
    for one, other in combinations(shapes, 2):
        assert hash_pixels(flat.reshape(one)) != hash_pixels(flat.reshape(other))
    picture = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    assert hash_pixels(picture[:, ::-1]) == hash_pixels(picture[:, ::-1].copy())
    assert hash_pixels(picture) != hash_pixels(picture[:, ::-1])


def test_wrong_input(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    with pytest.raises(UsageError, match="expected uint8, got float32"):
        hash_pixels(VECTOR)
    with pytest.raises(UsageError, match="limit_bytes: expected a positive size"):
        FeatureCache(tmp_path, 0)
    for wrong in ("../../etc/passwd", "", "AB" * 32):
        with pytest.raises(UsageError, match="cache key: expected 64 hex digits"):
            cache.get(wrong)
    with pytest.raises(UsageError, match="'names': expected an array of numbers"):
        cache.put(key(), {"names": np.array(["a"])})
    assert list(tmp_path.iterdir()) == []
