"""The face networks of the npm package @vladmandic/face-api, registered so that `dps weights import` knows its tarball.

npm pack @vladmandic/face-api@1.7.15
dps weights import vladmandic-face-api-1.7.15.tgz
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dpsdata.contracts import MissingError
from dpsdata.weights import Imported, WeightFile, register, register_importer

if TYPE_CHECKING:
    from torch import Tensor

DESCRIPTOR: Final = "face-api-descriptor"
LANDMARKS: Final = "face-api-landmarks"
MANIFEST_SUFFIX: Final = "-weights_manifest.json"
COMMANDS: Final = "`npm pack @vladmandic/face-api@1.7.15`, then `dps weights import vladmandic-face-api-1.7.15.tgz`"
_PAGE = "https://www.npmjs.com/package/@vladmandic/face-api"
_FILE_LIMIT = 64_000_000
_MANIFEST_LIMIT = 1_000_000

# (name, channels before, channels after, whether it halves the size)
RESIDUALS: Final = (
    ("conv32_1", 32, 32, False), ("conv32_2", 32, 32, False), ("conv32_3", 32, 32, False),
    ("conv64_down", 32, 64, True), ("conv64_1", 64, 64, False), ("conv64_2", 64, 64, False),
    ("conv64_3", 64, 64, False), ("conv128_down", 64, 128, True), ("conv128_1", 128, 128, False),
    ("conv128_2", 128, 128, False), ("conv256_down", 128, 256, True), ("conv256_1", 256, 256, False),
    ("conv256_2", 256, 256, False), ("conv256_down_out", 256, 256, True),
)  # fmt: skip
DENSE_WIDTHS: Final = (32, 64, 128, 256)


def face_weights(identity: str) -> tuple[str, str]:
    """Names of the weights of identity by a network, `face-api` or one with weights of its name, and of landmarks."""
    return (DESCRIPTOR if identity == "face-api" else identity, LANDMARKS)


def descriptor_shapes() -> dict[str, tuple[int, ...]]:
    """Keys of the descriptor, a residual network of dlib's, with their shapes as TensorFlow.js stores them."""
    shapes: dict[str, tuple[int, ...]] = {}

    def add(place: str, side: int, before: int, after: int) -> None:
        shapes[f"{place}/conv/filters"] = (side, side, before, after)
        shapes.update({f"{place}/{key}": (after,) for key in ("conv/bias", "scale/weights", "scale/biases")})

    add("conv32_down", 7, 3, 32)
    for name, before, after, _ in RESIDUALS:
        add(f"{name}/conv1", 3, before, after)
        add(f"{name}/conv2", 3, after, after)
    return {**shapes, "fc": (256, 128)}


def landmark_shapes() -> dict[str, tuple[int, ...]]:
    """Keys of the 68 landmarks' network with their shapes as TensorFlow.js stores them."""
    shapes: dict[str, tuple[int, ...]] = {}
    before = 3
    for block, width in enumerate(DENSE_WIDTHS):
        for index in range(4):
            place = f"dense{block}/conv{index}"
            if before == 3:
                shapes[f"{place}/filters"] = (3, 3, 3, width)
            else:
                shapes[f"{place}/depthwise_filter"] = (3, 3, before, 1)
                shapes[f"{place}/pointwise_filter"] = (1, 1, before, width)
            shapes[f"{place}/bias"] = (width,)
            before = width
    return {**shapes, "fc/weights": (256, 136), "fc/bias": (136,)}


_NETWORKS = {DESCRIPTOR: descriptor_shapes, LANDMARKS: landmark_shapes}


def read_tfjs(path: Path) -> dict[str, Tensor]:
    """Read a TensorFlow.js shard by the manifest beside it, 8-bit values spread out to float32.

    Args:
        path: NAME.bin, with NAME-weights_manifest.json in its folder.

    Raises:
        MissingError: the two do not fit each other.
    """
    import numpy as np
    import torch

    manifest = path.with_name(f"{path.stem}{MANIFEST_SUFFIX}")
    wrong = f"{path}: does not fit {manifest.name}; get the package again: {COMMANDS}"
    if path.stat().st_size > _FILE_LIMIT or manifest.stat().st_size > _MANIFEST_LIMIT:
        raise MissingError(wrong)
    data = path.read_bytes()
    tensors: dict[str, Tensor] = {}
    start = 0
    try:
        groups: list[dict[str, Any]] = json.loads(manifest.read_text(encoding="utf-8"))
        for entry in (entry for group in groups for entry in group["weights"]):
            shape, packed = tuple(int(side) for side in entry["shape"]), entry.get("quantization")
            count = math.prod(shape)
            stored = packed["dtype"] if packed else entry["dtype"]
            kind = np.dtype({"uint8": "u1", "uint16": "<u2", "float32": "<f4"}[stored])
            if count < 0 or start + count * kind.itemsize > len(data):
                raise MissingError(wrong)
            values = np.frombuffer(data, kind, count, start).astype(np.float32)
            start += count * kind.itemsize
            if packed:
                values = values * np.float32(packed["scale"]) + np.float32(packed["min"])
            tensors[str(entry["name"])] = torch.from_numpy(values.reshape(shape).copy())
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        raise MissingError(wrong) from None
    if start != len(data):
        raise MissingError(wrong)
    return tensors


def import_face_network(path: Path) -> Imported | None:
    """The importer of both networks; None for another file."""
    if path.suffix != ".bin" or not path.with_name(f"{path.stem}{MANIFEST_SUFFIX}").is_file():
        return None
    tensors = read_tfjs(path)
    for name, shapes in _NETWORKS.items():
        if {key: tuple(value.shape) for key, value in tensors.items()} == shapes():
            if not all(bool(value.isfinite().all()) for value in tensors.values()):
                raise MissingError(f"{path}: holds values that are not finite; get the package again: {COMMANDS}")
            return Imported(name, tensors, {"network": "@vladmandic/face-api"})
    return None


def register_face_networks() -> None:
    """Register both files and their importer; doing so twice changes nothing."""
    for name, filename, size, sha256, purpose in (
        (
            DESCRIPTOR,
            "face_recognition_model.bin",
            6_444_032,
            "b413e420d6840b2775fba32008db6f3cddb07d485967fb42cfcf379c16a8c589",
            "a face as 128 numbers (dlib's network), for id_similarity; in the npm package @vladmandic/face-api 1.7.15",
        ),
        (
            LANDMARKS,
            "face_landmark_68_model.bin",
            356_840,
            "4611ef65c87d836d03d684b30eec4d195d8b219fa1dd58fc58945831c6b9299b",
            "68 points of a face, for landmark_nme; in the npm package @vladmandic/face-api 1.7.15",
        ),
    ):
        register(WeightFile(name, filename, None, _PAGE, size, sha256, "MIT", purpose, "dpseval"))
    register_importer(import_face_network)


register_face_networks()
