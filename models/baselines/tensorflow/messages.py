"""The index of a TensorFlow V2 checkpoint: a sorted table, and the two messages in it, read without protobuf.

The bytes may come from anybody, so each length is checked before it is used and keys have to rise: no file makes
the walk go round in a circle or grow without end.

Source: the table layout of LevelDB, doc/table_format of its repository, as TensorFlow writes it;
tensorflow/core/protobuf/tensor_bundle.proto (BundleHeaderProto, BundleEntryProto, TensorShapeProto).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final, NamedTuple

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


SHARD_COUNT_LIMIT = 1_000
RANK_LIMIT = 32
_ELEMENT_COUNT_LIMIT: Final = 2**58
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

# TensorFlow's DataType numbers -> NumPy's names; those without a NumPy form are listed, not read.
DTYPE_NAMES: Final = {
    1: "float32",
    2: "float64",
    3: "int32",
    4: "uint8",
    5: "int16",
    6: "int8",
    8: "complex64",
    9: "int64",
    10: "bool",
    17: "uint16",
    18: "complex128",
    19: "float16",
    22: "uint32",
    23: "uint64",
}
_OTHER_DTYPE_NAMES: Final = {7: "string", 14: "bfloat16"}


class BundleEntry(NamedTuple):
    """Where one tensor lies and what it is.

    Attributes:
        dtype: NumPy's name; `string` or `number N` for what NumPy cannot hold.
        shape: the shape, row-major.
        shard: number of the data file.
        offset: first byte in it.
        size: bytes.
        masked_crc32c: of the tensor's bytes, in the table's masked form.
        is_sliced: whether the tensor is stored in pieces under other keys.
    """

    dtype: str
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    masked_crc32c: int
    is_sliced: bool


def _fields(message: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """Walk (field number, wire type, value) of one message."""
    at, end = 0, len(message)
    while at < end:
        tag, at = read_varint(message, at, end)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, at = read_varint(message, at, end)
            yield number, wire, value
            continue
        if wire == _BYTES:
            length, at = read_varint(message, at, end)
        elif wire in (_FIXED64, _FIXED32):
            length = 8 if wire == _FIXED64 else 4
        else:
            raise BundleError("a message in it has a field of an unknown kind")
        if number == 0 or at + length > end:
            raise BundleError("a message in it is cut off")
        content = message[at : at + length]
        at += length
        yield number, wire, content if wire == _BYTES else int.from_bytes(content, "little")


def _number(value: int | bytes, wire: int, expected: int = _VARINT) -> int:
    if wire != expected or isinstance(value, bytes):
        raise BundleError("a message in it has a field of the wrong kind")
    if value >= 1 << 63:  # how a negative number looks on the wire
        raise BundleError("a size or position in it is negative")
    return value


def parse_header(message: bytes) -> int:
    """Parse the header, the value of the empty key.

    Returns:
        The count of data files.

    Raises:
        BundleError: damaged, big-endian, or more files than any real bundle has.
    """
    shard_count = endianness = 0
    for number, wire, value in _fields(message):
        if number == 1:
            shard_count = _number(value, wire)
        elif number == 2:
            endianness = _number(value, wire)
    if not 1 <= shard_count <= SHARD_COUNT_LIMIT:
        raise BundleError(f"it claims {shard_count} data files, expected 1 to {SHARD_COUNT_LIMIT}")
    if endianness != 0:
        raise BundleError("its numbers are big-endian, which is not read here")
    return shard_count


def parse_entry(message: bytes) -> BundleEntry:
    """Parse the entry of one tensor.

    Raises:
        BundleError: damaged, a shape without end, or a size that does not fit shape and type.
    """
    kind = shard = offset = size = crc = 0
    shape: tuple[int, ...] = ()
    is_sliced = False
    for number, wire, value in _fields(message):
        if number == 1:
            kind = _number(value, wire)
        elif number == 2:
            shape = _parse_shape(value)
        elif number == 3:
            shard = _number(value, wire)
        elif number == 4:
            offset = _number(value, wire)
        elif number == 5:
            size = _number(value, wire)
        elif number == 6:
            crc = _number(value, wire, _FIXED32)
        elif number == 7:
            is_sliced = True
    dtype = DTYPE_NAMES.get(kind)
    if dtype is not None and not is_sliced:
        expected = math.prod(shape) * item_bytes(dtype)
        if size != expected:
            raise BundleError(f"a tensor of shape {shape} in {dtype} has {size:,} bytes, expected {expected:,}")
    name = dtype or _OTHER_DTYPE_NAMES.get(kind, f"number {kind}")
    return BundleEntry(name, shape, shard, offset, size, crc, is_sliced)


def item_bytes(dtype: str) -> int:
    """Bytes of one element of a type in DTYPE_NAMES."""
    return 1 if dtype == "bool" else int(dtype.lstrip("abcdefghijklmnopqrstuvwxyz")) // 8


def _parse_shape(value: int | bytes) -> tuple[int, ...]:
    if not isinstance(value, bytes):
        raise BundleError("a message in it has a field of the wrong kind")
    sizes: list[int] = []
    for number, wire, part in _fields(value):
        if number == 3 and _number(part, wire) != 0:
            raise BundleError("a tensor in it has no shape")
        if number != 2:
            continue
        if not isinstance(part, bytes):
            raise BundleError("a message in it has a field of the wrong kind")
        size = 0
        for field, field_wire, content in _fields(part):
            if field == 1:
                size = _number(content, field_wire)
        sizes.append(size)
    # Zeros are left out: NumPy refuses (0, 2**62, 2**62) although it has no element.
    if len(sizes) > RANK_LIMIT or math.prod(size for size in sizes if size) > _ELEMENT_COUNT_LIMIT:
        raise BundleError("a tensor in it has more dimensions or elements than any that is known here")
    return tuple(sizes)
