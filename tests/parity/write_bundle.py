"""Writes TensorFlow V2 checkpoints for the tests; the pieces are public, so that tests can forge broken ones.

The CRC32C of the index comes from a table that is worked out here, not from the reader's library,
unless a block is too large for that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import google_crc32c
import numpy as np
from numpy.typing import NDArray

MAGIC = 0xDB4775248B80FB57
TYPE_NUMBERS = {
    "float32": 1,
    "float64": 2,
    "int32": 3,
    "uint8": 4,
    "int16": 5,
    "int8": 6,
    "complex64": 8,
    "int64": 9,
    "bool": 10,
    "uint16": 17,
    "complex128": 18,
    "float16": 19,
    "uint32": 22,
    "uint64": 23,
}


def _crc_table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_TABLE = _crc_table()


def crc32c(data: bytes) -> int:
    if len(data) > 100_000:
        return google_crc32c.value(data)
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def mask(crc: int) -> int:
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def number_field(number: int, value: int) -> bytes:
    """A varint field; zero is left out, as protobuf does; a negative one becomes ten bytes."""
    return varint(number << 3) + varint(value % 2**64) if value else b""


def bytes_field(number: int, value: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(value)) + value


def header(shard_count: int = 1, endianness: int = 0) -> bytes:
    return number_field(1, shard_count) + number_field(2, endianness) + bytes_field(3, number_field(1, 1))


def entry(
    type_number: int, shape: Sequence[int], shard: int, offset: int, size: int, masked_crc: int, extra: bytes = b""
) -> bytes:
    dims = b"".join(bytes_field(2, number_field(1, side)) for side in shape)
    return (
        number_field(1, type_number)
        + bytes_field(2, dims)
        + number_field(3, shard)
        + number_field(4, offset)
        + number_field(5, size)
        + varint(6 << 3 | 5)
        + masked_crc.to_bytes(4, "little")
        + extra
    )


def block(pairs: Iterable[tuple[bytes, bytes]], restart_interval: int = 16) -> bytes:
    out, restarts, previous = bytearray(), [0], b""
    for position, (key, value) in enumerate(pairs):
        shared = 0
        if position % restart_interval:
            while shared < min(len(key), len(previous)) and key[shared] == previous[shared]:
                shared += 1
        elif position:
            restarts.append(len(out))
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        previous = key
    return bytes(out) + b"".join(at.to_bytes(4, "little") for at in [*restarts, len(restarts)])


def sealed(content: bytes, kind: int = 0) -> bytes:
    """A block with its type byte and masked CRC32C."""
    return content + bytes([kind]) + mask(crc32c(content + bytes([kind]))).to_bytes(4, "little")


def table_of_blocks(blocks: Sequence[tuple[bytes, bytes]]) -> bytes:
    """A whole table from (last key, block)."""
    out, handles = bytearray(), []
    for last_key, content in blocks:
        handles.append((last_key, varint(len(out)) + varint(len(content))))
        out += sealed(content)
    footer = b""
    for content in (block([]), block(handles, 1)):
        footer += varint(len(out)) + varint(len(content))
        out += sealed(content)
    return bytes(out) + footer.ljust(40, b"\0") + MAGIC.to_bytes(8, "little")


def table(pairs: Sequence[tuple[bytes, bytes]], block_entry_count: int = 64) -> bytes:
    """A whole table from its entries, in the order given."""
    parts = [pairs[at : at + block_entry_count] for at in range(0, len(pairs), block_entry_count)]
    return table_of_blocks([(part[-1][0], block(part)) for part in parts])


def write_bundle(
    prefix: Path, tensors: Mapping[str, NDArray[np.generic]], shard_count: int = 1, block_entry_count: int = 64
) -> list[tuple[bytes, bytes]]:
    """Write `PREFIX.index` and its data files; returns the entries of the index, for tests that forge them."""
    pairs = [(b"", header(shard_count))]
    prefix.parent.mkdir(parents=True, exist_ok=True)
    shards = [prefix.with_name(f"{prefix.name}.data-{n:05d}-of-{shard_count:05d}") for n in range(shard_count)]
    streams = [path.open("wb") for path in shards]
    try:
        for position, name in enumerate(sorted(tensors, key=lambda name: name.encode())):
            array, shard = tensors[name], position % shard_count
            data = array.astype(array.dtype.newbyteorder("<")).tobytes()  # C order whatever the array's own
            kind, crc = TYPE_NUMBERS[array.dtype.name], mask(google_crc32c.value(data))
            value = entry(kind, array.shape, shard, streams[shard].tell(), len(data), crc)
            pairs.append((name.encode(), value))
            streams[shard].write(data)
    finally:
        for stream in streams:
            stream.close()
    prefix.with_name(f"{prefix.name}.index").write_bytes(table(pairs, block_entry_count))
    return pairs
