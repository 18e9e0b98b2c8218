"""The two networks of SketchRefiner that paint: an encoder of the sketch, and a painter with Fourier convolutions.

Names of the layers are those of the published files.
Source: AlonzoLeeeooo/SketchRefiner@bddc77e.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_LOCAL = 128  # channels of an FFC that convolve in space; the others see the whole image
_GLOBAL = 384
_HIDDEN = 128
_BLOCK_COUNT = 9


class _HalvesGatedConv2d(nn.Module):
    """A convolution whose first half of channels is the feature and whose second half gates it."""

    def __init__(self, conv: nn.Module) -> None:
        super().__init__()
        self.gate_conv = conv

    def forward(self, x: Tensor) -> Tensor:
        return F.glu(self.gate_conv(x), dim=1)


def _first_conv(in_channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 7, padding=3, padding_mode="reflect")


def _halve(in_channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 4, 2, 1)


def _gated_double(in_channels: int, out_channels: int) -> _HalvesGatedConv2d:
    return _HalvesGatedConv2d(nn.ConvTranspose2d(in_channels, 2 * out_channels, 4, 2, 1))


class _DilatedBlock(nn.Module):
    """Residual, with a kernel that is two pixels wide apart, then an ordinary one."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(nn.ReflectionPad2d(2), nn.Conv2d(channels, channels, 3, dilation=2))
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3))
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = x + self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return found


class SketchEncoder(nn.Module):
    """Feature maps of a refined sketch at four sizes."""

    def __init__(self) -> None:
        super().__init__()
        for step in range(1, 5):  # the first belongs to the coarsest map
            self.register_parameter(f"alpha{step}", nn.Parameter(torch.zeros(())))
        self.conv1, self.bn1 = _HalvesGatedConv2d(_first_conv(3, 128)), nn.BatchNorm2d(64)
        self.conv2, self.bn2 = _HalvesGatedConv2d(_halve(64, 256)), nn.BatchNorm2d(128)
        self.conv3, self.bn3 = _halve(128, 256), nn.BatchNorm2d(256)
        self.conv4, self.bn4 = _halve(256, 512), nn.BatchNorm2d(512)
        self.middle = nn.Sequential(*(_DilatedBlock(512) for _ in range(3)))
        self.convt1, self.bnt1 = _gated_double(512, 256), nn.BatchNorm2d(256)
        self.convt2, self.bnt2 = _gated_double(256, 128), nn.BatchNorm2d(128)
        self.convt3, self.bnt3 = _gated_double(128, 64), nn.BatchNorm2d(64)

    def forward(self, sketch: Tensor) -> list[Tensor]:
        """Maps of 64, 128, 256 and 512 channels at 1, 1/2, 1/4 and 1/8 of the size.

        Args:
            sketch: (N, 3, H, W) in {0, 1}, line = 1, three times the same plane.
        """
        x = F.relu(self.bn1(self.conv1(sketch)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = F.relu(self.bn3(self.conv3(x)))
        x = self.middle(F.relu(self.bn4(self.conv4(x))))
        maps = [x * self.get_parameter("alpha1")]
        for step in range(1, 4):
            x = F.relu(self.get_submodule(f"bnt{step}")(self.get_submodule(f"convt{step}")(x)))
            maps.insert(0, x * self.get_parameter(f"alpha{step + 1}"))
        return maps


class _SpatialNorm(nn.Module):
    """A batch norm whose scale and shift are painted by a feature map of the sketch."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.param_free_norm = nn.BatchNorm2d(channels, affine=False)
        self.mlp_shared = nn.Sequential(nn.Conv2d(channels, _HIDDEN, 3, padding=1), nn.ReLU())
        self.mlp_gamma = nn.Conv2d(_HIDDEN, channels, 3, padding=1)
        self.mlp_beta = nn.Conv2d(_HIDDEN, channels, 3, padding=1)

    def forward(self, x: Tensor, guide: Tensor) -> Tensor:
        hidden = self.mlp_shared(guide)
        found: Tensor = self.param_free_norm(x) * (1 + self.mlp_gamma(hidden)) + self.mlp_beta(hidden)
        return found


class _FourierUnit(nn.Module):
    """A 1x1 convolution of the spectrum, in which every pixel sees every other one."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_layer = nn.Conv2d(2 * channels, 2 * channels, 1, bias=False)
        self.bn = nn.BatchNorm2d(2 * channels)

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.rfft2(x, norm="ortho")
        # Real and imaginary part of a channel lie side by side.
        planes = torch.view_as_real(spectrum).permute(0, 1, 4, 2, 3).flatten(1, 2)
        planes = F.relu(self.bn(self.conv_layer(planes)))
        count, channels, *sides = planes.shape
        pairs = planes.reshape(count, channels // 2, 2, *sides).permute(0, 1, 3, 4, 2).contiguous()
        found: Tensor = torch.fft.irfft2(torch.view_as_complex(pairs), s=x.shape[2:], norm="ortho")
        return found


class _SpectralTransform(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.conv1 = nn.Sequential(nn.Conv2d(channels, half, 1, bias=False), nn.BatchNorm2d(half), nn.ReLU())
        self.fu = _FourierUnit(half)
        self.conv2 = nn.Conv2d(half, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        narrow = self.conv1(x)
        found: Tensor = self.conv2(narrow + self.fu(narrow))
        return found


class _FourierConv(nn.Module):
    """Fast Fourier convolution: local channels convolve, global ones see the spectrum, and both hear of each other."""

    def __init__(self) -> None:
        super().__init__()
        self.convl2l = _reflect_conv(_LOCAL, _LOCAL)
        self.convl2g = _reflect_conv(_LOCAL, _GLOBAL)
        self.convg2l = _reflect_conv(_GLOBAL, _LOCAL)
        self.convg2g = _SpectralTransform(_GLOBAL)

    def forward(self, near: Tensor, far: Tensor) -> tuple[Tensor, Tensor]:
        return self.convl2l(near) + self.convg2l(far), self.convl2g(near) + self.convg2g(far)


def _reflect_conv(in_channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, padding=1, padding_mode="reflect", bias=False)


class _FourierLayer(nn.Module):
    """The convolution with norms and ReLU, on local and global channels one behind the other."""

    def __init__(self) -> None:
        super().__init__()
        self.ffc = _FourierConv()
        self.bn_l = nn.BatchNorm2d(_LOCAL)
        self.bn_g = nn.BatchNorm2d(_GLOBAL)

    def forward(self, x: Tensor) -> Tensor:
        near, far = self.ffc(x[:, :_LOCAL], x[:, _LOCAL:])
        return F.relu(torch.cat([self.bn_l(near), self.bn_g(far)], dim=1))


class _FourierBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.ffc1 = _FourierLayer()
        self.ffc2 = _FourierLayer()

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = x + self.ffc2(self.ffc1(x))
        return found


class TextureModule(nn.Module):
    """Paints the hole, guided by the maps of the sketch."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = _first_conv(4, 64), nn.BatchNorm2d(64)
        for step, channels in ((2, 128), (3, 256), (4, 512)):
            self.add_module(f"conv{step}", nn.Conv2d(channels // 2, channels, 3, 2, 1))
            self.add_module(f"norm{step}", _SpatialNorm(channels))
            self.add_module(f"conv{step}_1", nn.Conv2d(channels, channels, 3, 1, 1))
        self.middle = nn.Sequential(*(_FourierBlock() for _ in range(_BLOCK_COUNT)))
        for step, channels in ((1, 256), (2, 128), (3, 64)):
            self.add_module(f"convt{step}", nn.ConvTranspose2d(2 * channels, channels, 3, 2, 1, 1))
            self.add_module(f"bnt{step}", nn.BatchNorm2d(channels))
        self.convt4 = _first_conv(64, 3)

    def forward(self, x: Tensor, guides: list[Tensor]) -> Tensor:
        """BGR in [0, 1], (N, 3, H, W), of the whole frame.

        Args:
            x: (N, 4, H, W): BGR in [0, 1] with a black hole, and the mask.
            guides: maps of a `SketchEncoder`.
        """
        y = F.relu(self.bn1(self.conv1(x)))
        for step in range(2, 5):
            y = self.get_submodule(f"conv{step}")(y + guides[step - 2])
            normed = F.relu(self.get_submodule(f"norm{step}")(y, guides[step - 1]))
            y = y + F.relu(self.get_submodule(f"conv{step}_1")(normed))
        y = self.middle(y + guides[3])
        for step in range(1, 4):
            y = F.relu(self.get_submodule(f"bnt{step}")(self.get_submodule(f"convt{step}")(y)))
        return (torch.tanh(self.convt4(y)) + 1) / 2
