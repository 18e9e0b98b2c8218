"""`dpsdata stats`: line density and hole ratios of a built folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from dpsdata.dataset.journal import read_journal
from dpsdata.dataset.manifest import ManifestRow, read_dataset, read_manifest
from dpsdata.dataset.shards import StoredFiles, open_files
from dpsdata.dataset.stages import SampleRecord
from dpsdata.images.codec import Source, read_mask, read_sketch
from dpsdata.images.header import open_source


def sample_statistics(folder: Path) -> pd.DataFrame:
    """One row a sample: id, split, `line_density` and `hole_FAMILY`, each a share of the pixels in [0, 1].

    Raises:
        MissingError: no built dataset there.
        BrokenImageError: a file is missing or broken; `dpsdata verify` names all of them.
    """
    rows = [row for row in read_manifest(folder) if row.status == "ok"]
    files = open_files(folder, read_dataset(folder), rows)
    table = []
    with read_journal(folder) as records:
        for row in tqdm(rows, desc="samples", unit="sample", disable=None):
            cells: dict[str, object] = {"id": row.id, "split": row.split}
            table.append(cells | sample_stats(files, row, records.get(row.id)))
    return pd.DataFrame(table)


def sample_stats(files: StoredFiles, row: ManifestRow, record: SampleRecord | None) -> dict[str, float]:
    """Line density and hole ratios of one sample, each in [0, 1].

    Args:
        files: of the dataset.
        row: of the sample.
        record: what the journal of the build tells of it; only where it knows nothing is a file decoded.

    Raises:
        BrokenImageError: a file is missing, broken or not as it was built.
    """
    known = {} if record is None else {path: digest for path, (digest, _) in record.files.items()}
    hashes = row.files()

    def stat(name: str, path: str, read: Callable[[Source], NDArray[np.uint8]]) -> float:
        if record is not None and name in record.sample_stats and known.get(path) == hashes[path]:
            open_source(files.source(path)).close()  # of a file that was changed since, the journal tells nothing
            return record.sample_stats[name]
        return float(np.mean(read(files.source(path))))

    found = {"line_density": stat("line_density", f"sketches/{row.id}.png", read_sketch)}
    for family in row.masks:
        found[f"hole_{family}"] = stat(f"hole_{family}", f"masks/{family}/{row.id}.png", read_mask)
    return found


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
