"""Root hashes of a small source made by formulas, as 0.1.0 (commit 3e2235a) wrote them: clean datasets stay.

A change of these values is a change of everybody's datasets: it needs a new version of the stage that changed.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from dpsdata import BuildConfig, build_dataset
from dpsdata.hed import HED
from dpsdata.images.codec import read_edges

MASKS = ("dps", "deepfillv2", "deepfillv2-brush", "scfegan", "lama-thin", "lama-medium", "lama-thick",
         "pconv-01-10", "pconv-30-40", "pconv-50-60", "center", "full")  # fmt: skip
SPLITS = {"train": range(4), "val": range(4, 6), "test": range(6, 8)}

EXACT_ROOT = "2f167e48ff415efdc266a8f2d812f199a79493c0e132d88b8dc5f0ebf396b023"
COMPACT_WITHOUT_EDGES = "b29e19e8fdd25c099fd49b3376344fff84c83305b6c61ad4014de32fb0bb21a5"
# Means of 65535. MKL sums the side maps of HED in an order that depends on the maker and the kind of the CPU, so that
# a few pixels in a thousand differ by 1 from machine to machine, and with them the hash of an edge map.
COMPACT_EDGES = (23184.116, 22001.573, 24565.223, 25272.367, 25045.488, 23743.145, 24816.227, 23575.958)


def picture(number: int) -> np.ndarray:
    """A photo-like picture (H, W, 3): shading, discs and stripes in colours."""
    height, width = 90 + 13 * number, 120 + 7 * (number % 3)
    rows, columns = np.mgrid[0:height, 0:width]
    pixels = np.stack([60 + rows, 200 - columns, 90 + (rows * columns) // 97 % 80], axis=2)
    for disc in range(4):
        y, x, radius = 20 + 17 * disc, 25 + (31 * disc + 11 * number) % 90, 7 + 3 * disc
        pixels[(rows - y) ** 2 + (columns - x) ** 2 < radius**2] = (40 * disc, 250 - 50 * disc, 30 + 20 * number)
    pixels[(rows + 2 * columns + 5 * number) % 61 < 4] += 50
    photo: np.ndarray = np.clip(pixels, 0, 255).astype(np.uint8)
    return photo


def stored_png(pixels: np.ndarray) -> bytes:
    """A PNG that no version of zlib writes in another way: its pixels are not compressed."""
    rows = np.ascontiguousarray(pixels.reshape(pixels.shape[0], -1))
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    blocks = [raw[start : start + 65535] for start in range(0, len(raw), 65535)]
    body = b"x\x01" + b"".join(
        struct.pack("<BHH", block is blocks[-1], len(block), 65535 - len(block)) + block for block in blocks
    )
    head = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8, 2 if pixels.ndim == 3 else 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", body + struct.pack(">I", zlib.adler32(raw))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def write_source(folder: Path) -> None:
    for split, numbers in SPLITS.items():
        (folder / split).mkdir(parents=True)
        for number in numbers:
            pixels = picture(number)
            if number % 4 == 3:
                data, suffix = bytes(cv2.imencode(".jpg", pixels[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, 90))[1]), "jpg"
            else:
                data, suffix = stored_png(pixels[..., 0] if number % 4 == 2 else pixels), "png"
            (folder / split / f"{number:05d}.{suffix}").write_bytes(data)


def exact_edges(net: HED, images: np.ndarray) -> np.ndarray:
    """In the place of HED: differences of neighbours, the same on every CPU."""
    grey = images.astype(np.int64).sum(3)
    found = np.zeros(grey.shape, np.int64)
    found[:, 1:-1, 1:-1] = abs(grey[:, 2:, 1:-1] - grey[:, :-2, 1:-1]) + abs(grey[:, 1:-1, 2:] - grey[:, 1:-1, :-2])
    edges: np.ndarray = (np.minimum(found * 97, 65535) / np.float64(65535)).astype(np.float32)
    return edges


def build(out: Path, size: int) -> tuple[str, list[dict[str, str]]]:
    """Root hash and manifest of the fixture."""
    write_source(out / "source")
    config = BuildConfig(
        source=out / "source", out=out / "built", size=size, edges="hed-compact", masks=MASKS, levels=(0.0, 0.37, 1.0),
        workers=1,
    )  # fmt: skip
    build_dataset(config)
    data = (out / "built" / "manifest.csv").read_bytes()
    header, *lines = data.decode().splitlines()
    rows = [dict(zip(header.split(","), line.split(","), strict=True)) for line in lines]
    return hashlib.sha256(data).hexdigest(), rows


def digest(rows: list[dict[str, str]], *columns: str) -> str:
    return hashlib.sha256("\n".join(row[column] for row in rows for column in columns).encode()).hexdigest()


def test_the_root_hash_is_that_of_0_1_0(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HED, "detect", exact_edges)
    root, rows = build(tmp_path, 128)
    assert len(rows) == 8
    assert root == EXACT_ROOT


def test_the_bundled_hed_gives_the_files_of_0_1_0(tmp_path: Path) -> None:
    _, rows = build(tmp_path, 64)
    columns = [column for column in rows[0] if column != "edges_sha256"]
    assert digest(rows, *columns) == COMPACT_WITHOUT_EDGES
    means = [read_edges(tmp_path / "built" / "edges" / f"{row['id']}.png").mean() for row in rows]
    assert means == pytest.approx(COMPACT_EDGES, abs=0.05)
