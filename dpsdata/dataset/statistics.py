"""`dpsdata stats`: line density and hole ratios of a built folder, read from its files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from dpsdata.dataset.manifest import read_dataset, read_manifest
from dpsdata.dataset.shards import open_files
from dpsdata.images.codec import read_mask, read_sketch


def sample_statistics(folder: Path) -> pd.DataFrame:
    """One row a sample: id, split, `line_density` and `hole_FAMILY`, each a share of the pixels in [0, 1].

    Raises:
        MissingError: no built dataset there.
        BrokenImageError: a file is missing or broken; `dpsdata verify` names all of them.
    """
    rows = [row for row in read_manifest(folder) if row.status == "ok"]
    files = open_files(folder, read_dataset(folder), rows)
    table = []
    for row in tqdm(rows, desc="samples", unit="sample", disable=None):
        name = f"{row.id}.png"
        cells: dict[str, object] = {"id": row.id, "split": row.split}
        cells["line_density"] = float(np.mean(read_sketch(files.source(f"sketches/{name}"))))
        for family in row.masks:
            cells[f"hole_{family}"] = float(np.mean(read_mask(files.source(f"masks/{family}/{name}"))))
        table.append(cells)
    return pd.DataFrame(table)


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """Mean, spread and quantiles of every measured column, in percent, for each split and for all."""
    columns = [name for name in table.columns if name not in ("id", "split")]
    parts = []
    for split, rows in [("all", table), *table.groupby("split")]:
        for column in columns:
            values = rows[column].to_numpy() * 100
            low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
            parts.append(
                {
                    "split": split,
                    "what": column,
                    "count": len(values),
                    "mean_percent": values.mean(),
                    "q05": low,
                    "median": middle,
                    "q95": high,
                }
            )
    return pd.DataFrame(parts)
