"""Five levels of one 256 px photo at full width: the editor against the plain form of the networks, in one run.

python tests/benchmarks/edit_speed.py [--out FILE] [--device cuda] [--size published|lite] [--runs N]

The plain form is fp32, NCHW, nearest-neighbour upsampling and a 3x3 convolution, BatchNorm as it is, one level after
the other. On a GPU also a folder of photos (batches, bf16), training steps per second and the peak of a matrix product.
Writes reports/benchmarks/edit_speed.json; exit code 4 below a bar.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch.nn import functional as F

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from dpsdata.runtime.device import has_fast_bf16  # noqa: E402
from models.editing.editor import Editor  # noqa: E402
from models.networks import layers  # noqa: E402
from models.networks.config import find_config  # noqa: E402
from models.networks.editing_net import EditingNet, Refiner  # noqa: E402
from models.networks.inference import float64_linears, fold_batch_norm, merge_up_convolutions  # noqa: E402
from models.networks.initialisation import initialise_weights  # noqa: E402
from models.networks.inpainter import Inpainter  # noqa: E402

BARS = {"fp32_speedup": 1.3, "bf16_speedup": 2.0, "grey_levels": 1.0, "gpu_folder_speedup": 8.0}
LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)
SIZE = 256


def make_net(preset: str) -> EditingNet:
    config = find_config(preset, "edit", SIZE)
    refiner, inpainter = Refiner(config.refiner), Inpainter(config.inpainter)
    initialise_weights(refiner, 0, "refiner")
    initialise_weights(inpainter, 0, "inpainter")
    net = EditingNet(refiner, inpainter)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # a plain mean over what it sees, so that no activation saturates
    with torch.no_grad():
        net.train()(*make_inputs(2), 0.5)
    return net.eval()


def make_inputs(count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    keyed = torch.Generator().manual_seed(1)
    photo = torch.rand(count, 3, SIZE, SIZE, generator=keyed) * 2 - 1
    sketch = (torch.rand(count, 1, SIZE, SIZE, generator=keyed) > 0.97).float()
    mask = torch.zeros(count, 1, SIZE, SIZE)
    mask[..., 64:192, 70:180] = 1
    return photo, sketch, mask


@contextmanager
def plain_upsampling() -> Iterator[None]:
    def forward(conv: layers.UpConv, x: torch.Tensor) -> torch.Tensor:
        doubled = F.pad(F.interpolate(x, scale_factor=2.0, mode="nearest"), (1, 1, 1, 1), mode="reflect")
        return F.conv2d(doubled, conv.weight, conv.bias)

    kept, layers.UpConv.forward = layers.UpConv.forward, forward  # type: ignore[method-assign]
    try:
        yield
    finally:
        layers.UpConv.forward = kept  # type: ignore[method-assign]


def make_editor(net: EditingNet, device: str, precision: str, compiled: bool = False) -> Editor:
    ready = copy.deepcopy(net)
    fold_batch_norm(ready.inpainter)
    merge_up_convolutions(ready)
    float64_linears(ready)
    return Editor(ready, device, precision, compiled)


def seconds(work: Callable[[], object], runs: int, device: str) -> float:
    """Median: of the processor time on a CPU, which other processes perturb least, else of the wall time."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    times = []
    for index in range(runs + 1):
        start = clock()
        work()
        if device != "cpu":
            torch.cuda.synchronize()
        if index:  # the first one warms up
            times.append(clock() - start)
    return float(np.median(times))


def measure_one_photo(net: EditingNet, device: str, runs: int) -> dict[str, float]:
    photo, sketch, mask = (tensor.to(device) for tensor in make_inputs(1))
    plain_net = copy.deepcopy(net).to(device)

    @torch.no_grad()
    def plain() -> torch.Tensor:
        with plain_upsampling():
            return torch.cat([plain_net(photo, sketch, mask, level).inpainter_photo for level in LEVELS])

    result = {"plain_seconds": seconds(plain, runs, device)}
    expected = plain()
    levels = torch.tensor(LEVELS, device=device)
    forms = ["fp32"] + (["bf16"] if device != "cpu" or has_fast_bf16() else [])
    for precision in forms:
        editor = make_editor(net, device, precision)
        result[f"{precision}_seconds"] = seconds(lambda e=editor: e.forward(photo, sketch, mask, levels), runs, device)
        found = editor.forward(photo, sketch, mask, levels).inpainter_photo
        result[f"{precision}_grey_levels"] = float((found - expected).abs().mean()) * 127.5
        result[f"{precision}_speedup"] = result["plain_seconds"] / result[f"{precision}_seconds"]
    return {key: round(value, 6) for key, value in result.items()}


def measure_folder(net: EditingNet, device: str, count: int = 64, batch: int = 32) -> dict[str, float]:
    photo, sketch, mask = (tensor.to(device) for tensor in make_inputs(count))
    plain_net = copy.deepcopy(net).to(device)

    @torch.no_grad()
    def plain() -> None:
        with plain_upsampling():
            for index in range(count):
                one = slice(index, index + 1)
                for level in LEVELS:
                    plain_net(photo[one], sketch[one], mask[one], level)

    result = {"plain_photos_per_second": count / seconds(plain, 1, device)}
    for name, compiled in (("bf16", False), ("bf16_compiled", True)):
        editor = make_editor(net, device, "bf16", compiled)

        def batches(editor: Editor = editor) -> None:
            for start in range(0, count, batch):
                part = slice(start, start + batch)
                for level in LEVELS:
                    editor.forward(photo[part], sketch[part], mask[part], level)

        result[f"{name}_photos_per_second"] = count / seconds(batches, 3, device)
        result[f"{name}_speedup"] = result[f"{name}_photos_per_second"] / result["plain_photos_per_second"]
    a = torch.randn(8192, 8192, device=device, dtype=torch.bfloat16)
    result["matmul_tflops"] = 2 * 8192**3 / seconds(lambda: a @ a, 10, device) / 1e12
    return {key: round(value, 4) for key, value in result.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "reports" / "benchmarks" / "edit_speed.json")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--size", default="published", choices=("published", "lite"))
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    net = make_net(options.size)
    report = {
        "bars": BARS,
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "device": options.device,
        "bf16_in_hardware": has_fast_bf16(),
        "load_average": os.getloadavg(),
        "size": options.size,
        "five_levels_of_one_photo": measure_one_photo(net, options.device, options.runs),
    }
    if options.device != "cpu":
        report["folder"] = measure_folder(net, options.device)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))
    one = report["five_levels_of_one_photo"]
    fast_enough = one["fp32_speedup"] >= BARS["fp32_speedup"] and one.get("bf16_speedup", 9.0) >= BARS["bf16_speedup"]
    close = all(one[key] < BARS["grey_levels"] for key in one if key.endswith("grey_levels"))
    return 0 if fast_enough and close else 4


if __name__ == "__main__":
    sys.exit(main())
