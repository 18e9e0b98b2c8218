"""The layers of the FID network under their published names: plain tables, so that weights are checked without torch.

It is the Inception v3 of December 2015 (1008 outputs). It is not torchvision's: average pools leave the padding out
of the mean, and the last block pools by maximum.

Source: pytorch-fid `inception.py` and torch-fidelity `feature_extractor_inceptionv3.py` (the same state dict);
evaluation.md, section 2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

FEATURE_COUNT = 2048
OUTPUT_COUNT = 1008  # classes; the network of ImageNet weights has 1000
NORM_EPSILON = 0.001
_NORM_PARTS = ("weight", "bias", "running_mean", "running_var")


@dataclass(frozen=True)
class Conv:
    """One convolution without bias, its batch normalisation and a ReLU.

    Attributes:
        name: its name inside the block, or of the whole layer in the stem.
        before: channels in.
        after: channels out.
        kernel: height and width in px.
        stride: in px.
        padding: rows and columns of zeros on each side.
    """

    name: str
    before: int
    after: int
    kernel: tuple[int, int]
    stride: int = 1
    padding: tuple[int, int] = (0, 0)


Fork = tuple[Conv, ...]  # all on the same input, results side by side
Step = Conv | Fork | str  # a string is a pool: `average`, `maximum`, `halve`
Path = tuple[Step, ...]


def _same(name: str, before: int, after: int, height: int, width: int | None = None) -> Conv:
    """A convolution that keeps height and width."""
    width = height if width is None else width
    return Conv(name, before, after, (height, width), padding=(height // 2, width // 2))


def _halving(name: str, before: int, after: int) -> Conv:
    return Conv(name, before, after, (3, 3), stride=2)


STEM: tuple[Step, ...] = (
    _halving("Conv2d_1a_3x3", 3, 32),
    Conv("Conv2d_2a_3x3", 32, 32, (3, 3)),
    _same("Conv2d_2b_3x3", 32, 64, 3),
    "halve",
    _same("Conv2d_3b_1x1", 64, 80, 1),
    Conv("Conv2d_4a_3x3", 80, 192, (3, 3)),
    "halve",
)


def _block_35(before: int, pooled: int) -> tuple[Path, ...]:
    return (
        (_same("branch1x1", before, 64, 1),),
        (_same("branch5x5_1", before, 48, 1), _same("branch5x5_2", 48, 64, 5)),
        (
            _same("branch3x3dbl_1", before, 64, 1),
            _same("branch3x3dbl_2", 64, 96, 3),
            _same("branch3x3dbl_3", 96, 96, 3),
        ),
        ("average", _same("branch_pool", before, pooled, 1)),
    )


def _block_17(middle: int) -> tuple[Path, ...]:
    before = 768
    return (
        (_same("branch1x1", before, 192, 1),),
        (
            _same("branch7x7_1", before, middle, 1),
            _same("branch7x7_2", middle, middle, 1, 7),
            _same("branch7x7_3", middle, 192, 7, 1),
        ),
        (
            _same("branch7x7dbl_1", before, middle, 1),
            _same("branch7x7dbl_2", middle, middle, 7, 1),
            _same("branch7x7dbl_3", middle, middle, 1, 7),
            _same("branch7x7dbl_4", middle, middle, 7, 1),
            _same("branch7x7dbl_5", middle, 192, 1, 7),
        ),
        ("average", _same("branch_pool", before, 192, 1)),
    )


def _block_8(before: int, pool: str) -> tuple[Path, ...]:
    return (
        (_same("branch1x1", before, 320, 1),),
        (
            _same("branch3x3_1", before, 384, 1),
            (_same("branch3x3_2a", 384, 384, 1, 3), _same("branch3x3_2b", 384, 384, 3, 1)),
        ),
        (
            _same("branch3x3dbl_1", before, 448, 1),
            _same("branch3x3dbl_2", 448, 384, 3),
            (_same("branch3x3dbl_3a", 384, 384, 1, 3), _same("branch3x3dbl_3b", 384, 384, 3, 1)),
        ),
        (pool, _same("branch_pool", before, 192, 1)),
    )


BLOCKS: dict[str, tuple[Path, ...]] = {
    "Mixed_5b": _block_35(192, 32),
    "Mixed_5c": _block_35(256, 64),
    "Mixed_5d": _block_35(288, 64),
    "Mixed_6a": (
        (_halving("branch3x3", 288, 384),),
        (_same("branch3x3dbl_1", 288, 64, 1), _same("branch3x3dbl_2", 64, 96, 3), _halving("branch3x3dbl_3", 96, 96)),
        ("halve",),
    ),
    "Mixed_6b": _block_17(128),
    "Mixed_6c": _block_17(160),
    "Mixed_6d": _block_17(160),
    "Mixed_6e": _block_17(192),
    "Mixed_7a": (
        (_same("branch3x3_1", 768, 192, 1), _halving("branch3x3_2", 192, 320)),
        (
            _same("branch7x7x3_1", 768, 192, 1),
            _same("branch7x7x3_2", 192, 192, 1, 7),
            _same("branch7x7x3_3", 192, 192, 7, 1),
            _halving("branch7x7x3_4", 192, 192),
        ),
        ("halve",),
    ),
    "Mixed_7b": _block_8(1280, "average"),
    "Mixed_7c": _block_8(2048, "maximum"),
}


def _convs(steps: tuple[Step, ...], prefix: str) -> Iterator[tuple[str, Conv]]:
    for step in steps:
        for conv in step if isinstance(step, tuple) else (step,):
            if isinstance(conv, Conv):
                yield prefix + conv.name, conv


def named_convs() -> Iterator[tuple[str, Conv]]:
    """Yield every convolution with its published name, such as `Mixed_5b.branch1x1`."""
    yield from _convs(STEM, "")
    for block, paths in BLOCKS.items():
        for path in paths:
            yield from _convs(path, f"{block}.")


def state_shapes() -> dict[str, tuple[int, ...]]:
    """Every key of the published state dict and its shape; the counters of batch normalisation play no part."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, conv in named_convs():
        shapes[f"{name}.conv.weight"] = (conv.after, conv.before, *conv.kernel)
        shapes |= {f"{name}.bn.{part}": (conv.after,) for part in _NORM_PARTS}
    return shapes | {"fc.weight": (OUTPUT_COUNT, FEATURE_COUNT), "fc.bias": (OUTPUT_COUNT,)}
