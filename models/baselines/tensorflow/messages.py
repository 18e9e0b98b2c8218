"""The two messages in a TensorFlow checkpoint's index, parsed from their wire form without protobuf.

Source: tensorflow/core/protobuf/tensor_bundle.proto (BundleHeaderProto, BundleEntryProto, TensorShapeProto).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final, NamedTuple

from dpsdata.weights.reading import read_varint
from models.baselines.tensorflow.table import BundleError

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
