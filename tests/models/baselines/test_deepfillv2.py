"""DeepFillv2 against TensorFlow's outputs, and what a batch, a hole and a sketch must and must not change."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from dpsdata.contracts import UsageError
from models.baselines import DeepFillv2, DeepFillv2Config, deepfillv2, load_deepfillv2
from models.baselines.deepfillv2 import attend
from models.baselines.tensorflow.operators import initialise_glorot

parity = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("parity_arrays.py"))))


def tiny(guided: bool = False) -> DeepFillv2:
    net = DeepFillv2(DeepFillv2Config(8, guided))
    initialise_glorot(net, 1, "test")
    for value in net.parameters():
        value.data *= 2.5  # or twenty gates in a row let next to nothing through
    return net.eval()


def edit(count: int = 2, height: int = 32, width: int = 48) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    photo = torch.rand(count, 3, height, width, generator=generator) * 2 - 1
    mask = torch.zeros(count, 1, height, width)
    for index in range(count):
        mask[index, :, 4 + 8 * index : 14 + 8 * index, 6:20] = 1
    sketch = (torch.rand(count, 1, height, width, generator=generator) > 0.8).float()
    return photo, mask, sketch


@pytest.mark.parametrize("case", ["cnum8_64x64", "cnum8_64x96", "cnum8_guided_64x64"])
def test_the_network_equals_tensorflow(case: str) -> None:
    arrays = parity.load_arrays(f"fixture_deepfillv2_{case}.npz")
    net = load_deepfillv2(parity.weights_of(arrays))
    assert net.config == DeepFillv2Config(8, guided="guided" in case)
    sketch = parity.planes(arrays["edge"]) if "edge" in arrays else None
    with torch.no_grad():
        out = net(parity.photo(arrays["image"]), parity.planes(arrays["mask"]), sketch)
    for ours, theirs in (("raw", "stage2"), ("stage1", "stage1"), ("composite", "composite")):
        assert parity.largest_error(out[ours], parity.photo(arrays[theirs])) < 1e-5, ours
    for ours, theirs in (("attention_in", "ca_in"), ("attention_out", "ca_out")):
        assert parity.largest_error(out[ours], parity.planes(arrays[theirs])) < 1e-5, ours


def test_each_sample_has_its_own_mask() -> None:
    net, (photo, mask, _) = tiny(), edit()
    with torch.no_grad():
        both = net(photo, mask)
        alone = [net(photo[i : i + 1], mask[i : i + 1]) for i in range(2)]
        swapped = net(photo, mask.flip(0))
    for name in both:
        assert torch.allclose(both[name], torch.cat([one[name] for one in alone]), atol=1e-5), name
    assert not torch.allclose(both["attention_out"], swapped["attention_out"], atol=1e-4)


def test_groups_of_samples_give_what_the_whole_batch_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    features, (_, mask, _) = torch.randn(3, 6, 8, 12), edit(3)
    whole = attend(features, mask)
    monkeypatch.setattr(deepfillv2, "_SCORES_AT_ONCE", 2 * 24**2)
    assert torch.allclose(attend(features, mask), whole, atol=1e-6)


def test_attention_without_any_valid_key_gives_nothing() -> None:
    assert not attend(torch.randn(1, 4, 8, 8), torch.ones(1, 1, 32, 32)).any()


def test_what_lies_in_the_hole_is_not_read_and_the_rest_is_kept() -> None:
    net, (photo, mask, _) = tiny(), edit()
    with torch.no_grad():
        whole, cut = net(photo, mask), net(photo * (1 - mask), mask)
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    assert torch.equal(whole["composite"] * (1 - mask), photo * (1 - mask))
    assert torch.equal(whole["composite"] * mask, whole["raw"] * mask)


def test_the_sketch_counts_in_the_hole_only_and_only_where_guided() -> None:
    photo, mask, sketch = edit()
    with torch.no_grad():
        guided = tiny(guided=True)
        drawn, cut = guided(photo, mask, sketch), guided(photo, mask, sketch * mask)
        assert torch.equal(drawn["raw"], cut["raw"])
        empty = guided(photo, mask)["raw"]
        assert not torch.allclose(drawn["raw"], empty, atol=1e-4)
        assert torch.equal(empty, guided(photo, mask, torch.zeros_like(sketch))["raw"])
        plain = tiny()
        assert torch.equal(plain(photo, mask, sketch)["raw"], plain(photo, mask)["raw"])


def test_every_weight_is_trained() -> None:
    net, (photo, mask, sketch) = tiny(guided=True).train(), edit()
    out = net(photo, mask, sketch)
    (out["stage1"].abs().mean() + out["composite"].abs().mean()).backward()
    still = [name for name, value in net.named_parameters() if value.grad is None or not value.grad.any()]
    assert still == []


def test_a_tensor_of_another_type_or_place_is_refused_with_a_sentence() -> None:
    net, (photo, mask, sketch) = tiny(guided=True), edit()
    with pytest.raises(UsageError, match="photo: expected a float32 tensor on cpu, got float64 on cpu"):
        net(photo.double(), mask)
    with pytest.raises(UsageError, match=r"photo: .* got ndarray"):
        net(photo.numpy(), mask)
    with pytest.raises(UsageError, match=r"mask: .* got bool on cpu"):
        net(photo, mask.bool())
    with pytest.raises(UsageError, match=r"mask: .* got float32 on meta"):
        net(photo, mask.to("meta"))
    with pytest.raises(UsageError, match=r"mask: .* got NoneType"):
        net(photo, None)
    with pytest.raises(UsageError, match=r"sketch: .* got float16 on cpu"):
        net(photo, mask, sketch.half())
    wide = net.double()(photo.double(), mask.double(), sketch.double())
    assert wide["raw"].dtype == torch.float64


def test_wrong_input_is_refused() -> None:
    net, (photo, mask, sketch) = tiny(guided=True), edit()
    with pytest.raises(UsageError, match="multiples of 8 px, got 30 x 48"):
        net(photo[:, :, :30], mask[:, :, :30])
    with pytest.raises(UsageError, match="mask"):
        net(photo, mask[:, :, :16])
    with pytest.raises(UsageError, match="mask: expected only 0"):
        net(photo, mask * 0.5)
    with pytest.raises(UsageError, match="sketch"):
        net(photo, mask, sketch[:, :, :, :8])
    with pytest.raises(UsageError, match="photo"):
        net((photo + 1) * 127.5, mask)
    with pytest.raises(UsageError, match="even"):
        attend(torch.zeros(1, 2, 7, 8), torch.zeros(1, 1, 28, 32))
    with pytest.raises(UsageError, match="expected 1 or 3 of them"):
        attend(torch.zeros(3, 2, 8, 8), torch.zeros(2, 1, 32, 32))
    with pytest.raises(UsageError, match="multiple of 4"):
        DeepFillv2Config(6)
