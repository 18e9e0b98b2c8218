"""The vision transformers of FD-DINOv2 and CMMD, registered so that `dps weights get` and `import` know them.

Both are kept under the keys of DINOv2; CLIP has a norm before its blocks and a projection, and no scales of layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dpsdata.weights import Imported, WeightFile, register, register_importer
from dpsdata.weights.reading import UnrecognisedError, read_state, take_tensors

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Transformer:
    """One vision transformer of 14 px patches.

    Attributes:
        weights: registered name of its weights.
        width: of a token.
        depth: number of blocks.
        input_px: side of its input.
        token_count: positions that it was trained at, the class token included.
    """

    weights: str
    width: int
    depth: int
    input_px: int
    token_count: int


DINOV2: Final = Transformer("dinov2-vitl14", 1024, 24, 224, 1370)
CLIP: Final = Transformer("clip-vitl14-336", 1024, 24, 336, 577)
PATCH_PX, CLIP_DIMENSION = 14, 768

_BLOCK = {
    "norm1.weight": (1,), "norm1.bias": (1,), "attn.qkv.weight": (3, 1), "attn.qkv.bias": (3,),
    "attn.proj.weight": (1, 1), "attn.proj.bias": (1,), "norm2.weight": (1,), "norm2.bias": (1,),
    "mlp.fc1.weight": (4, 1), "mlp.fc1.bias": (4,), "mlp.fc2.weight": (1, 4), "mlp.fc2.bias": (1,),
}  # fmt: skip
_CLIP_NAMES = {
    "norm1": "layer_norm1", "attn.proj": "self_attn.out_proj", "norm2": "layer_norm2", "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}  # fmt: skip


def transformer_shapes(kind: Transformer) -> dict[str, tuple[int, ...]]:
    """Our keys of a transformer, with their shapes."""
    width, is_clip = kind.width, kind.weights == CLIP.weights
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, kind.token_count, width),
        "patch_embed.proj.weight": (width, 3, PATCH_PX, PATCH_PX),
        "norm.weight": (width,),
        "norm.bias": (width,),
    }
    if is_clip:
        shapes |= {"norm_pre.weight": (width,), "norm_pre.bias": (width,), "proj.weight": (CLIP_DIMENSION, width)}
    else:
        shapes["patch_embed.proj.bias"] = (width,)
    for index in range(kind.depth):
        shapes |= {f"blocks.{index}.{key}": tuple(width * part for part in parts) for key, parts in _BLOCK.items()}
        if not is_clip:
            shapes |= {f"blocks.{index}.{key}.gamma": (width,) for key in ("ls1", "ls2")}
    return shapes


def take_transformer(kind: Transformer, state: Mapping[str, Any], source: str) -> dict[str, Tensor]:
    """The tensors of a transformer under our keys, checked, as float32.

    Raises:
        MissingError: a tensor is missing, has another shape, or holds values that are not finite.
    """
    found = _from_clip(state, kind) if kind.weights == CLIP.weights and "cls_token" not in state else state
    return take_tensors(found, transformer_shapes(kind), source, kind.weights, kind.weights)


def _from_clip(state: Mapping[str, Any], kind: Transformer) -> dict[str, Any]:
    """Keys of `CLIPModel` or `CLIPVisionModelWithProjection` of transformers, renamed."""
    import torch

    root = "vision_model."
    simple = {
        "patch_embed.proj.weight": "embeddings.patch_embedding.weight",
        "norm_pre.weight": "pre_layrnorm.weight",
        "norm_pre.bias": "pre_layrnorm.bias",
        "norm.weight": "post_layernorm.weight",
        "norm.bias": "post_layernorm.bias",
    }
    found = {ours: state.get(root + theirs) for ours, theirs in simple.items()}
    found["proj.weight"] = state.get("visual_projection.weight")
    for ours, theirs, lead in (
        ("cls_token", "embeddings.class_embedding", (None, None)),
        ("pos_embed", "embeddings.position_embedding.weight", (None,)),
    ):
        value = state.get(root + theirs)
        found[ours] = value[lead] if isinstance(value, torch.Tensor) else None
    for index in range(kind.depth):
        place = f"{root}encoder.layers.{index}."
        for part in ("weight", "bias"):
            for ours, theirs in _CLIP_NAMES.items():
                found[f"blocks.{index}.{ours}.{part}"] = state.get(f"{place}{theirs}.{part}")
            three = [state.get(f"{place}self_attn.{name}_proj.{part}") for name in "qkv"]
            tensors = [value for value in three if isinstance(value, torch.Tensor)]
            found[f"blocks.{index}.attn.qkv.{part}"] = torch.cat(tensors) if len(tensors) == 3 else None
    return found


def import_transformer(path: Path) -> Imported | None:
    """The importer of both transformers; None for another network."""
    try:
        state, _ = read_state(path)
    except UnrecognisedError:
        return None
    for kind, key in ((DINOV2, "blocks.0.ls1.gamma"), (CLIP, "vision_model.embeddings.class_embedding")):
        if tuple(getattr(state.get(key), "shape", ())) == (kind.width,) and "register_tokens" not in state:
            return Imported(kind.weights, take_transformer(kind, state, str(path)), {"network": kind.weights})
    return None


def register_transformers() -> None:
    """Register both files and their importer; doing so twice changes nothing."""
    register(
        WeightFile(
            DINOV2.weights,
            "dinov2_vitl14_pretrain.pth",
            "https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/dinov2_vitl14_pretrain.pth",
            "https://github.com/facebookresearch/dinov2",
            None,
            None,
            "Apache-2.0",
            "DINOv2 ViT-L/14, for fd_dinov2 and kd_dinov2",
            "dpseval",
        )
    )
    register(
        WeightFile(
            CLIP.weights,
            "pytorch_model.bin",
            "https://huggingface.co/openai/clip-vit-large-patch14-336/resolve/main/pytorch_model.bin",
            "https://huggingface.co/openai/clip-vit-large-patch14-336",
            None,
            None,
            "MIT (openai/CLIP)",
            "CLIP ViT-L/14 at 336 px, for CMMD",
            "dpseval",
        )
    )
    register_importer(import_transformer)


register_transformers()
