from __future__ import annotations

import contextlib
import runpy
import struct
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpsdata.contracts import ExitCode, MissingError
from dpsdata.hed.caffemodel import parse_caffemodel
from dpsdata.weights.reading import UnrecognisedError

P = runpy.run_path(str(Path(__file__).with_name("public_layouts.py")))
message, number, varint = P["message"], P["number"], P["varint"]
SMALL = P["random_state"](P["caffe_shapes"](2))


def flat_shape(array: np.ndarray) -> tuple[int, ...]:
    return (1,) * (4 - array.ndim) + array.shape


@pytest.mark.parametrize("legacy", [True, False], ids=["v1 layers", "layer"])
@pytest.mark.parametrize("packed", [True, False], ids=["packed", "unpacked"])
def test_both_layer_forms_and_both_float_forms_give_back_every_bit(legacy: bool, packed: bool) -> None:
    read = parse_caffemodel(P["caffemodel"](SMALL, legacy, packed), "x")
    assert list(read) == list(SMALL)
    for key, array in SMALL.items():
        assert read[key].dtype == np.float32
        assert read[key].shape == (flat_shape(array) if legacy else array.shape)
        np.testing.assert_array_equal(read[key].ravel(), array.ravel())


def test_hand_written_bytes() -> None:
    # layers(2){ name(4)="c", blobs(6){ num=1 channels=1 height=1 width=2, data(5) packed = 1.0, -2.0 } }
    blob = bytes([0x08, 1, 0x10, 1, 0x18, 1, 0x20, 2, 0x2A, 8]) + struct.pack("<2f", 1.0, -2.0)
    layer = b"\x22\x01c" + bytes([0x32, len(blob)]) + blob
    data = bytes([0x12, len(layer)]) + layer
    read = parse_caffemodel(data, "x")
    assert list(read) == ["c.weight"]
    np.testing.assert_array_equal(read["c.weight"], np.array([[[[1.0, -2.0]]]], np.float32))


def test_shape_with_unpacked_dims_and_a_third_blob() -> None:
    shape = message(7, number(1, 2) + number(1, 3))
    data = message(5, np.arange(6, dtype="<f4").tobytes())
    layer = message(1, b"odd") + message(7, data + shape) * 3
    read = parse_caffemodel(message(100, layer), "x")
    assert list(read) == ["odd.weight", "odd.bias", "odd.blob2"]
    np.testing.assert_array_equal(read["odd.bias"], np.arange(6, dtype=np.float32).reshape(2, 3))


def one_blob(body: bytes) -> bytes:
    return message(100, message(1, b"conv1_1") + message(7, body))


FLOATS = message(5, bytes(16))


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "no layer"),
        (b"\x0a\x03HED", "no layer"),
        (b"\xff" * 30, "ten bytes"),
        (b"\x12\xff\xff\xff\xff\x7f", "cut off"),
        (b"\x12" + varint(2**63) + b"xx", "cut off"),
        (b"\x13\x00", "wire type 3"),
        (b"\x02\x00", "numbered 0"),
        (one_blob(FLOATS), "shape"),
        (one_blob(FLOATS + message(7, message(1, varint(5)))), "shape"),
        (one_blob(FLOATS + message(7, message(1, varint(0) + varint(2**64 - 1)))), "shape"),
        (one_blob(FLOATS + message(7, message(1, varint(2**64 - 1) * 8))), "shape"),
        (one_blob(FLOATS + message(7, message(1, b"\x01" * 500))), "axes"),
        (one_blob(message(7, message(1, varint(0)))), "shape"),
        (one_blob(number(1, 2**40) + number(2, 2**40) + FLOATS), "shape"),
        (one_blob(message(5, bytes(15)) + message(7, message(1, varint(4)))), "whole number"),
        (one_blob(FLOATS + message(7, message(1, varint(4)))) * 2, "twice"),
        (b"\x28\x01" * 100_001, "more fields"),
    ],
)
def test_hostile_bytes_are_refused_in_one_sentence(data: bytes, word: str) -> None:
    with pytest.raises(UnrecognisedError, match=r"dps weights import") as caught:
        parse_caffemodel(data, "net.caffemodel")
    assert word in str(caught.value)
    assert "net.caffemodel" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == ExitCode.MISSING


def test_every_cut_is_refused_or_gives_a_part() -> None:
    whole = P["caffemodel"](P["random_state"]({"a.weight": (2, 3, 3, 3), "a.bias": (2,), "b.weight": (1, 2, 1, 1)}))
    refused = 0
    for cut in range(len(whole)):
        try:
            assert len(parse_caffemodel(whole[:cut], "x")) in (2, 3)
        except MissingError:
            refused += 1
    assert refused > 0.9 * len(whole)


@settings(max_examples=150, deadline=2000)
@given(st.binary(max_size=400))
def test_random_bytes_never_raise_anything_else(data: bytes) -> None:
    with contextlib.suppress(MissingError):
        parse_caffemodel(data, "x")


@settings(max_examples=150, deadline=2000)
@given(st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), min_size=1, max_size=8))
def test_flipped_bytes_never_raise_anything_else(changes: list[tuple[int, int]]) -> None:
    data = bytearray(P["caffemodel"](SMALL, legacy=False)[:3001])
    for position, value in changes:
        data[position] = value
    with contextlib.suppress(MissingError):
        parse_caffemodel(bytes(data), "x")


def test_no_field_makes_it_slow_or_big() -> None:
    crafted = [
        b"\x2d\x00\x00\x00\x00\x28\x01" * 20_000 + b"\x2d\x00\x00\x00\x00" * 400_000,  # many short float runs
        b"".join(message(100, message(7, b"")) for _ in range(5_000)),
        b"\x12" + varint(2**40),
    ]
    for data in crafted:
        tracemalloc.start()
        begin = time.process_time()
        with pytest.raises(MissingError):
            parse_caffemodel(data, "x")
        spent = time.process_time() - begin
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert spent < 5
        assert peak < 20e6
