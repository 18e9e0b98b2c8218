"""How the layers of our networks are called in the official files.

The official files hold weights that no forward pass reads (a second head in every G, a linear layer in every D);
those are the dead keys, which are checked and dropped.

Source: specs of the state dicts of VITA-Group/DeepPS (networks.py), commit 3079d46.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

_DEAD_HEAD_CHANNELS = 3
_LINEAR_INPUTS = 2304
_BOTTOM_NUMBER = 7
_SPECTRAL = {
    "parametrizations.weight.original": "weight_orig",
    "parametrizations.weight.0._u": "weight_u",
    "parametrizations.weight.0._v": "weight_v",
    "bias": "bias",
}
_PLAIN = {"first": "conv1", "head": "conv2"}
_Rule = tuple[re.Pattern[str], Callable[[re.Match[str], int], str]]

_REFINER_RULES: tuple[_Rule, ...] = (
    (re.compile(r"level_embedding\.layers\.(\d+)"), lambda m, depth: f"embedding.style.{2 * int(m[1])}"),
    (re.compile(r"(first|head)"), lambda m, depth: _PLAIN[m[1]]),
    (re.compile(r"downs\.(\d+)\.conv"), lambda m, depth: f"rcb{int(m[1]) + 1}.conv"),
    (re.compile(r"downs\.(\d+)\.norm\.affine"), lambda m, depth: f"rcb{int(m[1]) + 1}.bn.style"),
    (re.compile(r"ups\.(\d+)\.conv"), lambda m, depth: f"rdcb{depth - int(m[1])}.dconv.conv2d"),
    (re.compile(r"ups\.(\d+)\.norm\.affine"), lambda m, depth: f"rdcb{depth - int(m[1])}.bn.style"),
    (re.compile(r"residuals\.(\d+)\.conv([12])"), lambda m, depth: f"resblocks.{m[1]}.conv_{int(m[2]) - 1}"),
    (re.compile(r"residuals\.(\d+)\.norm([12])\.affine"), lambda m, depth: f"resblocks.{m[1]}.bn{m[2]}.style"),
)
# The bottom convolution is number 7 whatever the resolution, so smaller networks begin with a higher number.
_INPAINTER_RULES: tuple[_Rule, ...] = (
    (re.compile(r"first"), lambda m, depth: "conv1"),
    (re.compile(r"bottom"), lambda m, depth: "conv7"),
    (re.compile(r"head"), lambda m, depth: "dconv1"),
    (re.compile(r"downs\.(\d+)\.conv"), lambda m, depth: f"rcb{_BOTTOM_NUMBER - depth + int(m[1])}.conv"),
    (re.compile(r"downs\.(\d+)\.norm\.batch"), lambda m, depth: f"rcb{_BOTTOM_NUMBER - depth + int(m[1])}.bn"),
    (re.compile(r"ups\.(\d+)\.conv"), lambda m, depth: f"rdcb{_BOTTOM_NUMBER - int(m[1])}.dconv.conv2d"),
    (re.compile(r"ups\.(\d+)\.norm\.batch"), lambda m, depth: f"rdcb{_BOTTOM_NUMBER - int(m[1])}.bn"),
)


def refiner_keys(ours: Iterable[str], depth: int) -> dict[str, str]:
    """{our key: official key} of one network of G, which halves its input `depth` times."""
    return _apply(ours, depth, _REFINER_RULES)


def inpainter_keys(ours: Iterable[str], depth: int) -> dict[str, str]:
    """{our key: official key} of F, which has `depth` blocks above its bottom."""
    return _apply(ours, depth, _INPAINTER_RULES)


def discriminator_keys(ours: Iterable[str]) -> dict[str, str]:
    """{our key: official key} of one D."""
    names = {}
    for key in ours:
        _, index, leaf = key.split(".", 2)
        names[key] = f"model.{3 * int(index) + 1}.{_SPECTRAL[leaf]}"
    return names


def dead_shapes(kind: str, width: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the dead keys in an official file of G, F or D, whose first convolution has `width` channels."""
    if kind == "G":
        return {"conv3.weight": (_DEAD_HEAD_CHANNELS, 2 * width, 3, 3), "conv3.bias": (_DEAD_HEAD_CHANNELS,)}
    if kind == "D":
        return {
            "fc.bias": (1,),
            "fc.weight_orig": (1, _LINEAR_INPUTS),
            "fc.weight_u": (1,),
            "fc.weight_v": (_LINEAR_INPUTS,),
        }
    return {}


def _apply(ours: Iterable[str], depth: int, rules: tuple[_Rule, ...]) -> dict[str, str]:
    names = {}
    for key in ours:
        layer, leaf = key.rsplit(".", 1)
        found = [name(match, depth) for pattern, name in rules if (match := pattern.fullmatch(layer))]
        names[key] = f"{found[0]}.{leaf}"
    return names
