"""The index of a TensorFlow V2 checkpoint as a sorted table: footer, blocks, prefix-compressed keys, CRC32C.

The bytes may come from anybody, so each length is checked before it is used and keys have to rise: no file makes
the walk go round in a circle or grow without end.

Source: the table layout of LevelDB, doc/table_format of its repository, as TensorFlow writes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import google_crc32c

from dpsdata.weights.reading import read_varint

INDEX_BYTES_LIMIT = 8 * 1024**2
ENTRY_COUNT_LIMIT = 100_000
KEY_BYTES_LIMIT = 4_096
KEYS_BYTES_LIMIT = 16 * 1024**2
VALUE_BYTES_LIMIT = 1_024
FOOTER_BYTES = 48
MAGIC = 0xDB4775248B80FB57
_TRAILER_BYTES = 5  # compression type, then the masked CRC32C
_MASK_DELTA = 0xA282EAD8


class BundleError(ValueError):
    """What is wrong with a bundle; the reader puts the file's name in front."""


class BlockHandle(NamedTuple):
    """Where a block lies in the file, in bytes, without its trailer."""

    offset: int
    size: int


def mask_crc32c(crc: int) -> int:
    """The form in which a table stores a CRC32C: rotated right by 15 bits, plus a constant."""
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def has_table_footer(tail: bytes) -> bool:
    """Whether the last bytes of a file are those of a sorted table."""
    return len(tail) >= FOOTER_BYTES and int.from_bytes(tail[-8:], "little") == MAGIC


def table_entries(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Walk a whole table in key order, each block's CRC32C checked before its entries are used.

    Args:
        data: the file, at most INDEX_BYTES_LIMIT bytes.

    Yields:
        Key and value; keys rise strictly.

    Raises:
        BundleError: the table is damaged, cut off, out of order, compressed or larger than any real one.
    """
    if len(data) > INDEX_BYTES_LIMIT:
        raise BundleError(f"{len(data):,} bytes, more than any index that is known here")
    if not has_table_footer(data):
        raise BundleError("not the index of a TensorFlow V2 checkpoint, or cut off at its end")
    footer = len(data) - FOOTER_BYTES
    metaindex, at = _read_handle(data, footer, len(data) - 8)
    index, _ = _read_handle(data, at, len(data) - 8)
    _read_block(data, metaindex, footer)
    previous_key: bytes | None = None
    block_end = count = key_bytes = 0
    for _, value in _block_entries(_read_block(data, index, footer)):
        handle, at = _read_handle(value, 0, len(value))
        # Blocks in file order and apart, so that no byte of the file is walked twice.
        if at != len(value) or handle.offset < block_end:
            raise BundleError("its blocks overlap or are out of order")
        block_end = handle.offset + handle.size + _TRAILER_BYTES
        for key, entry in _block_entries(_read_block(data, handle, footer)):
            if previous_key is not None and key <= previous_key:
                raise BundleError("its names are out of order or there twice")
            previous_key = key
            count += 1
            key_bytes += len(key)
            if count > ENTRY_COUNT_LIMIT or key_bytes > KEYS_BYTES_LIMIT:
                raise BundleError(f"more than {ENTRY_COUNT_LIMIT:,} names, or {KEYS_BYTES_LIMIT:,} bytes of them")
            yield key, entry


def _read_handle(data: bytes, at: int, end: int) -> tuple[BlockHandle, int]:
    offset, at = read_varint(data, at, end)
    size, at = read_varint(data, at, end)
    return BlockHandle(offset, size), at


def _read_block(data: bytes, handle: BlockHandle, end: int) -> bytes:
    last = handle.offset + handle.size
    if last + _TRAILER_BYTES > end:
        raise BundleError("a block of it is outside the file")
    kind = data[last]
    stored = int.from_bytes(data[last + 1 : last + _TRAILER_BYTES], "little")
    if mask_crc32c(google_crc32c.value(data[handle.offset : last + 1])) != stored:
        raise BundleError(f"the CRC32C of the block at byte {handle.offset} is wrong")
    if kind != 0:
        raise BundleError(f"the block at byte {handle.offset} is compressed (type {kind}), which is not read here")
    return data[handle.offset : last]


def _block_entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Walk the entries of one block; keys share the start of the key before."""
    restart_count = int.from_bytes(block[-4:], "little")
    end = len(block) - 4 * (restart_count + 1)
    if len(block) < 8 or restart_count < 1 or end < 0:
        raise BundleError("a block of it has no valid list of restarts")
    at, key = 0, b""
    while at < end:
        shared, at = read_varint(block, at, end)
        unshared, at = read_varint(block, at, end)
        value_bytes, at = read_varint(block, at, end)
        if shared > len(key) or at + unshared + value_bytes > end:
            raise BundleError("an entry of it reaches outside of its block")
        if shared + unshared > KEY_BYTES_LIMIT or value_bytes > VALUE_BYTES_LIMIT:
            raise BundleError("a name or an entry of it is longer than any that is known here")
        key = key[:shared] + block[at : at + unshared]
        at += unshared
        yield key, block[at : at + value_bytes]
        at += value_bytes
