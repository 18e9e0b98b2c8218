"""The official state dicts written out by hand from the key grammar, apart from the product's own key map."""

from __future__ import annotations

import zlib

import torch

TASKS = {"edit": "EDT", "synthesis": "SYN"}
RELEASED = ("G64", "G128", "G256", "D64", "D128", "D256", "F256")
# Trainable parameters of the official files, dead ones included: (editing, synthesis).
COUNTS = {
    "G64": (18_826_695, 18_824_391),
    "G128": (1_342_791, 1_340_487),
    "G256": (1_342_791, 1_340_487),
    "F256": (39_535_939, 39_521_731),
    "D64": (3_287_297, 3_286_273),
    "D128": (7_482_113, 7_481_089),
    "D256": (11_676_929, 11_675_905),
    "F64": (25_374_019, 25_363_907),
    "F128": (32_454_979, 32_442_819),
}
DEAD_COUNTS = {"G": 3 * 128 * 9 + 3, "D": 2304 + 1, "F": 0}


def official_shapes(network: str, task: str) -> dict[str, tuple[int, ...]]:
    channels = 7 if task == "edit" else 3
    if network[0] == "G":
        return _refiner(channels, 3 if network == "G64" else 1)
    if network[0] == "F":
        return _inpainter(channels, int(network[1:]), task == "edit")
    return _discriminator(7 if task == "edit" else 6, {"D64": 3, "D128": 4, "D256": 5}[network])


def _conv(name: str, inputs: int, outputs: int, kernel: int = 3) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs, kernel, kernel), f"{name}.bias": (outputs,)}


def _style(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.style.weight": (2 * channels, 128), f"{name}.style.bias": (2 * channels,)}


def _refiner(channels: int, depth: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for slot in (0, 2, 4, 6):
        shapes[f"embedding.style.{slot}.weight"] = (128, 128 if slot else 1)
        shapes[f"embedding.style.{slot}.bias"] = (128,)
    widths = [64, 128, 256, 512][: depth + 1]
    shapes |= _conv("conv1", channels, 64)
    for k in range(1, depth + 1):
        shapes |= _conv(f"rcb{k}.conv", widths[k - 1], widths[k]) | _style(f"rcb{k}.bn", widths[k])
        joined = widths[k] if k == depth else 2 * widths[k]
        shapes |= _conv(f"rdcb{k}.dconv.conv2d", joined, widths[k - 1]) | _style(f"rdcb{k}.bn", widths[k - 1])
    for j in range(3):
        for part in ("0", "1"):
            shapes |= _conv(f"resblocks.{j}.conv_{part}", widths[-1], widths[-1])
            shapes |= _style(f"resblocks.{j}.bn{int(part) + 1}", widths[-1])
    return shapes | _conv("conv2", 128, 4) | _conv("conv3", 128, 3)


def _inpainter(channels: int, size: int, has_norm: bool) -> dict[str, tuple[int, ...]]:
    offset = {64: 2, 128: 1, 256: 0}[size]
    widths = [64, 128, 256, 512, 512, 512, 512, 512][: 8 - offset]

    def norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
        if not has_norm:
            return {}
        leaves = ("weight", "bias", "running_mean", "running_var")
        return {f"{name}.bn.{leaf}": (width,) for leaf in leaves} | {f"{name}.bn.num_batches_tracked": ()}

    shapes = _conv("conv1", channels, 64) | _conv("conv7", 512, 512, 4)
    for i, number in enumerate(range(offset, 7)):
        shapes |= _conv(f"rcb{number}.conv", widths[i], widths[i + 1]) | norm(f"rcb{number}", widths[i + 1])
    for i, number in enumerate(range(offset, 8)):
        joined = 512 if number == 7 else 2 * widths[i + 1]
        shapes |= _conv(f"rdcb{number}.dconv.conv2d", joined, widths[i]) | norm(f"rdcb{number}", widths[i])
    return shapes | _conv("dconv1", 128, 3)


def _discriminator(channels: int, stride_layers: int) -> dict[str, tuple[int, ...]]:
    widths = [*[channels, 64, 128, 256, 512, 512][: stride_layers + 1], 512, 64]
    shapes: dict[str, tuple[int, ...]] = {}

    def spectral(name: str, kernel: tuple[int, ...]) -> None:
        right = 1
        for side in kernel[1:]:
            right *= side
        shapes.update({f"{name}.bias": kernel[:1], f"{name}.weight_orig": kernel})
        shapes.update({f"{name}.weight_u": kernel[:1], f"{name}.weight_v": (right,)})

    for i in range(stride_layers + 2):
        spectral(f"model.{3 * i + 1}", (widths[i + 1], widths[i], 4, 4))
    spectral("fc", (1, 2304))
    return shapes


def counted_state(network: str, task: str) -> dict[str, torch.Tensor]:
    """A cheap stand-in where every tensor differs from every other and from its own shuffles."""
    state = {}
    for key, shape in official_shapes(network, task).items():
        size = torch.Size(shape).numel()
        if key.endswith("num_batches_tracked"):
            state[key] = torch.tensor(zlib.crc32(key.encode()) % 1000)
        else:
            state[key] = (torch.arange(size).float() % 8191 + zlib.crc32(key.encode()) % 977).reshape(shape) * 1e-4
    return state


def save_legacy(state: object, path: object) -> None:
    torch.save(state, path, _use_new_zipfile_serialization=False)  # type: ignore[arg-type]
