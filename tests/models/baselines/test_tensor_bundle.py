from __future__ import annotations

import os
import runpy
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpsdata.contracts import MissingError
from dpsdata.weights.reading import read_varint
from models.baselines.tensorflow.bundle import find_bundle_prefix, index_path, list_bundle, read_bundle, shard_path
from models.baselines.tensorflow.messages import DTYPE_NAMES, item_bytes, mask_crc32c

TESTS = Path(__file__).resolve().parents[2]
TINY = TESTS.parent.parent / "shared" / "parity" / "baselines" / "tiny.ckpt"
w = SimpleNamespace(**runpy.run_path(str(TESTS / "parity" / "write_bundle.py")))
fuzzing = SimpleNamespace(**runpy.run_path(str(TESTS / "benchmarks" / "fuzz_bundles.py")))
FLOATS = np.arange(6, dtype=np.float32).reshape(2, 3)


def same(found: np.ndarray, wanted: np.ndarray) -> bool:
    return found.dtype == wanted.dtype and found.shape == wanted.shape and found.tobytes() == wanted.tobytes()


def forge(
    folder: Path, *pairs: tuple[bytes, bytes], data: bytes = bytes(range(64)), header: bytes | None = None
) -> Path:
    """A bundle with these entries, its checksums right."""
    prefix = folder / "forged"
    index_path(prefix).write_bytes(w.table([(b"", w.header() if header is None else header), *pairs]))
    shard_path(prefix, 0, 1).write_bytes(data)
    return prefix


def entry(shape: tuple[int, ...], offset: int = 0, size: int = 0, kind: int = 4, **more: Any) -> bytes:
    crc = w.mask(w.crc32c(bytes(range(64))[offset : offset + size])) if size < 99 else 0
    return bytes(w.entry(kind, shape, more.pop("shard", 0), offset, size, crc, **more))


def refused(prefix: Path, reason: str) -> None:
    with pytest.raises(MissingError, match=reason) as caught:
        read_bundle(prefix)
    assert str(prefix) in str(caught.value)


@pytest.mark.skipif(not TINY.with_name("tiny.ckpt.index").exists(), reason="needs ../shared/parity/baselines")
def test_the_bundle_that_tensorflow_wrote_is_read_back_exactly() -> None:
    wanted = np.load(TINY.with_name("tiny_expected.npz"))
    found = read_bundle(TINY)
    assert len(found) == 9_003
    assert {name.replace("/", "|") for name in found} == set(wanted.files)
    assert all(same(array, wanted[name.replace("/", "|")]) for name, array in found.items())
    listed = list_bundle(TINY)
    assert list(listed) == list(found)
    assert all(listed[name] == (array.dtype.name, array.shape) for name, array in found.items())


def test_checksums_have_their_published_values() -> None:
    # RFC 3720 B.4: 32 zero bytes; the check value of the CRC catalogue; the mask by hand for 1: 2**17 + the constant.
    assert w.crc32c(bytes(32)) == 0x8A9136AA
    assert w.crc32c(b"123456789") == 0xE3069283
    assert mask_crc32c(0) == w.mask(0) == 0xA282EAD8
    assert mask_crc32c(1) == 0xA284EAD8
    assert mask_crc32c(0x8A9136AA) == w.mask(0x8A9136AA)


def test_a_varint_by_hand_and_its_ends() -> None:
    assert read_varint(b"\xac\x02", 0, 2) == (300, 2)
    assert read_varint(b"\xff" * 9 + b"\x01", 0, 10) == (2**64 - 1, 10)
    for broken in (b"", b"\x80", b"\xff" * 9 + b"\x02", b"\x80" * 10 + b"\x00"):
        with pytest.raises(ValueError, match="cut off or too long"):
            read_varint(broken, 0, len(broken))


@pytest.mark.parametrize("dtype", sorted(DTYPE_NAMES.values()))
def test_every_type_in_two_data_files(dtype: str, tmp_path: Path) -> None:
    numbers = np.random.default_rng(3)
    tensors = {
        f"a/{side}/ü": (numbers.standard_normal(shape) * 9).astype(dtype)
        for side, shape in enumerate(((), (0,), (5,), (2, 3), (1, 2, 0), (2, 1, 3, 2)))
    }
    w.write_bundle(tmp_path / "b", tensors, shard_count=2, block_entry_count=2)
    found = read_bundle(tmp_path / "b")
    assert list(found) == sorted(tensors)
    assert all(same(found[name], tensors[name]) for name in tensors)
    assert item_bytes(dtype) == np.dtype(dtype).itemsize
    chosen = read_bundle(tmp_path / "b", ["a/3/ü"])
    assert list(chosen) == ["a/3/ü"]
    chosen["a/3/ü"][0, 0] = 1  # its own memory, so that it can be written to


@given(st.dictionaries(st.text(min_size=1, max_size=40), st.integers(0, 5), max_size=40), st.integers(1, 9))
def test_any_names_and_blocks_are_read_back(sizes: dict[str, int], block_entry_count: int) -> None:
    import tempfile

    try:
        tensors = {name: np.full(size, len(name), np.int32) for name, size in sizes.items() if name.encode()}
    except UnicodeEncodeError:
        return
    with tempfile.TemporaryDirectory() as folder:
        w.write_bundle(Path(folder) / "b", tensors, block_entry_count=block_entry_count)
        found = read_bundle(Path(folder) / "b")
    assert found.keys() == tensors.keys()
    assert all(same(found[name], tensors[name]) for name in tensors)


def test_names_that_are_not_there_and_files_that_are_not_there(tmp_path: Path) -> None:
    w.write_bundle(tmp_path / "b", {"x": FLOATS})
    with pytest.raises(MissingError, match=r"b\.index: 2 of 3 tensors are not in it, such as y, z"):
        read_bundle(tmp_path / "b", ["x", "y", "z"])
    shard_path(tmp_path / "b", 0, 1).unlink()
    assert list_bundle(tmp_path / "b") == {"x": ("float32", (2, 3))}
    refused(tmp_path / "b", r"data-00000-of-00001: there is no such file")
    refused(tmp_path / "c", r"c\.index: there is no such file")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_does_not_hang_the_reader(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p.index")
    refused(tmp_path / "p", "no such file")
    w.write_bundle(tmp_path / "b", {"x": FLOATS})
    shard_path(tmp_path / "b", 0, 1).unlink()
    os.mkfifo(shard_path(tmp_path / "b", 0, 1))
    refused(tmp_path / "b", "no such file")


def test_a_prefix_is_found_from_any_of_its_files(tmp_path: Path) -> None:
    prefix = tmp_path / "snap-0.ckpt"
    w.write_bundle(prefix, {"x": FLOATS})
    for path in (prefix, index_path(prefix), shard_path(prefix, 0, 1), tmp_path):
        assert find_bundle_prefix(path) == prefix
    w.write_bundle(tmp_path / "other", {"x": FLOATS})
    with pytest.raises(MissingError, match=r"found other\.index, snap-0\.ckpt\.index"):
        find_bundle_prefix(tmp_path)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (entry((64,), 0, 64), None),
        (entry((64,), 1, 64), "reach to byte 65: it is cut off"),
        (entry((64,), 2**63 - 65, 64), "it is cut off"),
        (entry((65,), 0, 64), "has 64 bytes, expected 65"),
        (entry((2**40, 2**40), 0, 0), "more dimensions or elements"),
        (entry((2**32, 2**32), 0, 0), "more dimensions or elements"),  # a product that wraps to 0 in 64 bits
        (entry((0, 2**62, 2**62), 0, 0), "more dimensions or elements"),
        (entry((1,) * 33, 0, 1), "more dimensions"),
        (entry((-1,), 0, 64), "negative"),
        (entry((4,), -4, 4), "negative"),
        (entry((2**29,), 0, 2**29), "more than any known tensor"),
        (entry((4,), 0, 4, shard=1), "data file 1 of 1"),
        (entry((4,), 0, 4, extra=w.bytes_field(7, b"")), "stored in pieces"),
        (entry((4,), 0, 4, kind=7), "of type string"),
        (entry((4,), 0, 4, kind=99), "of type number 99"),
        (entry((4,), 0, 4, kind=10), "other values than 0 and 1"),
        (entry((4,), 0, 4) + b"\x0b", "unknown kind"),
        (entry((4,), 0, 4) + b"\x12\x05", "cut off"),
        (entry((4,), 0, 4) + b"\x0a\x00", "wrong kind"),
        (entry((4,), 0, 4)[:-1] + b"\x00", "CRC32C of 'x' is wrong"),
        (b"x" * 2_000, "longer than any"),
    ],
)
def test_forged_entries(value: bytes, reason: str | None, tmp_path: Path) -> None:
    prefix = forge(tmp_path, (b"x", value))
    if reason is None:
        assert read_bundle(prefix)["x"].tolist() == list(range(64))
    else:
        refused(prefix, reason)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (w.header(0), "claims 0 data files"),
        (w.header(10**9), "claims 1000000000 data files"),
        (w.header(endianness=1), "big-endian"),
        (b"\x0a\x00", "wrong kind"),
    ],
)
def test_forged_headers(header: bytes, reason: str, tmp_path: Path) -> None:
    refused(forge(tmp_path, (b"x", entry((4,), 0, 4)), header=header), reason)


def test_forged_tables(tmp_path: Path) -> None:
    x, y = (b"x", entry((4,), 0, 4)), (b"y", entry((4,), 4, 4))
    assert len(read_bundle(forge(tmp_path, x, y))) == 2
    refused(forge(tmp_path, y, x), "out of order or there twice")
    refused(forge(tmp_path, x, x), "out of order or there twice")
    refused(forge(tmp_path, x, (b"y", entry((4,), 3, 4))), "overlap")
    refused(forge(tmp_path, x, (b"\xff\x00", y[1])), "no text")
    refused(forge(tmp_path, (b"x" * 5_000, x[1])), "longer than any")
    prefix = tmp_path / "forged"
    index_path(prefix).write_bytes(w.table([x, y]))
    refused(prefix, "no header")
    whole = w.table([(b"", w.header()), x, y])
    index_path(prefix).write_bytes(whole[:-1])
    refused(prefix, "cut off at its end")
    for at in (3, 30):
        index_path(prefix).write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        refused(prefix, "the CRC32C of the block at byte 0 is wrong")
    content = w.block([(b"", w.header()), x])
    snappy = w.sealed(content, 1) + w.table_of_blocks([(b"x", content)])[len(content) + 5 :]
    index_path(prefix).write_bytes(snappy)
    refused(prefix, r"compressed \(type 1\)")


def test_links_in_names_lead_nowhere(tmp_path: Path) -> None:
    """Names in a file are names only: no path is ever made of them."""
    prefix = forge(tmp_path, (b"../../etc/passwd", entry((4,), 0, 4)))
    assert list(read_bundle(prefix)) == ["../../etc/passwd"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["forged.data-00000-of-00001", "forged.index"]


def traced(action: Callable[[], None]) -> tuple[float, float]:
    tracemalloc.start()
    start = time.perf_counter()
    action()
    seconds, peak = time.perf_counter() - start, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return seconds, peak / 1e6


def test_bombs_take_neither_time_nor_memory(tmp_path: Path) -> None:
    size = 200 * 1024**2
    big = [(b"%d" % n, entry((size,), n * size, size)) for n in range(3)]
    prefix = forge(tmp_path, *big)
    os.truncate(shard_path(prefix, 0, 1), 3 * size)  # sparse: it takes no room on the disk
    seconds, megabytes = traced(lambda: refused(prefix, "629,145,600 bytes, more than any weights"))
    assert seconds < 2
    assert megabytes < 20
    empty = entry((0,))
    many = forge(tmp_path, *((b"%06d" % n, empty) for n in range(100_001)))
    start = time.perf_counter()
    refused(many, "more than 100,000 names")
    assert time.perf_counter() - start < 30  # two seconds on an idle core
    os.truncate(index_path(prefix), 2**33)
    assert traced(lambda: refused(prefix, "more than any index"))[1] < 20


def test_some_hundred_broken_bundles_are_refused_or_exact(tmp_path: Path) -> None:
    report = fuzzing.fuzz(480, seed=11, folder=tmp_path)
    assert report["bad"] == []
    assert all(sum(counts.values()) == 30 for counts in report["by_kind"].values())
    assert report["by_kind"]["index bits flipped"] == {"refused": 30}
    assert report["by_kind"]["bytes behind the data"] == {"exact": 30}
    assert report["slowest_ms"] < 5_000


def test_the_fuzzer_can_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the checksum of tensors, changed data passes as right, and the fuzzer says so."""
    monkeypatch.setattr("models.baselines.tensorflow.bundle.mask_crc32c", lambda crc: Always())
    report = fuzzing.fuzz(64, seed=11, folder=tmp_path)
    assert any("data bits flipped: wrong" in line for line in report["bad"])


class Always:
    def __ne__(self, other: object) -> bool:
        return False
