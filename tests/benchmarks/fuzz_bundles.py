"""Breaks TensorFlow checkpoints in sixteen ways and checks that each is refused, or read back exactly.

Run: OMP_NUM_THREADS=1 python tests/benchmarks/fuzz_bundles.py [--count 10000] [--seed 0]
Writes reports/benchmarks/fuzz_bundles.json: counts by kind, the slowest case, peak memory. Exit 4 when a case is
neither refused nor exact, takes more than ten seconds, or the process reaches 1 GB.

A forged case (its checksums made right again) may hold another valid bundle; there the tensors that come back have
to fit the data file, byte for byte.
"""

from __future__ import annotations

import argparse
import json
import random
import runpy
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpsdata.contracts import DpsError
from models.baselines.tensorflow.bundle import index_path, read_bundle, shard_path

ROOT = Path(__file__).resolve().parents[2]
REPORT = ROOT / "reports" / "benchmarks" / "fuzz_bundles.json"
SECONDS_LIMIT = 10.0
MEMORY_LIMIT_BYTES = 10**9
w = SimpleNamespace(**runpy.run_path(str(ROOT / "tests" / "parity" / "write_bundle.py")))

Pairs = list[tuple[bytes, bytes]]
Files = tuple[bytes, bytes]  # index, data


def base_tensors() -> dict[str, NDArray[Any]]:
    """Sixty tensors of several types and ranks; their names share long prefixes."""
    numbers = np.random.default_rng(7)
    tensors: dict[str, NDArray[Any]] = {"global_step": np.int64(123456).reshape(()), "empty": np.zeros((0, 3), "f4")}
    for layer in range(28):
        shape = tuple(int(side) for side in numbers.integers(1, 5, size=layer % 5))
        tensors[f"generator/conv{layer}/kernel"] = numbers.standard_normal(shape).astype("f4")
        tensors[f"generator/conv{layer}/bias"] = numbers.integers(-9, 9, 3).astype(("i4", "f8", "u1", "i8")[layer % 4])
    return tensors


def _flip(data: bytes, rng: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def _scramble(value: bytes, rng: random.Random) -> bytes:
    """Random edits of a message: bytes changed, cut, put in."""
    out = bytearray(value or b"\0")
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(out) + 1)
        action = rng.randrange(3)
        if action == 0 and at < len(out):
            out[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif action == 1:
            del out[at : at + rng.randint(1, 4)]
        else:
            out[at:at] = rng.choice((b"\xff" * 9, b"\x80", rng.randbytes(3), w.varint(1 << rng.randrange(64))))
    return bytes(out)


def _huge(rng: random.Random) -> int:
    return rng.choice((0, 1, -1, 2**31, 2**32 + 1, 2**40, 2**62, 2**63 - 1, rng.getrandbits(rng.randint(1, 64))))


def _replace(pairs: Pairs, rng: random.Random, make: Callable[[bytes], bytes]) -> Pairs:
    at = rng.randrange(1, len(pairs))
    return [*pairs[:at], (pairs[at][0], make(pairs[at][1])), *pairs[at + 1 :]]


def _forged_entry(rng: random.Random, data: bytes) -> bytes:
    """An entry whose shape, place and size are anything, some of them fitting each other."""
    shape = [_huge(rng) if rng.random() < 0.4 else rng.randint(0, 4) for _ in range(rng.choice((0, 1, 2, 4, 40)))]
    offset, size = rng.randrange(len(data)), rng.randrange(len(data))
    if rng.random() < 0.5:
        size = int(np.prod([side % 2**64 for side in shape], dtype=object)) * 4
    if rng.random() < 0.3:
        offset = _huge(rng)
    crc = w.mask(w.crc32c(data[offset : offset + size])) if offset >= 0 and 0 <= size < 10**4 else 0
    extra = rng.choice((b"", b"", b"", w.bytes_field(7, b"")))
    return bytes(
        w.entry(rng.choice((0, 1, 2, 7, 10, 14, 99)), shape, rng.choice((0, 0, 0, 1, 7)), offset, size, crc, extra)
    )


def _key_bomb(rng: random.Random) -> bytes:
    """Entries of a few bytes whose shared prefixes would unpack to gigabytes."""
    length = rng.choice((300, 4_000, 60_000))
    first = w.varint(0) + w.varint(length) + w.varint(0) + b"k" * length
    more = b"".join(w.varint(length + n) + w.varint(1) + w.varint(0) + b"k" for n in range(rng.choice((10, 3_000))))
    head = w.block([(b"", w.header())])[:-8]
    return bytes(
        w.table_of_blocks([(b"z", head + first + more + (0).to_bytes(4, "little") + (1).to_bytes(4, "little"))])
    )


def _forged_handles(pairs: Pairs, rng: random.Random) -> bytes:
    """Handles of the index block that repeat, overlap or lead anywhere."""
    content = w.sealed(w.block(pairs))
    places = [(0, len(content) - 5), (0, len(content) - 5), (_huge(rng), _huge(rng)), (rng.randrange(99), 8)]
    chosen = [rng.choice(places) for _ in range(rng.choice((1, 2, 500)))]
    handles = [(b"%06d" % n, w.varint(a % 2**64) + w.varint(b % 2**64)) for n, (a, b) in enumerate(chosen)]
    out, footer = content, b""
    for part in (w.block([]), w.block(handles, 1)):
        footer += w.varint(len(out)) + w.varint(len(part))
        out += w.sealed(part)
    return bytes(out + footer.ljust(40, b"\0") + w.MAGIC.to_bytes(8, "little"))


def _footer(index: bytes, rng: random.Random) -> bytes:
    handles = b"".join(w.varint(rng.choice((_huge(rng) % 2**64, rng.randrange(len(index))))) for _ in range(4))
    return index[:-48] + handles[:40].ljust(40, b"\0") + index[-8:]


def _swapped(data: bytes, rng: random.Random) -> bytes:
    size = rng.randint(1, len(data) // 4)
    first = rng.randrange(len(data) - 2 * size)
    second = rng.randrange(first + size, len(data) - size + 1)
    middle = data[first + size : second]
    return data[:first] + data[second : second + size] + middle + data[first : first + size] + data[second + size :]


def _shuffled(pairs: Pairs, rng: random.Random) -> Pairs:
    out = list(pairs)
    first, second = rng.sample(range(len(out)), 2)
    out[first], out[second] = out[second], out[first]
    return out


def peak_memory_mb() -> float | None:
    """Peak memory of this process in MB; None on Windows, which has no such count."""
    try:
        import resource
    except ImportError:
        return None
    unit = 1024**2 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)


Kind = Callable[[Files, Pairs, random.Random], Files]
PLAIN: dict[str, Kind] = {
    "index bits flipped": lambda files, _, rng: (_flip(files[0], rng), files[1]),
    "data bits flipped": lambda files, _, rng: (files[0], _flip(files[1], rng)),
    "index cut off": lambda files, _, rng: (files[0][: rng.randrange(len(files[0]))], files[1]),
    "data cut off": lambda files, _, rng: (files[0], files[1][: rng.randrange(len(files[1]))]),
    "index parts swapped": lambda files, _, rng: (_swapped(files[0], rng), files[1]),
    "data parts swapped": lambda files, _, rng: (files[0], _swapped(files[1], rng)),
    "bytes behind the data": lambda files, _, rng: (files[0], files[1] + rng.randbytes(rng.randint(1, 99))),
    "random index": lambda files, _, rng: (rng.randbytes(rng.randrange(500)) + files[0][-48:], files[1]),
    "random footer": lambda files, _, rng: (_footer(files[0], rng), files[1]),
    "names re-ordered": lambda files, pairs, rng: (w.table(_shuffled(pairs, rng), 16), files[1]),
    "names unpack without end": lambda files, _, rng: (_key_bomb(rng), files[1]),
}
FORGED: dict[str, Kind] = {
    "shapes, places and sizes forged": lambda files, pairs, rng: (
        w.table(_replace(pairs, rng, lambda _: _forged_entry(rng, files[1]))),
        files[1],
    ),
    "entry scrambled": lambda files, pairs, rng: (
        w.table(_replace(pairs, rng, lambda value: _scramble(value, rng))),
        files[1],
    ),
    "header scrambled": lambda files, pairs, rng: (w.table([(b"", _scramble(pairs[0][1], rng)), *pairs[1:]]), files[1]),
    "block scrambled": lambda files, pairs, rng: (
        w.table_of_blocks([(pairs[-1][0], _scramble(w.block(pairs), rng))]),
        files[1],
    ),
    "blocks repeated or misplaced": lambda files, pairs, rng: (_forged_handles(pairs, rng), files[1]),
}
KINDS = {**PLAIN, **FORGED}


def _same(found: dict[str, NDArray[Any]], wanted: dict[str, NDArray[Any]]) -> bool:
    return found.keys() == wanted.keys() and all(
        found[name].dtype == array.dtype
        and found[name].shape == array.shape
        and found[name].tobytes() == array.tobytes()
        for name, array in wanted.items()
    )


def _inside(found: dict[str, NDArray[Any]], data: bytes) -> bool:
    return sum(array.nbytes for array in found.values()) <= len(data) and all(
        array.tobytes() in data for array in found.values()
    )


def fuzz(count: int, seed: int, folder: Path) -> dict[str, Any]:
    """Run `count` cases; returns the report."""
    tensors = base_tensors()
    prefix = folder / "base"
    pairs = w.write_bundle(prefix, tensors, block_entry_count=16)
    whole = index_path(prefix).read_bytes(), shard_path(prefix, 0, 1).read_bytes()
    assert _same(read_bundle(prefix), tensors)
    outcomes: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    slowest, slowest_case, bad = 0.0, "", []
    case = folder / "case"
    for number in range(count):
        kind = list(KINDS)[number % len(KINDS)]
        index, data = KINDS[kind](whole, pairs, random.Random(f"{seed} {number}"))
        index_path(case).write_bytes(index)
        shard_path(case, 0, 1).write_bytes(data)
        start = time.perf_counter()
        try:
            found = read_bundle(case)
            outcome = "exact" if _same(found, tensors) else "another valid bundle"
            if outcome != "exact" and not (kind in FORGED and _inside(found, data)):
                outcome = "wrong"
        except DpsError:
            outcome = "refused"
        except Exception as error:
            outcome = f"crash: {type(error).__name__}"
        seconds = time.perf_counter() - start
        outcomes[kind][outcome] += 1
        if seconds > slowest:
            slowest, slowest_case = seconds, f"{kind} (case {number})"
        if outcome.startswith(("wrong", "crash")) or seconds > SECONDS_LIMIT:
            bad.append(f"case {number}, {kind}: {outcome}, {seconds:.1f} s")
    total: Counter[str] = sum(outcomes.values(), Counter())
    return {
        "cases": count,
        "seed": seed,
        "outcomes": dict(sorted(total.items())),
        "by_kind": {kind: dict(sorted(counts.items())) for kind, counts in outcomes.items()},
        "bad": bad,
        "slowest_ms": round(slowest * 1e3, 2),
        "slowest_case": slowest_case,
        "peak_memory_mb": peak_memory_mb(),
    }


def main() -> int:
    """Fuzz, write the report, and say whether all cases held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        report = fuzz(options.count, options.seed, Path(folder))
    report["seconds"] = round(time.perf_counter() - start, 1)
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))
    return 4 if report["bad"] or (report["peak_memory_mb"] or 0) * 1024**2 > MEMORY_LIMIT_BYTES else 0


if __name__ == "__main__":
    sys.exit(main())
