"""The weights of the FID network, registered so that `dps weights get` and `import` know them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dpsdata.weights import Imported, WeightFile, register, register_importer
from dpsdata.weights.reading import UnrecognisedError, read_state, take_tensors

if TYPE_CHECKING:
    from torch import Tensor


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
Branch = tuple[Step, ...]


def _same(name: str, before: int, after: int, height: int, width: int | None = None) -> Conv:
    """A convolution that keeps height and width."""
    width = height if width is None else width
    return Conv(name, before, after, (height, width), padding=(height // 2, width // 2))


def _halving(name: str, before: int, after: int) -> Conv:
    return Conv(name, before, after, (3, 3), stride=2)


# The Inception v3 of December 2015, not torchvision's: average pools leave the padding out of the mean, and the last
# block pools by maximum. Source: pytorch-fid inception.py; torch-fidelity feature_extractor_inceptionv3.py.
STEM: tuple[Step, ...] = (
    _halving("Conv2d_1a_3x3", 3, 32),
    Conv("Conv2d_2a_3x3", 32, 32, (3, 3)),
    _same("Conv2d_2b_3x3", 32, 64, 3),
    "halve",
    _same("Conv2d_3b_1x1", 64, 80, 1),
    Conv("Conv2d_4a_3x3", 80, 192, (3, 3)),
    "halve",
)


def _block_35(before: int, pooled: int) -> tuple[Branch, ...]:
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


def _block_17(middle: int) -> tuple[Branch, ...]:
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


def _block_8(before: int, pool: str) -> tuple[Branch, ...]:
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


BLOCKS: dict[str, tuple[Branch, ...]] = {
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


INCEPTION: Final[str] = "inception-fid"
_TELLING_KEYS = ("Conv2d_1a_3x3.conv.weight", "Mixed_7c.branch_pool.conv.weight", "fc.weight")
_OTHER_FORMS = ("AuxLogits.fc.weight", "AuxLogits.conv0.conv.weight")


def check_inception_state(state: Mapping[str, Any], label: str) -> dict[str, Tensor]:
    """Return the tensors of the published state dict as float32; what else it holds is left out.

    Args:
        state: what a file holds.
        label: what to call it in messages.

    Raises:
        UnrecognisedError: another network, torchvision's Inception of ImageNet among them.
        MissingError: the right network, with tensors that are missing, misshapen or not finite.
    """
    import torch

    if not all(isinstance(state.get(key), torch.Tensor) for key in _TELLING_KEYS):
        raise UnrecognisedError(f"{label}: not the Inception network of FID; run `dps weights get {INCEPTION}`")
    if any(key in state for key in _OTHER_FORMS) or state["fc.weight"].shape[:1] != (OUTPUT_COUNT,):
        raise UnrecognisedError(
            f"{label}: an Inception with {tuple(state['fc.weight'].shape)[:1]} outputs; FID is defined by the one of "
            f"December 2015 with {OUTPUT_COUNT}; run `dps weights get {INCEPTION}`"
        )
    return take_tensors(state, state_shapes(), label, "the Inception network of FID", INCEPTION)


def hash_state(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, shapes and values: the same for every file format that holds these tensors."""
    digest = hashlib.sha256()
    for key in sorted(state):
        value = state[key].contiguous().numpy()
        digest.update(f"{key} {value.dtype.str} {value.shape}\n".encode())
        digest.update(value.data)
    return digest.hexdigest()


def import_inception(path: Path) -> Imported | None:
    """The importer of the FID network, as pytorch-fid and torch-fidelity publish it; None for another network."""
    try:
        tensors = check_inception_state(read_state(path)[0], str(path))
    except UnrecognisedError:
        return None
    return Imported(INCEPTION, tensors, {"network": "Inception v3 of December 2015, 1008 outputs"})


def register_inception() -> None:
    """Register the file and its importer; doing so twice changes nothing."""
    register(
        WeightFile(
            INCEPTION,
            "pt_inception-2015-12-05-6726825d.pth",
            "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
            "https://github.com/mseitzer/pytorch-fid/releases/tag/fid_weights",
            95_628_359,
            "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
            "Apache-2.0 (TensorFlow models); trained on ImageNet (non-commercial research)",
            "Inception network of FID and KID; torch-fidelity's weights-inception-2015-12-05-6726825d.pth is the same",
            "dpseval",
        )
    )
    register_importer(import_inception)


register_inception()
