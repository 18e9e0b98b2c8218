"""HED state dicts in the public key layouts, written out by hand, and a small .caffemodel writer."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

STAGE_CONVS = (2, 2, 3, 3, 3)
FACTORS = (1, 2, 4, 8, 8)


def _shapes(convs: list[list[str]], sides: list[str], fuse: str | None, width: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    before = 3
    for names, factor in zip(convs, FACTORS, strict=True):
        for name in names:
            shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (width * factor, before, 3, 3), (width * factor,)
            before = width * factor
    for name, factor in zip(sides, FACTORS, strict=True):
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (1, width * factor, 1, 1), (1,)
    if fuse:
        shapes[f"{fuse}.weight"], shapes[f"{fuse}.bias"] = (1, 5, 1, 1), (1,)
    return shapes


def caffe_shapes(width: int = 64, score: str = "score-dsn", fuse: str = "new-score-weighting"):
    convs = [[f"conv{s}_{i}" for i in range(1, n + 1)] for s, n in enumerate(STAGE_CONVS, 1)]
    return _shapes(convs, [f"{score}{s}" for s in range(1, 6)], fuse, width)


def xwjabc_shapes(width: int = 64):
    return caffe_shapes(width, "score_dsn", "score_final")


def sniklaus_shapes(width: int = 64, prefix: str = "module"):
    slots = {"One": (0, 2), "Two": (1, 3), "Thr": (1, 3, 5), "Fou": (1, 3, 5), "Fiv": (1, 3, 5)}
    convs = [[f"{prefix}Vgg{stage}.{slot}" for slot in numbers] for stage, numbers in slots.items()]
    return _shapes(convs, [f"{prefix}Score{stage}" for stage in slots], f"{prefix}Combine.0", width)


def controlnet_shapes(width: int = 64):
    convs = [[f"block{s}.convs.{i}" for i in range(n)] for s, n in enumerate(STAGE_CONVS, 1)]
    return {"norm": (1, 3, 1, 1)} | _shapes(convs, [f"block{s}.projection" for s in range(1, 6)], None, width)


def our_shapes(width: int = 64):
    convs = [[f"stages.{s}.{i}" for i in range(n)] for s, n in enumerate(STAGE_CONVS)]
    return _shapes(convs, [f"sides.{s}" for s in range(5)], "fuse", width)


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def message(number: int, payload: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def blob(values: np.ndarray, legacy: bool, packed: bool = True) -> bytes:
    if legacy:
        dims = (1,) * (4 - values.ndim) + values.shape
        head = b"".join(number(i, d) for i, d in enumerate(dims, 1))
    else:
        head = message(7, message(1, b"".join(varint(d) for d in values.shape)))
    flat = values.astype("<f4").ravel()
    if packed:
        return head + message(5, flat.tobytes())
    records = np.empty((flat.size, 5), np.uint8)
    records[:, 0] = 5 << 3 | 5
    records[:, 1:] = flat.view(np.uint8).reshape(-1, 4)
    return records.tobytes() + head  # fields may come in any order


def caffemodel(state: Mapping[str, np.ndarray], legacy: bool = True, packed: bool = True) -> bytes:
    """A NetParameter with an input layer, one layer per weight and bias pair, a ReLU in between."""
    out = [message(1, b"HED"), message(3, b"data") if legacy else b"", number(5, 1)]
    for layer in dict.fromkeys(key.rsplit(".", 1)[0] for key in state):
        arrays = [state[f"{layer}.{leaf}"] for leaf in ("weight", "bias") if f"{layer}.{leaf}" in state]
        blobs = [blob(array, legacy, packed) for array in arrays]
        if legacy:
            body = message(2, b"data") + message(3, layer.encode()) + message(4, layer.encode()) + number(5, 4)
            body += b"".join(message(6, item) for item in blobs)
            out += [message(2, body), message(2, message(4, b"relu") + number(5, 18))]
        else:
            body = message(1, layer.encode()) + message(2, b"Convolution")
            body += b"".join(message(7, item) for item in blobs)
            out += [message(100, body), message(100, message(1, b"relu") + message(2, b"ReLU"))]
    return b"".join(out)


def random_state(shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> dict[str, np.ndarray]:
    generator = np.random.Generator(np.random.PCG64(seed))
    return {key: generator.standard_normal(shape, dtype=np.float32) for key, shape in shapes.items()}
