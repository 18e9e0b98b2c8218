"""The list of weight files that the product knows: official names, hosts, hashes, licences.

Each room registers its own when it is imported; those of HED are here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from dpsdata.contracts import UsageError

REINSTALL = "pip install --force-reinstall --no-deps CHECKOUT"  # what brings back files of the package


@dataclass(frozen=True)
class WeightFile:
    """One file of weights, as its authors publish it.

    Attributes:
        name: our name of it, as in `dps weights get NAME`.
        filename: the official file name.
        url: where it can be downloaded without a person in between; None where it cannot.
        page: where a person gets it and reads its terms.
        size: bytes of the official file, where known.
        sha256: SHA-256 of the official file, where known.
        licence: the terms, in a line.
        purpose: what it is for, in a line.
        room: `dpsdata`, `models` or `dpseval`.
        bundled_folder: for a file that comes inside the package, its folder, with a `bundled.json` of hashes.
    """

    name: str
    filename: str
    url: str | None
    page: str
    size: int | None
    sha256: str | None
    licence: str
    purpose: str
    room: str
    bundled_folder: Path | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", self.name):
            raise UsageError(f"weight name: expected small letters, digits, `-`, `_` and `.`, got {self.name!r}")
        if Path(self.filename).name != self.filename or not self.filename:
            raise UsageError(f"{self.name}: expected a file name without a folder, got {self.filename!r}")
        if self.sha256 is not None and not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise UsageError(f"{self.name}: expected a SHA-256 of 64 small hex digits, got {self.sha256!r}")
        if self.size is not None and self.size < 1:
            raise UsageError(f"{self.name}: expected a positive size in bytes, got {self.size}")


_FILES: dict[str, WeightFile] = {}


def register(file: WeightFile) -> WeightFile:
    """Add a file to the list; adding the same one twice changes nothing.

    Raises:
        UsageError: another file has this name already.
    """
    if _FILES.get(file.name, file) != file:
        raise UsageError(f"weights: two different files are registered as {file.name!r}; rename one")
    _FILES[file.name] = file
    return file


def list_weights() -> list[WeightFile]:
    """Return every registered file, in the order of registration."""
    return list(_FILES.values())


def find_weights(name: str) -> WeightFile:
    """Return the file of this name; raise UsageError naming those that exist."""
    try:
        return _FILES[name]
    except KeyError:
        known = ", ".join(_FILES)
        raise UsageError(f"weights: {name!r} is not known; expected one of {known} (see `dps weights list`)") from None


_BUNDLED = Path(__file__).parents[1] / "hed" / "bundled"
_TRAINED_HERE = "trained by this project on BSDS500 (non-commercial research and education)"

for _file in (
    WeightFile(
        "hed-compact",
        "hed_compact.safetensors",
        None,
        "bundled with this package",
        None,
        None,
        _TRAINED_HERE,
        "compact edge detector, used where no official HED is installed",
        "dpsdata",
        _BUNDLED,
    ),
    WeightFile(
        "hed-judge",
        "hed_judge.safetensors",
        None,
        "bundled with this package",
        None,
        None,
        _TRAINED_HERE,
        "a second compact edge detector, for scoring alone",
        "dpsdata",
        _BUNDLED,
    ),
    WeightFile(
        "hed-caffe",
        "hed_pretrained_bsds.caffemodel",
        "https://vcl.ucsd.edu/hed/hed_pretrained_bsds.caffemodel",
        "https://vcl.ucsd.edu/hed/",
        58_876_104,
        "4b6937684bce9be1ef5163c78ec812dff9a23653bfbb451925210a64ecfaaac7",
        "none stated for the weights; the repository s9xie/hed is BSD-2-Clause",
        "the published HED; the reference edge detector",
        "dpsdata",
    ),
    WeightFile(
        "hed-xwjabc",
        "hed_checkpoint.pt",
        None,
        "https://cseweb.ucsd.edu/~weijian/static/datasets/hed/hed-data.tar (see github.com/xwjabc/hed)",
        None,
        None,
        "none stated; the repository xwjabc/hed has no licence file",
        "HED retrained in PyTorch, the Caffe form",
        "dpsdata",
    ),
    WeightFile(
        "hed-sniklaus",
        "network-bsds500.pytorch",
        "http://content.sniklaus.com/github/pytorch-hed/network-bsds500.pytorch",
        "https://github.com/sniklaus/pytorch-hed",
        None,
        None,
        "none stated for the weights, converted from hed-caffe; the repository is GPL-3.0",
        "HED for the padding-1 PyTorch port",
        "dpsdata",
    ),
    WeightFile(
        "hed-sniklaus-v1",
        "network-bsds500.pth",
        "https://huggingface.co/lllyasviel/ControlNet/resolve/main/annotator/ckpts/network-bsds500.pth",
        "https://huggingface.co/lllyasviel/ControlNet",
        None,
        "58a858782f5fa3e0ca3dc92e7a1a609add93987d77be3dfa54f8f8419d881a94",
        "see the model page; weights converted from hed-caffe",
        "the same port's file, as ControlNet 1.0 hosts it, with a published hash",
        "dpsdata",
    ),
    WeightFile(
        "hed-controlnet",
        "ControlNetHED.pth",
        "https://huggingface.co/lllyasviel/Annotators/resolve/main/ControlNetHED.pth",
        "https://huggingface.co/lllyasviel/Annotators",
        29_444_406,
        "5ca93762ffd68a29fee1af9d495bf6aab80ae86f08905fb35472a083a4c7a8fa",
        "model page tagged `other`; the code is Apache-2.0",
        "ControlNet's own HED training: smoother, thicker edges",
        "dpsdata",
    ),
):
    register(_file)
