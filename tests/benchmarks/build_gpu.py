"""Images a second of a whole build and of HED alone, on a GPU where there is one.

Run: python tests/benchmarks/build_gpu.py [--device cuda] [--count 4000] [--size 256] [--precision bf16] [--workers 0]
Prints JSON, and exits 4 where the build reaches less than 0.8 of HED alone on a GPU.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from dpsdata import BuildConfig, build_dataset
from dpsdata.dataset.stages import batch_size
from dpsdata.hed import load_hed
from dpsdata.hed.network import detect_stream
from dpsdata.images.codec import encode_jpeg
from dpsdata.runtime.device import keyed_generator

BAR = 0.8


def measure(device: str, count: int, size: int, precision: str, edges: str, workers: int) -> dict[str, float | str]:
    """Build `count` photos of noise, and run HED over as many that lie in memory."""
    generator = keyed_generator(0, "", "build-gpu")
    photos = generator.integers(0, 256, (8, size // 8, size // 8, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
    batch = batch_size(device)
    images = np.stack([photos[number % len(photos)] for number in range(batch)])
    net = load_hed(edges, precision=precision, device=device)
    list(detect_stream(net, [images] * 2))
    started = time.perf_counter()
    list(detect_stream(net, (images for _ in range(count // batch))))
    alone = count // batch * batch / (time.perf_counter() - started)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "photos")
        source.mkdir()
        for number in range(count):
            (source / f"{number:06d}.jpg").write_bytes(
                encode_jpeg(np.roll(photos[number % len(photos)], number, 0), 95)
            )
        config = BuildConfig(
            source=source, out=Path(folder, "built"), size=size, edges=edges, precision=precision, device=device,
            workers=workers,
        )  # fmt: skip
        result = build_dataset(config)
    whole = result.count / result.seconds
    return {
        "device": device, "precision": precision, "size": size, "photos": result.count, "batch": batch,
        "hed_images_a_second": round(alone, 2), "build_images_a_second": round(whole, 2),
        "share": round(whole / alone, 3),
    }  # fmt: skip


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--count", type=int, default=4000)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--edges", default="auto")
    parser.add_argument("--workers", type=int, default=0)
    options = parser.parse_args()
    found = measure(**vars(options))
    print(json.dumps(found, indent=2))
    return 0 if options.device == "cpu" or float(found["share"]) >= BAR else 4


if __name__ == "__main__":
    sys.exit(main())
