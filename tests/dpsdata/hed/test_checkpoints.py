from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dpsdata.contracts import ExitCode, MissingError
from dpsdata.hed.checkpoints import expected_shapes, recognise
from dpsdata.weights.reading import UnrecognisedError

P = runpy.run_path(str(Path(__file__).with_name("public_layouts.py")))
fill = runpy.run_path(str(Path(__file__).parents[2] / "parity" / "formula_weights.py"))["fill"]
random_state: Callable[..., dict[str, np.ndarray]] = P["random_state"]

LAYOUTS: dict[str, tuple[Callable[[int], dict[str, tuple[int, ...]]], str, str]] = {
    "caffe": (P["caffe_shapes"], "caffe", "caffe"),
    "caffe with underscores": (
        lambda width: P["caffe_shapes"](width, "score_dsn", "new-score-weighting"),
        "caffe",
        "caffe",
    ),
    "xwjabc": (P["xwjabc_shapes"], "caffe", "xwjabc"),
    "sniklaus file": (P["sniklaus_shapes"], "sniklaus", "sniklaus"),
    "sniklaus network": (lambda width: P["sniklaus_shapes"](width, "net"), "sniklaus", "sniklaus"),
    "controlnet": (P["controlnet_shapes"], "controlnet", "controlnet"),
    "ours": (P["our_shapes"], "compact", "ours"),
}


def torch_state(shapes: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    return {key: torch.from_numpy(array) for key, array in random_state(shapes).items()}


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("width", [1, 6])
def test_every_layout_maps_in_order_onto_our_names(name: str, width: int) -> None:
    shapes, variant, layout = LAYOUTS[name]
    state = random_state(shapes(width))
    found = recognise(state)
    assert (found.variant, found.layout, found.width, found.role) == (variant, layout, width, "detector")
    # The layouts list their layers in the same order, so the values must come out in that order under our names.
    theirs = [array for key, array in state.items() if key != "norm"]
    ours = [found.tensors[key] for key in P["our_shapes"](width) if key in found.tensors]
    assert len(ours) == len(found.tensors) == len(theirs) == (36 if variant == "controlnet" else 38)
    for left, right in zip(theirs, ours, strict=True):
        np.testing.assert_array_equal(left, right.numpy())
    if variant == "controlnet":
        assert found.mean == tuple(state["norm"].reshape(-1).tolist())
    else:
        assert found.mean is None


def test_hand_picked_names() -> None:
    state = random_state(P["sniklaus_shapes"](2))
    found = recognise(state).tensors
    for ours, theirs in {
        "stages.0.1.weight": "moduleVggOne.2.weight",
        "stages.1.0.bias": "moduleVggTwo.1.bias",
        "stages.4.2.weight": "moduleVggFiv.5.weight",
        "sides.2.weight": "moduleScoreThr.weight",
        "fuse.weight": "moduleCombine.0.weight",
    }.items():
        np.testing.assert_array_equal(found[ours].numpy(), state[theirs])


def test_full_network_has_the_published_parameter_count() -> None:
    assert sum(int(np.prod(shape)) for shape in expected_shapes(64).values()) == 14_716_171


def test_prefix_and_nesting_of_the_xwjabc_checkpoint_come_off() -> None:
    state = random_state(P["xwjabc_shapes"](2))
    nested = {"net": {f"module.{key}": value for key, value in state.items()}, "opt": {"lr": 1}, "epoch": 39}
    found = recognise(nested)
    assert found.layout == "xwjabc"
    np.testing.assert_array_equal(found.tensors["fuse.bias"].numpy(), state["score_final.bias"])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_types_become_float32(dtype: torch.dtype) -> None:
    state = {key: value.to(dtype) for key, value in torch_state(P["controlnet_shapes"](3)).items()}
    found = recognise(state)
    assert {tensor.dtype for tensor in found.tensors.values()} == {torch.float32}
    assert torch.equal(found.tensors["sides.4.weight"], state["block5.projection.weight"].float())


def test_the_input_is_copied_and_kept() -> None:
    state = random_state(P["caffe_shapes"](2))
    found = recognise(state)
    found.tensors["fuse.bias"].zero_()
    assert len(state) == 38
    assert state["new-score-weighting.bias"][0] != 0


def test_fixed_upsampling_kernels_are_passed_over() -> None:
    state = random_state(P["caffe_shapes"](2)) | {"upsample_16.weight": np.ones((1, 1, 32, 32), np.float32)}
    assert "fuse.weight" in recognise(state).tensors


def broken(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    state: dict[str, Any] = random_state(P["caffe_shapes"](4))
    change(state)
    return state


def with_value(key: str, value: Any) -> Callable[[dict[str, Any]], object]:
    return lambda state: state.update({key: value})


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda state: state.pop("conv4_2.bias"), "without conv4_2.bias"),
        (lambda state: state.pop("conv1_1.weight"), "without conv1_1.weight"),
        (lambda state: state.pop("new-score-weighting.weight"), "without new-score-weighting.weight"),
        (with_value("conv5_1.weight", np.zeros((32, 32, 3, 1), np.float32)), "conv5_1.weight has the shape"),
        (with_value("conv1_1.weight", np.zeros((4, 1, 3, 3), np.float32)), "width, 3, 3, 3"),
        (with_value("conv1_1.weight", np.zeros((512, 3, 3, 3), np.float32)), "width, 3, 3, 3"),
        (with_value("conv1_1.weight", np.zeros((8, 3, 3, 3), np.float32)), "conv1_1.bias has the shape"),
        (with_value("conv2_1.bias", np.full(8, np.nan, np.float32)), "NaN"),
        (with_value("conv2_1.bias", np.full(8, np.inf, np.float32)), "NaN or infinity"),
        (with_value("conv2_1.bias", np.zeros(8, np.int64)), "floats"),
        (with_value("conv2_1.bias", torch.zeros(8, dtype=torch.int8)), "floats"),
        (with_value("conv2_1.bias", torch.zeros(8, device="meta")), "floats"),
        (with_value("conv2_1.bias", torch.zeros(8).to_sparse()), "floats"),
        (with_value("conv2_1.bias", "zeros"), "str"),
        (with_value("conv6_1.weight", np.zeros((1, 1, 1, 1), np.float32)), "unknown entries such as conv6_1.weight"),
    ],
)
def test_an_incomplete_or_odd_state_is_refused(change: Callable[[dict[str, Any]], object], word: str) -> None:
    with pytest.raises(MissingError, match="dps weights import FILE") as caught:
        recognise(broken(change), "hed.pth")
    assert not isinstance(caught.value, UnrecognisedError)
    assert str(caught.value).startswith("hed.pth: ")
    assert word in str(caught.value)
    assert caught.value.exit_code == ExitCode.MISSING


@pytest.mark.parametrize("state", [{}, {"embedding.style.0.weight": torch.zeros(2)}, {"net": {}}, {1: torch.zeros(1)}])
def test_another_network_is_told_apart_from_a_broken_one(state: dict[str, Any]) -> None:
    with pytest.raises(UnrecognisedError, match="not a HED network"):
        recognise(state)


def test_an_expanded_tensor_of_a_huge_shape_costs_nothing() -> None:
    state = broken(with_value("conv3_1.weight", torch.zeros(1).expand(10**9)))
    with pytest.raises(MissingError, match="shape"):
        recognise(state)
