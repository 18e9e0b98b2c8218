"""The official TensorFlow weights of SC-FEGAN and DeepFillv2, registered so that `dps weights import PATH` takes them.

The tensors keep TensorFlow's names and layouts, so that the loaders read an import and a bundle alike.
Both DeepFillv2 releases have the same names and shapes. Which one it is, is told by the name of the file, or else of
its folder; where neither says, it is imported as `deepfillv2-custom`, unless `--name` says better.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dpsdata.contracts import MissingError
from dpsdata.weights import Imported, WeightFile, register, register_importer

if TYPE_CHECKING:
    from torch import nn

SCFEGAN: Final = "scfegan"
DEEPFILLV2_PLACES2: Final = "deepfillv2-places2"
DEEPFILLV2_CELEBA_HQ: Final = "deepfillv2-celeba-hq"
DEEPFILLV2_CUSTOM: Final = "deepfillv2-custom"
# Faces first: what a method that is called `deepfillv2` should take from those that are installed.
DEEPFILLV2_NAMES: Final = (DEEPFILLV2_CELEBA_HQ, DEEPFILLV2_PLACES2, DEEPFILLV2_CUSTOM)
LICENCE: Final = "CC BY-NC 4.0 (non-commercial use only)"
_TRAINING_SETS = {"places": DEEPFILLV2_PLACES2, "celeb": DEEPFILLV2_CELEBA_HQ}


@dataclass(frozen=True)
class OfficialNetwork:
    """What an official checkpoint has to hold; the discriminator and optimiser slots beside it are left out.

    Attributes:
        title: its name for people.
        first_kernel: TensorFlow's name of a kernel that no other network here has.
        tensor_count: variables of the generator.
        parameter_count: numbers in them, dead biases among them.
    """

    title: str
    first_kernel: str
    tensor_count: int
    parameter_count: int


# Source: JiahuiYu/generative_inpainting@3a53243 inpaint_model.py; run-youngjoo/SC-FEGAN@1f9d47f model.py.
OFFICIAL_NETWORKS: Final = {
    "scfegan": OfficialNetwork("SC-FEGAN", "generator/gconv1_ds/kernel", 93, 92_886_100),
    "deepfillv2": OfficialNetwork("DeepFillv2", "inpaint_net/conv1/kernel", 84, 4_052_478),
}


def training_set_in_name(path: Path) -> str:
    """Which DeepFillv2 a checkpoint is by its file name, or else its folder's: one of DEEPFILLV2_NAMES."""
    absolute = path.absolute()
    for text in (absolute.name, absolute.parent.name):
        found = {name for word, name in _TRAINING_SETS.items() if re.search(word, text, re.IGNORECASE)}
        if found:
            return found.pop() if len(found) == 1 else DEEPFILLV2_CUSTOM
    return DEEPFILLV2_CUSTOM


def import_official(path: Path) -> Imported | None:
    """The importer of both networks, from the index of their checkpoint; None for a file of another kind."""
    from models.baselines.tensorflow.messages import FOOTER_BYTES, has_table_footer

    with path.open("rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(max(0, size - FOOTER_BYTES))
        if path.suffix != ".index" and not has_table_footer(stream.read(FOOTER_BYTES)):
            return None
    if path.suffix != ".index":
        raise MissingError(f"{path}: the index of a TensorFlow checkpoint; name it `NAME.index` beside its data files")
    return _import_bundle(path.with_suffix(""))


def _import_bundle(prefix: Path) -> Imported:
    from models.baselines.loading import open_weights
    from models.baselines.tensorflow.bundle import list_bundle
    from models.baselines.tensorflow.names import tf_tensors

    listed = list_bundle(prefix)
    network = next((key for key, known in OFFICIAL_NETWORKS.items() if known.first_kernel in listed), None)
    if network is None:
        seen = ", ".join(list(listed)[:3]) or "none"
        raise MissingError(
            f"{prefix}: a TensorFlow checkpoint of another network, with {len(listed)} tensors such as {seen}; "
            "`dps weights list` names those that are known"
        )
    official = OFFICIAL_NETWORKS[network]
    wanted = {entry.name: entry.shape for entry in tf_tensors(_official_net(network)).values()}
    first = official.first_kernel
    if listed[first].shape != wanted[first]:
        raise MissingError(
            f"{prefix}: a {official.title} whose {first} has the shape {listed[first].shape}, the published one has "
            f"{wanted[first]}; pass its path, not a name"
        )
    tensors = open_weights(prefix).tensors(wanted)
    found = len(tensors), sum(tensor.numel() for tensor in tensors.values())
    if found != (official.tensor_count, official.parameter_count):
        raise MissingError(
            f"{prefix}: {found[1]:,} parameters in {found[0]} tensors, but {official.title} has "
            f"{official.parameter_count:,} in {official.tensor_count}; get the checkpoint again"
        )
    card = _card(prefix, network, len(listed) - len(tensors))
    if network == "scfegan":
        return Imported(SCFEGAN, tensors, card)
    name = training_set_in_name(prefix)
    return Imported(name, tensors, card, tuple(other for other in DEEPFILLV2_NAMES if other != name))


def _official_net(network: str) -> nn.Module:
    """A network of the published size without memory, for its names and shapes."""
    import torch

    from models.baselines.deepfillv2 import DeepFillv2
    from models.baselines.scfegan import ScFegan

    with torch.device("meta"):
        return ScFegan() if network == "scfegan" else DeepFillv2()


def _card(prefix: Path, network: str, left_out_count: int) -> dict[str, Any]:
    from dpsdata.weights.store import sha256_file
    from models.baselines.tensorflow.bundle import data_paths

    official = OFFICIAL_NETWORKS[network]
    return {
        "network": network,
        "layout": "tensorflow",
        "tensor_count": official.tensor_count,
        "parameter_count": official.parameter_count,
        "tensors_left_out": left_out_count,
        "data_sha256": {path.name: sha256_file(path) for path in data_paths(prefix)},
    }


def register_official_baselines() -> None:
    """Register the files and their importer; doing so twice changes nothing."""
    deepfill_page = "https://github.com/JiahuiYu/generative_inpainting (its README links the folder)"
    deepfill = "DeepFillv2, the published generator without a sketch"
    for name, filename, page, licence, purpose in (
        (
            SCFEGAN,
            "SC-FEGAN.ckpt.index",
            "https://github.com/run-youngjoo/SC-FEGAN (its README links this file and its .data file: keep both)",
            LICENCE,
            "SC-FEGAN, the published generator (512 px; sketch and colour)",
        ),
        (
            DEEPFILLV2_PLACES2,
            "release_places2_256_deepfill_v2",
            deepfill_page,
            LICENCE,
            f"{deepfill} (256 px, Places2)",
        ),
        (
            DEEPFILLV2_CELEBA_HQ,
            "release_celeba_hq_256_deepfill_v2",
            deepfill_page,
            f"{LICENCE}; trained on CelebA-HQ (non-commercial)",
            f"{deepfill} (256 px, CelebA-HQ)",
        ),
        (
            DEEPFILLV2_CUSTOM,
            "snap-0.index",
            "a checkpoint of github.com/JiahuiYu/generative_inpainting whose name does not say the training set",
            f"{LICENCE}, as the code's and the published weights'; ask who trained it",
            "DeepFillv2 of the published size, of another or an unknown training set",
        ),
    ):
        register(WeightFile(name, filename, None, page, None, None, licence, purpose, "models"))
    register_importer(import_official)


register_official_baselines()
