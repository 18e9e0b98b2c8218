"""Reads the layers of a `.caffemodel` by its protobuf wire format, without Caffe and without protobuf.

Only the few fields that carry weights are looked at. The bytes are not trusted: every length is checked
against what is left of the file, and nothing is allocated beyond the size of the file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from dpsdata.weights.reading import UnrecognisedError, read_varint

# Field numbers of caffe.proto: NetParameter, V1LayerParameter (before 2014), LayerParameter, BlobProto, BlobShape.
_NET_V1_LAYERS, _NET_LAYER = 2, 100
_V1_NAME, _V1_BLOBS = 4, 6
_LAYER_NAME, _LAYER_BLOBS = 1, 7
_BLOB_LEGACY_DIMS = (1, 2, 3, 4)  # num, channels, height, width
_BLOB_DATA, _BLOB_SHAPE = 5, 7
_SHAPE_DIM = 1

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FLOAT_DATA_TAG = _BLOB_DATA << 3 | _FIXED32
_FIELD_COUNT_LIMIT = 100_000  # a HED file has under 1,000 fields; this stops a crafted file from keeping us busy
_DIM_COUNT_LIMIT = 8


@dataclass
class _Wire:
    """The bytes of one file, and how many fields were read so far."""

    name: str
    data: bytes
    field_count: int = field(default=0)

    def fail(self, reason: str) -> NoReturn:
        raise UnrecognisedError(
            f"{self.name}: not a readable .caffemodel ({reason}); get the file again (`dps weights list` says where), "
            "then run `dps weights import FILE`"
        )

    def varint(self, position: int, end: int) -> tuple[int, int]:
        try:
            return read_varint(self.data, position, end)
        except ValueError as error:
            self.fail(str(error))

    def fields(self, start: int, end: int) -> Iterator[tuple[int, int, Any]]:
        """Yield (field number, wire type, value); the value is an int, or the (start, end) of its bytes."""
        position = start
        while position < end:
            self.field_count += 1
            if self.field_count > _FIELD_COUNT_LIMIT:
                self.fail("it has far more fields than a network")
            tag_start = position
            tag, position = self.varint(position, end)
            number, wire_type = tag >> 3, tag & 7
            if number == 0:
                self.fail("it has a field numbered 0")
            if wire_type == _VARINT:
                value, position = self.varint(position, end)
                yield number, wire_type, value
                continue
            if wire_type == _BYTES:
                length, position = self.varint(position, end)
            elif wire_type in (_FIXED64, _FIXED32):
                length = 8 if wire_type == _FIXED64 else 4
            else:
                self.fail(f"unknown wire type {wire_type}")
            if length > end - position:
                self.fail(f"it is cut off: a field of {length} bytes is announced where {end - position} are left")
            if tag == _FLOAT_DATA_TAG and position - tag_start == 1:
                # Unpacked floats are one field each; the whole run is taken at once, millions would be slow singly.
                run_end = self._end_of_float_run(tag_start, end)
                yield number, wire_type, (tag_start, run_end)
                position = run_end
            else:
                yield number, wire_type, (position, position + length)
                position += length

    def _end_of_float_run(self, start: int, end: int) -> int:
        # In growing steps, so that many short runs in a crafted file do not cost a look at the whole file each.
        step = 64
        while True:
            count = min(step, (end - start) // 5)
            tags = np.frombuffer(self.data, np.uint8, count * 5, start)[::5]
            other = np.flatnonzero(tags != _FLOAT_DATA_TAG)
            if other.size or count < step:
                return start + 5 * (int(other[0]) if other.size else count)
            start += 5 * count
            step *= 2


def _floats(wire: _Wire, wire_type: int, start: int, end: int) -> npt.NDArray[np.float32]:
    if wire_type == _FIXED32 and (end - start) % 5 == 0:
        records = np.frombuffer(wire.data, np.uint8, end - start, start).reshape(-1, 5)
        return np.ascontiguousarray(records[:, 1:]).view("<f4").ravel().astype(np.float32)
    if (end - start) % 4:
        wire.fail("a blob is not a whole number of floats")
    return np.frombuffer(wire.data, "<f4", (end - start) // 4, start).astype(np.float32)


def _shape(wire: _Wire, start: int, end: int) -> list[int]:
    dims: list[int] = []
    for number, wire_type, value in wire.fields(start, end):
        if number != _SHAPE_DIM:
            continue
        if wire_type == _VARINT:
            dims.append(value)
        elif wire_type == _BYTES:
            position, dims_end = value
            while position < dims_end and len(dims) <= _DIM_COUNT_LIMIT:
                dim, position = wire.varint(position, dims_end)
                dims.append(dim)
        if len(dims) > _DIM_COUNT_LIMIT:
            wire.fail(f"a blob has more than {_DIM_COUNT_LIMIT} axes")
    return dims


def _blob(wire: _Wire, layer: str, start: int, end: int) -> npt.NDArray[np.float32]:
    legacy: dict[int, int] = {}
    dims: list[int] | None = None
    parts: list[npt.NDArray[np.float32]] = []
    for number, wire_type, value in wire.fields(start, end):
        if number in _BLOB_LEGACY_DIMS and wire_type == _VARINT:
            legacy[number] = value
        elif number == _BLOB_SHAPE and wire_type == _BYTES:
            dims = _shape(wire, *value)
        elif number == _BLOB_DATA and wire_type in (_BYTES, _FIXED32):
            parts.append(_floats(wire, wire_type, *value))
    if dims is None:
        dims = [legacy.get(number, 1) for number in _BLOB_LEGACY_DIMS] if legacy else []
    values = np.concatenate(parts) if parts else np.zeros(0, np.float32)
    if not dims or not values.size or math.prod(dims) != values.size:
        wire.fail(f"layer {layer!r} has a blob of {values.size} floats with the shape {tuple(dims)}")
    return values.reshape(dims)


def _layer(wire: _Wire, span: tuple[int, int], name_field: int, blobs_field: int) -> tuple[str, list[tuple[int, int]]]:
    name = ""
    blobs: list[tuple[int, int]] = []
    for number, wire_type, value in wire.fields(*span):
        if wire_type != _BYTES:
            continue
        if number == name_field:
            name = wire.data[value[0] : min(value[1], value[0] + 200)].decode("utf-8", "replace")
        elif number == blobs_field:
            blobs.append(value)
    return name, blobs


def parse_caffemodel(data: bytes, name: str) -> dict[str, npt.NDArray[np.float32]]:
    """Return the weights of a serialised Caffe NetParameter.

    Args:
        data: the whole file.
        name: what to call the file in errors.

    Returns:
        `LAYER.weight` and `LAYER.bias` (the first and second blob) as float32 arrays of the stored shape.

    Raises:
        UnrecognisedError: the bytes are no Caffe network, are cut off, or contradict themselves.

    Source: field numbers of BVLC/caffe, src/caffe/proto/caffe.proto.
    """
    wire = _Wire(name, data)
    state: dict[str, npt.NDArray[np.float32]] = {}
    for number, wire_type, value in wire.fields(0, len(data)):
        if wire_type != _BYTES or number not in (_NET_V1_LAYERS, _NET_LAYER):
            continue
        name_field, blobs_field = (_V1_NAME, _V1_BLOBS) if number == _NET_V1_LAYERS else (_LAYER_NAME, _LAYER_BLOBS)
        layer, blobs = _layer(wire, value, name_field, blobs_field)
        for index, (start, end) in enumerate(blobs):
            leaf = ("weight", "bias")[index] if index < 2 else f"blob{index}"
            key = f"{layer}.{leaf}"
            if key in state:
                wire.fail(f"layer {layer!r} occurs twice")
            state[key] = _blob(wire, layer, start, end)
    if not state:
        wire.fail("it holds no layer with weights")
    return state
