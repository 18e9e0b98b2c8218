"""VGG19 for the perceptual loss, registered so that `dps weights get` and `import` know it."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from dpsdata.contracts import MissingError
from dpsdata.weights import Imported, WeightFile, register, register_importer
from dpsdata.weights.reading import UnrecognisedError

VGG19: Final[Literal["vgg19-torchvision"]] = "vgg19-torchvision"
# {index among torchvision's features: (channels in, channels out)}, as far as relu3_1
VGG_CONVOLUTIONS = {0: (3, 64), 2: (64, 64), 5: (64, 128), 7: (128, 128), 10: (128, 256)}
_LAST_CONVOLUTION = "features.34.weight"  # VGG16 ends at 28, and with BatchNorm the indices differ


def import_vgg19(path: Path) -> Imported | None:
    """The importer of torchvision's VGG19; None for another network. The deeper layers are left out."""
    import torch

    from dpsdata.weights.reading import find_form, read_state

    try:
        state = find_form(read_state(path)[0], lambda keys: _LAST_CONVOLUTION in keys)
    except UnrecognisedError:
        return None
    if _LAST_CONVOLUTION not in state or "features.0.weight" not in state:
        return None
    tensors = {}
    for index, (before, after) in VGG_CONVOLUTIONS.items():
        for key, shape in ((f"features.{index}.weight", (after, before, 3, 3)), (f"features.{index}.bias", (after,))):
            value = state.get(key)
            if not isinstance(value, torch.Tensor) or tuple(value.shape) != shape or not value.is_floating_point():
                raise MissingError(f"{path}: not torchvision's VGG19: {key} should be a tensor of shape {shape}")
            if not bool(torch.isfinite(value).all()):
                raise MissingError(f"{path}: {key} holds values that are not finite; get the file again")
            tensors[key] = value.float()
    return Imported(VGG19, tensors, {"network": "VGG19 up to relu3_1"})


def register_vgg19() -> None:
    """Register the file and its importer; doing so twice changes nothing."""
    register(
        WeightFile(
            VGG19,
            "vgg19-dcbb9e9d.pth",
            "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
            "https://docs.pytorch.org/vision/stable/models/vgg.html",
            None,
            None,
            "BSD-3-Clause (torchvision); trained on ImageNet (non-commercial research)",
            "VGG19 for the perceptual loss of the training",
            "models",
        )
    )
    register_importer(import_vgg19)


register_vgg19()
