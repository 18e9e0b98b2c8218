"""SketchRefiner's four networks against arrays of the original classes, filled by formula."""

from __future__ import annotations

import copy
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

import models  # noqa: F401 (registers the files)
from dpsdata import weights
from dpsdata.contracts import MissingError, UsageError
from dpsdata.weights.importing import import_path
from dpsdata.weights.store import read_card
from models.baselines.sketchrefiner.pipeline import SketchRefiner, load_sketchrefiner
from models.methods.predictor import LoadOptions, load_method
from models.methods.registry import METHODS, default_weights

TESTS = Path(__file__).resolve().parents[2]
SHARED = TESTS.parents[1] / "shared" / "parity" / "sketchrefiner"
fill = runpy.run_path(str(TESTS / "parity" / "formula_weights.py"))["fill"]
# {part of the module: what is added to the seed of the arrays}, and what tames the formula's weights.
OFFSETS = {"registration": 1, "enhancement": 2, "encoder": 3, "painter": 4}
PREFIXES = {"registration": "rm", "enhancement": "em", "encoder": "pse", "painter": "trm"}
TOLERANCE = 1e-5  # of the largest value of an array


def filled(seed: int) -> SketchRefiner:
    with torch.device("meta"):
        net = SketchRefiner()
    state: dict[str, NDArray[Any]] = {}
    for part, offset in OFFSETS.items():
        shapes = {key: tuple(value.shape) for key, value in net.get_submodule(part).state_dict().items()}
        state |= {f"{part}.{key}": value for key, value in fill(shapes, seed + offset).items()}
    for step in (1, 2, 3):
        state[f"encoder.convt{step}.gate_conv.weight"] *= np.float32(4)
    for block in range(9):
        for norm in ("bn_l.weight", "bn_l.bias", "bn_g.weight", "bn_g.bias"):
            state[f"painter.middle.{block}.ffc2.{norm}"] *= np.float32(0.1)
    state["painter.convt4.weight"] *= np.float32(0.05)
    return load_sketchrefiner({key: value for key, value in state.items() if value.dtype == np.float32})


def load(path: Path) -> dict[str, NDArray[Any]]:
    with np.load(path) as archive:
        return dict(archive)


def inputs(arrays: dict[str, NDArray[Any]]) -> dict[str, Tensor]:
    photo = torch.from_numpy(arrays["photo_rgb"].astype(np.float32).transpose(2, 0, 1).copy())[None] / 255
    planes = {
        name: torch.from_numpy(arrays[name].astype(np.float32))[None, None] for name in ("mask", "sketch", "edges")
    }
    return {"photo": photo * 2 - 1, **planes}


def check(found: Tensor, wanted: NDArray[Any], name: str) -> None:
    assert found.shape == wanted.shape, name
    assert float((found - torch.from_numpy(wanted)).abs().max()) <= TOLERANCE * float(np.abs(wanted).max()), name


@pytest.fixture(scope="module")
def net() -> SketchRefiner:
    return filled(int(load(TESTS / "parity" / "sketchrefiner" / "modules_40x56.npz")["seed"]))


@torch.no_grad()
def test_every_network_equals_the_original(net: SketchRefiner) -> None:
    arrays = load(TESTS / "parity" / "sketchrefiner" / "modules_40x56.npz")
    inner: dict[str, Tensor] = {}
    for part, short in PREFIXES.items():
        for name, module in net.get_submodule(part).named_modules():
            if f"{short}.{name}" in arrays:
                module.register_forward_hook(lambda _, __, out, key=f"{short}.{name}": inner.update({key: out}))
    given = inputs(arrays)
    mask, lines = given["mask"], given["sketch"] * given["mask"] + given["edges"] * (1 - given["mask"])
    bgr = (given["photo"].flip(1) + 1) / 2 * (1 - mask)
    check(net.registration(torch.cat([bgr + mask, mask, lines], 1))[0, 0], arrays["rm_out"], "rm_out")
    check(net.enhancement(lines)[0, 0], arrays["em_out"], "em_out")
    maps = net.encoder(lines.expand(-1, 3, -1, -1))
    for number, found in enumerate(maps):
        check(found[0, :: max(1, found.shape[1] // 4)], arrays[f"pse_{number}"], f"pse_{number}")
    check(net.painter(torch.cat([bgr, mask], 1), maps)[0], arrays["predicted_bgr"], "predicted_bgr")
    assert len(inner) == sum("." in name for name in arrays)
    for name, found in inner.items():
        check(found[0, :: max(1, found.shape[1] // 4)], arrays[name], name)


@torch.no_grad()
@pytest.mark.parametrize("name", ["rectangle", "freeform"])
def test_the_pipeline_equals_the_original(net: SketchRefiner, name: str) -> None:
    path = SHARED / f"pipeline_{name}.npz"
    if not path.is_file():
        pytest.skip(f"the shared array {path.name} is not on this machine")
    arrays = load(path)
    assert int(arrays["seed"]) == int(load(TESTS / "parity" / "sketchrefiner" / "modules_40x56.npz")["seed"])
    # In float64, since the kernels of a CPU without AVX-512 round by more than the tolerance.
    given = {key: plane.double() for key, plane in inputs(arrays).items()}
    out = copy.deepcopy(net).double()(**given)
    check(out["registered"][0, 0, ::2, ::2], arrays["rm_out"], "rm_out")
    # A map of so many pixels may put some at its threshold on the other side; the next stage then sees other lines.
    placed = (out["registered"] > out["registered"].mean()).double() * given["mask"] + given["edges"] * (
        1 - given["mask"]
    )
    assert int((placed[0, 0].numpy() != arrays["em_in"]).sum()) <= int(arrays["rm_near_threshold"])
    if (placed[0, 0].numpy() == arrays["em_in"]).all():
        check(out["enhanced"][0, 0, ::2, ::2], arrays["em_out"], "em_out")
        np.testing.assert_array_equal(out["refined_sketch"][0, 0].numpy(), arrays["refined_sketch"])
        check((out["raw"].flip(1) + 1)[0, :, ::2, ::2] / 2, arrays["predicted_bgr"], "predicted_bgr")
        painted = ((out["composite"][0, :, ::2, ::2] + 1) / 2 * 255).permute(1, 2, 0).numpy()
        assert np.abs(painted - arrays["composite_rgb_u8"] - 0.5).max() < 0.5 + 0.01  # theirs is cut off, not rounded


@torch.no_grad()
def test_the_hole_of_the_photo_and_lines_of_the_other_side_do_not_count(net: SketchRefiner) -> None:
    given = inputs(load(TESTS / "parity" / "sketchrefiner" / "modules_40x56.npz"))
    mask = given["mask"]
    out = net(**given)
    other = {
        "photo": torch.where(mask > 0, torch.zeros(()), given["photo"]),
        "sketch": given["sketch"] * mask,
        "edges": given["edges"] * (1 - mask) + (1 - given["edges"]) * mask,
    }
    assert torch.equal(net(**(given | other))["raw"], out["raw"])
    assert torch.equal(out["composite"] * (1 - mask), given["photo"] * (1 - mask))
    both = {name: torch.cat([plane, plane.flip(3)]) for name, plane in given.items()}
    torch.testing.assert_close(net(**both)["raw"][:1], out["raw"], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("size", "told"), [((44, 56), "multiples of 8"), ((16, 24), "at least 24 px")])
def test_sizes_that_it_cannot_take_are_told(net: SketchRefiner, size: tuple[int, int], told: str) -> None:
    plane = torch.zeros(1, 1, *size)
    with pytest.raises(UsageError, match=told):
        net(torch.zeros(1, 3, *size), plane, plane, plane)


def parts_of(net: SketchRefiner, *parts: str) -> list[dict[str, Tensor]]:
    return [dict(net.get_submodule(part).state_dict()) for part in parts]


def write_official(net: SketchRefiner, folder: Path) -> None:
    """The three files as their authors write them, with what optimisers leave beside the networks."""
    folder.mkdir()
    registration, enhancement, encoder, painter = parts_of(net, *OFFSETS)
    torch.save({"iteration": 7, "model": "RM", "parameters": registration}, folder / "registrator.pth")
    torch.save({f"module.{key}": value for key, value in enhancement.items()}, folder / "connector.pth")
    whole = {"iteration": 7, "optimizer": {"state": {}}, "str_opt": {}, "str_encoder": encoder, "generator": painter}
    torch.save(whole, folder / "celebahq.pth")


@torch.no_grad()
def test_official_files_are_imported_and_run_as_a_method(
    net: SketchRefiner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DPS_HOME", str(tmp_path / "home"))
    method = METHODS["sketchrefiner"]
    assert default_weights(method) == "bundled"
    with pytest.raises(MissingError, match=r"sketchrefiner: no .*registrator\.pth, connector\.pth and celebahq\.pth"):
        load_method("sketchrefiner")
    write_official(net, tmp_path / "files")
    import_path(tmp_path / "files" / "celebahq.pth")
    with pytest.raises(
        MissingError, match="installed, but not sketchrefiner-registration and sketchrefiner-enhancement"
    ):
        load_method("sketchrefiner", LoadOptions("official"))
    report = import_path(tmp_path / "files")
    assert sorted(item.name for item in report.installed) == [
        "sketchrefiner-celebahq", "sketchrefiner-enhancement", "sketchrefiner-registration"
    ]  # fmt: skip
    assert (read_card("sketchrefiner-celebahq") or {})["parts"] == ["encoder", "painter"]
    assert default_weights(method) == "official"
    predictor = load_method("sketchrefiner")
    for key, value in net.state_dict().items():
        assert torch.equal(predictor.net.state_dict()[key], value) or not value.is_floating_point(), key  # type: ignore[attr-defined]
    assert predictor.provenance.parameter_count == 1_818_804 + 6_087_681 + 22_577_284 + 33_244_227
    photo = torch.nn.functional.interpolate(torch.rand(1, 3, 8, 8) * 2 - 1, 64, mode="bilinear")
    sketch, mask = torch.zeros(2, 1, 1, 64, 64)
    mask[..., 20:50, 10:40] = 1
    sketch[..., 30, 12:38] = 1
    other = torch.where(mask > 0, -photo, photo)  # what lies in the hole does not count
    painted = predictor.predict(photo, sketch, mask, ["a"], None).photo
    assert painted.shape == photo.shape
    assert torch.equal(predictor.predict(other, sketch, mask, ["a"], None).photo, painted)
    assert not torch.equal(predictor.predict(photo, 0 * sketch, mask, ["a"], None).photo, painted)


def test_files_that_are_damaged_are_told(net: SketchRefiner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DPS_HOME", str(tmp_path / "home"))
    (registration,) = parts_of(net, "registration")
    path = tmp_path / "registrator.pth"
    for change, told in (
        ({"conv_2.conv2d.bias": None}, "lacks registration.conv_2.conv2d.bias"),
        ({"conv_2.conv2d.bias": torch.zeros(3)}, "has another shape than the published one"),
        ({"conv_2.conv2d.bias": torch.full((64,), torch.nan)}, "holds NaN or infinity"),
        ({"more": torch.zeros(1)}, "besides what is known, registration.more"),
    ):
        state = {key: value for key, value in {**registration, **change}.items() if value is not None}
        torch.save({"parameters": state}, path)
        with pytest.raises(MissingError, match=told):
            import_path(path)
    assert not weights.installed("sketchrefiner-registration")
