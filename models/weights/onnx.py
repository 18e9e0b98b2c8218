"""G and F as one ONNX file, for runtimes without PyTorch.

Inputs: photo (N, 3, S, S) RGB in [-1, 1]; sketch (N, 1, S, S) in [0, 1], line = 1, smoothed and dilated for the level;
mask (N, 1, S, S) in {0, 1}, hole = 1; level (N,) in [0, 1]. Outputs: refined_sketch (N, 1, S, S) in [0, 1], line = 1, 0
outside of the hole; painted (N, 3, S, S) RGB in [-1, 1], not composited. The contract's signs, all float32.
"""

from __future__ import annotations

import contextlib
import io
import json
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import dpsdata
from dpsdata.contracts import EnvironmentFailure, UsageError
from dpsdata.hed import HED, load_hed
from dpsdata.runtime.files import write_bytes_atomic, write_text_atomic
from models.networks.editing_net import EditingNet
from models.networks.published_signs import network_input, refiner_inputs, split_output

ONNX_FILE, DESCRIPTION_FILE = "edit.onnx", "edit.json"
INPUTS, OUTPUTS = ("photo", "sketch", "mask", "level"), ("refined_sketch", "painted")
OPSET = 18
PRECISIONS = ("fp32", "fp16")


class _DilatedNet(nn.Module):
    """G and F from a sketch that is dilated already, without checks of values, which a graph cannot hold."""

    def __init__(self, net: EditingNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, photo: Tensor, sketch: Tensor, mask: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        refiner = self.net.refiner
        inputs = refiner_inputs(sketch, photo, mask, refiner.config.resolutions)
        refined, _ = split_output(refiner(inputs, level).outputs[self.net.resolution], mask)
        return refined, self.net.inpainter(network_input(refined, photo, mask))


def export_onnx(net: EditingNet, out: Path, precision: str = "fp32", weights: Mapping[str, str] | None = None) -> int:
    """Write `edit.onnx` and `edit.json`, which says size, pen, opset and precision.

    Args:
        net: as `load_editing_net` gives it, of editing.
        out: folder to write.
        precision: `fp16` stores the parameters in half precision and computes in float32: half the size, and the same
            results for weights that come in half precision, as those of `dps export` do.
        weights: SHA-256 by network, for `edit.json`.

    Returns:
        Bytes of `edit.onnx`.

    Raises:
        UsageError: no such precision, the networks are of synthesis, or a file of another program would be replaced.
        EnvironmentFailure: the extra `onnx` is not installed, or the folder cannot be written.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"precision: an export is fp32 or fp16, got {precision!r}")
    if net.task != "edit":
        raise UsageError("--onnx exports editing networks, and these are for synthesis")
    missing = [name for name in ("onnx", "onnxscript") if find_spec(name) is None]
    if missing:
        raise EnvironmentFailure(
            f"--onnx needs {' and '.join(missing)}; run `pip install 'deep-plastic-surgery[onnx]'`"
        )
    if (out / ONNX_FILE).exists() and not (out / DESCRIPTION_FILE).exists():
        raise UsageError(
            f"{out}: its {ONNX_FILE} has no {DESCRIPTION_FILE}, so another program wrote it; name a new folder"
        )
    model = _trace_edit(net)
    if precision == "fp16":
        _halve(model, {f"net.{name}" for name, _ in net.named_parameters()})
    size = net.resolution
    described = {
        "schema_version": 1,
        "version": dpsdata.__version__,
        "opset": OPSET,
        "precision": precision,
        "size": size,
        "pen_px": net.refiner.config.pen_px(size),
        "inputs": list(INPUTS),
        "outputs": list(OUTPUTS),
        "weights": dict(weights or {}),
    }
    data: bytes = model.SerializeToString()
    out.mkdir(parents=True, exist_ok=True)
    write_bytes_atomic(out / ONNX_FILE, data)
    write_text_atomic(out / DESCRIPTION_FILE, json.dumps(described, indent=2, sort_keys=True) + "\n")
    return len(data)


class _Detector(nn.Module):
    """Edges of photos in [-1, 1]."""

    def __init__(self, net: HED) -> None:
        super().__init__()
        self.net = net

    def forward(self, photo: Tensor) -> Tensor:
        return torch.sigmoid(self.net((photo + 1) * 127.5).fused)


def export_detector(size: int) -> bytes:
    """The bundled edge detector as ONNX: photo (N, 3, S, S) RGB in [-1, 1] to edges (N, 1, S, S) in [0, 1].

    Args:
        size: S, px.
    """
    model = _trace(_Detector(load_hed("hed-compact")), (torch.zeros(2, 3, size, size),), ("photo",), ("edges",))
    data: bytes = model.SerializeToString()
    return data


def _trace_edit(net: EditingNet) -> Any:
    size = net.resolution
    mask = torch.zeros(2, 1, size, size)
    mask[..., size // 4 : size // 2, size // 4 : size // 2] = 1
    example = (torch.zeros(2, 3, size, size), torch.zeros(2, 1, size, size), mask, torch.tensor([0.25, 0.75]))
    return _trace(_DilatedNet(net), example, INPUTS, OUTPUTS)


def _trace(net: nn.Module, example: tuple[Tensor, ...], inputs: tuple[str, ...], outputs: tuple[str, ...]) -> Any:
    net = net.eval()
    count = torch.export.Dim("N", min=1, max=4096)
    with torch.no_grad(), warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        net(*example)  # fills caches, which must not hold tensors of the tracer
        program = torch.onnx.export(
            net,
            example,
            dynamo=True,
            optimize=False,  # its constants would be merged kernels, which half precision rounds
            opset_version=OPSET,
            input_names=inputs,
            output_names=outputs,
            dynamic_shapes=tuple({0: count} for _ in example),
        )
    assert program is not None  # noqa: S101 (for the type checker)
    model = program.model_proto
    for node in model.graph.node:  # names of this machine's files
        del node.metadata_props[:]
    return model


def _halve(model: Any, names: set[str]) -> None:
    """Store the named initializers as float16, each cast to float32 at the start, which a runtime folds at load."""
    import onnx

    casts = []
    for item in model.graph.initializer:
        if item.name not in names or item.data_type != onnx.TensorProto.FLOAT:
            continue
        half = onnx.numpy_helper.to_array(item).astype("float16")
        name = item.name
        item.CopyFrom(onnx.numpy_helper.from_array(half, f"{name}.half"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}.half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
