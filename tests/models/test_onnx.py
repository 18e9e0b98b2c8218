"""The ONNX file under ONNX Runtime against PyTorch."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from dpsdata.contracts import UsageError
from dpsdata.hed import load_hed
from dpsdata.runtime.command_line import run_app
from dpsdata.sketch import dilate_sketch, smooth_sketch
from models.cli import app
from models.editing.loading import load_editing_net
from models.networks.config import find_config
from models.networks.editing_net import EditingNet, Refiner
from models.networks.initialisation import initialise_weights
from models.networks.inpainter import Inpainter
from models.weights.onnx import export_detector, export_onnx

onnx = pytest.importorskip("onnx", reason="the extra `onnx` is not installed")
pytest.importorskip("onnxscript", reason="the extra `onnx` is not installed")
runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
shared = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("tiny_weights.py"))))


def make_net(preset: Any, size: int | None = None) -> EditingNet:
    config = find_config(preset, "edit", size)
    refiner, inpainter = Refiner(config.refiner), Inpainter(config.inpainter)
    initialise_weights(refiner, 0, "refiner")
    initialise_weights(inpainter, 0, "inpainter")
    return EditingNet(refiner, inpainter).eval().half().float()


def make_inputs(net: EditingNet, count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    size, rng = net.resolution, torch.Generator().manual_seed(0)
    photo = torch.rand(count, 3, size, size, generator=rng) * 2 - 1
    sketch = (torch.rand(count, 1, size, size, generator=rng) > 0.98).float()
    mask = torch.zeros(count, 1, size, size)
    mask[:, :, size // 4 : size // 2 + 3, size // 5 : size // 2] = 1
    return photo, sketch, mask, torch.linspace(0, 1, count)


def check_equal(net: EditingNet, folder: Path, tolerance: float = 1e-4) -> None:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(str(folder / "edit.onnx"), options, providers=["CPUExecutionProvider"])
    pen = json.loads((folder / "edit.json").read_text())["pen_px"]
    for count in (1, 3):
        photo, sketch, mask, level = make_inputs(net, count)
        with torch.no_grad():
            expected = net(photo, sketch, mask, level)
        dilated = dilate_sketch(smooth_sketch(sketch), level, pen)
        values = {"photo": photo, "sketch": dilated, "mask": mask, "level": level}
        refined, painted = session.run(None, {name: value.numpy() for name, value in values.items()})
        assert np.abs(refined - expected.refined_sketch.numpy()).max() < tolerance
        assert np.abs(painted - expected.inpainter_photo.numpy()).max() < tolerance
        assert painted.std() > 1e-3


def check_file(net: EditingNet, folder: Path, kind: str) -> None:
    check_equal(net, folder)
    onnx.checker.check_model(str(folder / "edit.onnx"))
    described = json.loads((folder / "edit.json").read_text())
    assert (described["precision"], described["opset"], described["size"]) == (kind, 18, net.resolution)
    bytes_each = {"fp32": 4.5, "fp16": 2.3}[kind]
    data = (folder / "edit.onnx").read_bytes()
    assert len(data) < bytes_each * count_parameters(net) + 5e5
    assert str(Path(__file__).parents[2]).encode() not in data


@pytest.mark.slow
def test_networks_behind_a_stem_in_half_precision(tmp_path: Path) -> None:
    net = make_net("stem", 256)
    export_onnx(net, tmp_path, "fp16", {"F": "1"})
    check_file(net, tmp_path, "fp16")


@pytest.mark.slow
def test_networks_of_three_scales_by_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shared.write_tiny_weights(tmp_path / "w")
    assert run_app(app, ["export", str(tmp_path / "w"), str(tmp_path / "out"), "--onnx"]) == 0
    assert capsys.readouterr().out.startswith(f"{tmp_path}/out/edit.onnx: ")
    check_file(load_editing_net(tmp_path / "w", "edit"), tmp_path / "out", "fp32")


def count_parameters(net: EditingNet) -> int:
    return sum(value.numel() for value in net.parameters())


def test_what_cannot_be_exported_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = make_net("tiny")
    with pytest.raises(UsageError, match="fp32 or fp16"):
        export_onnx(net, tmp_path, "int8")
    (tmp_path / "edit.onnx").write_text("of another program")
    with pytest.raises(UsageError, match="another program wrote it"):
        export_onnx(net, tmp_path)
    assert run_app(app, ["export", "bundled", str(tmp_path / "o"), "--precision", "fp16"]) == 2
    assert run_app(app, ["export", str(tmp_path / "none"), str(tmp_path / "o"), "--onnx"]) == 5
    monkeypatch.setattr("models.weights.onnx.find_spec", lambda name: None)
    assert run_app(app, ["export", "bundled", str(tmp_path / "o"), "--onnx"]) == 1
    assert not (tmp_path / "o").exists()


def test_the_edge_detector_equals_torch() -> None:
    session = runtime.InferenceSession(export_detector(64), providers=["CPUExecutionProvider"])
    photos = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    (edges,) = session.run(None, {"photo": photos.transpose(0, 3, 1, 2) / np.float32(127.5) - 1})
    assert np.abs(edges[:, 0] - load_hed("hed-compact").detect(photos)).max() < 1e-4
