"""The weights of the FID network, registered so that `dps weights get` and `import` know them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dpsdata.contracts import MissingError
from dpsdata.weights import Imported, WeightFile, register, register_importer
from dpsdata.weights.known.inception_layout import OUTPUT_COUNT, state_shapes
from dpsdata.weights.reading import UnrecognisedError

if TYPE_CHECKING:
    from torch import Tensor

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
    tensors: dict[str, Tensor] = {}
    for key, shape in state_shapes().items():
        value = state.get(key)
        if not isinstance(value, torch.Tensor) or tuple(value.shape) != shape or not value.is_floating_point():
            found = tuple(value.shape) if isinstance(value, torch.Tensor) else "nothing"
            raise MissingError(
                f"{label}: {key} should be a float tensor of shape {shape}, found {found}; "
                f"get the file again with `dps weights get {INCEPTION}`"
            )
        if not bool(torch.isfinite(value).all()):
            raise MissingError(
                f"{label}: {key} holds values that are not finite; get the file again with "
                f"`dps weights get {INCEPTION}`"
            )
        tensors[key] = value.detach().cpu().float()
    return tensors


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
    from dpsdata.weights.reading import read_state

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
