"""MobileFaceNet of foamliu/MobileFaceNet, a second network of identity, registered by its published address."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from dpsdata.contracts import MissingError
from dpsdata.weights import Imported, WeightFile, register, register_importer

MOBILEFACENET: Final = "mobilefacenet"
_ADDRESS = "https://github.com/foamliu/MobileFaceNet"
_FIRST, _LAST, _CODE, _SIDE_PX = 64, 512, 128, 7

# (channels before, within, after, stride) of each inverted residual
BLOCKS: Final = (
    (64, 128, 64, 2), *((64, 128, 64, 1),) * 4,
    (64, 256, 128, 2), *((128, 256, 128, 1),) * 6,
    (128, 512, 128, 2), *((128, 256, 128, 1),) * 2,
)  # fmt: skip


def _norms_and_convolutions() -> Iterator[tuple[str, tuple[int, ...]]]:
    """Each convolution with its shape, each batch norm with its channels."""
    yield from (("conv1.0", (_FIRST, 3, 3, 3)), ("conv1.1", (_FIRST,)))
    yield from (("dw_conv.depthwise", (_FIRST, 1, 3, 3)), ("dw_conv.bn1", (_FIRST,)))
    yield from (("dw_conv.pointwise", (_FIRST, _FIRST, 1, 1)), ("dw_conv.bn2", (_FIRST,)))
    for number, (before, within, after, _) in enumerate(BLOCKS):
        place = f"features.{number}.conv"
        yield from ((f"{place}.0.0", (within, before, 1, 1)), (f"{place}.0.1", (within,)))
        yield from ((f"{place}.1.0", (within, 1, 3, 3)), (f"{place}.1.1", (within,)))
        yield from ((f"{place}.2", (after, within, 1, 1)), (f"{place}.3", (after,)))
    yield from (("conv2.0", (_LAST, BLOCKS[-1][2], 1, 1)), ("conv2.1", (_LAST,)))
    yield from (("gdconv.depthwise", (_LAST, 1, _SIDE_PX, _SIDE_PX)), ("gdconv.bn", (_LAST,)))
    yield from (("conv3", (_CODE, _LAST, 1, 1)), ("bn", (_CODE,)))


def mobilefacenet_shapes() -> dict[str, tuple[int, ...]]:
    """Keys of the published state dict with their shapes, without the counters of its batch norms."""
    shapes: dict[str, tuple[int, ...]] = {"conv3.bias": (_CODE,)}
    for place, shape in _norms_and_convolutions():
        parts = ("weight",) if len(shape) > 1 else ("weight", "bias", "running_mean", "running_var")
        shapes.update({f"{place}.{part}": shape for part in parts})
    return shapes


def import_mobilefacenet(path: Path) -> Imported | None:
    """The importer of the state dict; None for another network."""
    from dpsdata.weights.reading import UnrecognisedError, read_state

    try:
        state = read_state(path)[0]
    except UnrecognisedError:
        return None
    tensors = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    if {key: tuple(getattr(value, "shape", ())) for key, value in tensors.items()} != mobilefacenet_shapes():
        return None
    if not all(bool(value.isfinite().all()) for value in tensors.values()):
        raise MissingError(f"{path}: holds values that are not finite; run `dps weights get {MOBILEFACENET}`")
    return Imported(MOBILEFACENET, tensors, {"network": "foamliu/MobileFaceNet@a6cc903"})


def register_mobilefacenet() -> None:
    """Register the file and its importer; doing so twice changes nothing."""
    register(
        WeightFile(
            MOBILEFACENET,
            "mobilefacenet.pt",
            f"{_ADDRESS}/raw/a6cc9032a659b615f477833e1a70b5e7931bcccc/weights/mobilefacenet.pt",
            _ADDRESS,
            4_135_271,
            None,
            "Apache-2.0; trained on MS-Celeb-1M",
            "a face as 128 numbers, for `dpseval score --identity mobilefacenet`",
            "dpseval",
        )
    )
    register_importer(import_mobilefacenet)


register_mobilefacenet()
