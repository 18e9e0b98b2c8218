"""`dpsdata preview`: one self-contained page that shows a built folder."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from dpsdata.contracts import DEFAULT_LEVELS, MissingError, UsageError
from dpsdata.dataset.manifest import ManifestRow, read_dataset, read_manifest
from dpsdata.dataset.shards import StoredFiles, open_files
from dpsdata.dataset.statistics import sample_statistics, summarise
from dpsdata.images.codec import encode_jpeg, encode_png, read_edges, read_mask, read_photo, read_sketch, write_photo
from dpsdata.runtime.device import keyed_generator
from dpsdata.runtime.files import write_text_atomic
from dpsdata.sketch import dilate_sketch_array, smooth_sketch

_BIN_COUNT = 24


def write_preview(folder: Path, count: int = 24) -> Path:
    """Write `preview.html` into a built folder: photo, edges, sketch, five levels, masks, counts and plots.

    Args:
        folder: a built folder.
        count: samples to show, spread over the dataset by a draw that is always the same.

    Returns:
        Path of the page; it needs no other file and no network.

    Raises:
        MissingError: no built dataset there.
        BrokenImageError: a file is missing or broken.
    """
    if count < 1:
        raise UsageError(f"count: expected at least 1 sample to show, got {count}")
    description = read_dataset(folder)
    rows = read_manifest(folder)
    good = [row for row in rows if row.status == "ok"]
    chosen = sorted(keyed_generator(0, "", "preview").permutation(len(good))[:count].tolist())
    table = sample_statistics(folder) if good else pd.DataFrame()
    files = open_files(folder, description, rows)
    stages = {stage["name"]: stage for stage in description["stages"]}
    template = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        resources.files("dpsdata.dataset").joinpath("preview.html").read_text(encoding="utf-8")
    )
    page = template.render(
        name=folder.resolve().name,
        dataset=description,
        edges=stages["edges"],
        splits={name: about["count"] for name, about in description["splits"].items()},
        failed=[row for row in rows if row.status != "ok"],
        levels=[f"{level:g}" for level in DEFAULT_LEVELS],
        families=sorted(good[0].masks) if good else [],
        samples=[_cells(files, good[index]) for index in chosen],
        plots=_plots(table) if good else [],
        summary=summarise(table).round(2).to_dict("records") if good else [],
    )
    path = folder / "preview.html"
    write_text_atomic(path, page)
    return path


def write_sheet(folder: Path, path: Path, count: int = 6) -> Path:
    """Write a contact sheet: one row a sample with its photo, edges, sketch, three levels and cut photos.

    Args:
        folder: a built folder.
        path: `.png` or `.jpg` file to write.
        count: rows, from the start of the dataset.
    """
    rows = [row for row in read_manifest(folder) if row.status == "ok"][:count]
    if not rows:
        raise MissingError(f"{folder}: no samples to show; look at errors.csv")
    files = open_files(folder)
    lines = []
    for row in rows:
        name = f"{row.id}.png"
        photo, edges = read_photo(files.source(f"images/{name}")), read_edges(files.source(f"edges/{name}"))
        sketch = read_sketch(files.source(f"sketches/{name}"))
        grey = [255 - (edges >> 8).astype(np.uint8), 255 - 255 * sketch, *_drawn(sketch, (0.0, 0.5, 1.0))]
        masks = [read_mask(files.source(f"masks/{family}/{name}")) for family in sorted(row.masks)]
        cells = [photo, *(np.repeat(map_[..., None], 3, axis=2) for map_ in grey), *(_cut(photo, m) for m in masks)]
        lines.append(np.concatenate([np.pad(cell, ((3, 3), (3, 3), (0, 0)), constant_values=255) for cell in cells], 1))
    write_photo(path, np.concatenate(lines))
    return path


def _drawn(sketch: NDArray[np.uint8], levels: Sequence[float]) -> list[NDArray[np.uint8]]:
    """The smoothed and dilated sketch at each level, black on white."""
    smooth = smooth_sketch(torch.from_numpy(sketch.astype(np.float32))[None, None]).numpy()[0, 0]
    return [255 - np.rint(255 * ink).astype(np.uint8) for ink in dilate_sketch_array(smooth, levels)]


def _cells(files: StoredFiles, row: ManifestRow) -> dict[str, Any]:
    name = f"{row.id}.png"
    photo = read_photo(files.source(f"images/{name}"))
    edges = read_edges(files.source(f"edges/{name}"))
    sketch = read_sketch(files.source(f"sketches/{name}"))
    return {
        "id": row.id,
        "split": row.split,
        "photo": _jpeg(photo),
        "edges": _png(255 - (edges >> 8).astype(np.uint8)),
        "sketch": _png(255 - 255 * sketch),
        "levels": [_png(drawn) for drawn in _drawn(sketch, DEFAULT_LEVELS)],
        "masks": [
            _jpeg(_cut(photo, read_mask(files.source(f"masks/{family}/{name}")))) for family in sorted(row.masks)
        ],
    }


def _cut(photo: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.where(mask[..., None] == 1, np.uint8(255), photo)


def _jpeg(pixels: NDArray[np.uint8]) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(encode_jpeg(pixels)).decode()


def _png(pixels: NDArray[np.uint8]) -> str:
    return "data:image/png;base64," + base64.b64encode(encode_png(pixels)).decode()


def _plots(table: pd.DataFrame) -> list[dict[str, Any]]:
    plots = [_histogram(table, ["line_density"], "Line density of the thin sketches", "line pixels, % of the photo")]
    holes = [name for name in table.columns if name.startswith("hole_")]
    if holes:
        plots.append(_histogram(table, holes, "Hole ratio of the masks", "hole, % of the photo"))
    return plots


def _histogram(table: pd.DataFrame, columns: list[str], title: str, label: str) -> dict[str, Any]:
    """Outlines of the histograms, in a box of 100 by 100 with y down, for the page to draw."""
    values = {name.removeprefix("hole_"): table[name].to_numpy() * 100 for name in columns}
    edges = np.histogram_bin_edges(np.concatenate(list(values.values())), bins=_BIN_COUNT)
    counts = {name: np.histogram(column, edges)[0] for name, column in values.items()}
    highest = max(int(found.max()) for found in counts.values())
    outlines = [
        {
            "name": f"{name}, mean {values[name].mean():.1f} %",
            "path": "".join(f"V{100 - 100 * count / highest:.1f}h{100 / _BIN_COUNT:.4f}" for count in found),
        }
        for name, found in counts.items()
    ]
    ends = (f"{edges[0]:.1f}", f"{edges[-1]:.1f}")
    return {"title": title, "label": label, "ends": ends, "highest": highest, "outlines": outlines}
