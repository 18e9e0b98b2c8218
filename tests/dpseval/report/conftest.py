"""A made report: three methods, five levels, forty photos, with known directions and hostile names."""

from __future__ import annotations

import itertools
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dpseval.metrics.names import METRICS
from dpseval.report.gallery import GalleryItem, Panel, error_map, save_gallery
from dpseval.report.page import draw_report
from dpseval.statistics.summary import COMPARISON_COLUMNS, SCORE_COLUMNS

LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)
HOSTILE_ID = '<script>alert("id")</script>'
HOSTILE_METHOD = "gated_conv & <b>co</b>"
COMMAND = "dps weights get inception-fid"


def image_table(ids: list[str], levels: tuple[float, ...] = LEVELS) -> pd.DataFrame:
    """Per-image values: `dps` and `dps-g` go from faithful to real over the level; the third has no level."""
    generator = np.random.default_rng(4)
    rows: list[dict[str, Any]] = []
    sets = [(method, level) for method in ("dps", "dps-g") for level in levels] + [(HOSTILE_METHOD, math.nan)]
    quality = generator.normal(0, 1, len(ids))
    ratios = generator.uniform(0.03, 0.62, len(ids))
    for method, level in sets:
        shift = {"dps": 0.0, "dps-g": -1.4}.get(method, -0.7)
        real = shift + (0.5 if math.isnan(level) else level)
        faithful = 0.55 if math.isnan(level) else 0.86 - 0.35 * level
        for index, name in enumerate(ids):
            noise = generator.normal(0, 0.3, 6)
            for region in ("full", "hole", "ring"):
                base = 28 + 2 * quality[index] + 1.2 * real + noise[0] - (6 if region == "hole" else 0)
                row = {"id": name, "method": method, "level": level, "region": region, "hole_ratio": ratios[index]}
                row |= {
                    "psnr": math.inf if region == "ring" else base,
                    "ssim": 0.9 + 0.02 * math.tanh(real + quality[index] + noise[1]),
                    "l1": 0.0 if region == "ring" else 0.02 * math.exp(-0.2 * (real + quality[index] + noise[2])),
                    "lpips_alex": math.nan,
                    "hedps": 0.12 * math.exp(-0.25 * (real + quality[index]) + 0.2 * noise[3]),
                    "known_drift": abs(noise[4]) / 200 if region == "full" else math.nan,
                    "edge_f_drawn": math.nan,
                    "edge_f_refined": math.nan,
                    "chamfer_px": math.nan,
                    "edge_density": math.nan,
                }
                if region == "hole" and index != 3:
                    row["edge_f_drawn"] = float(np.clip(faithful + 0.2 * noise[5], 0, 1))
                    row["chamfer_px"] = 1 + 6 * (1 - faithful) + abs(noise[5])
                    row["edge_density"] = 0.06 + 0.01 * noise[4]
                    if not math.isnan(level):
                        row["edge_f_refined"] = float(np.clip(0.8 + 0.1 * noise[1], 0, 1))
                rows.append(row)
    return pd.DataFrame(rows)


def pictures(ids: list[str]) -> list[GalleryItem]:
    """Rows of simple pictures for a gallery."""
    items = []
    for number, (name, reason) in enumerate(zip(ids[:5], ["sample"] * 3 + ["worst hedps", "worst psnr"], strict=False)):
        generator = np.random.default_rng(number)
        ramp = np.linspace(40, 220, 256).astype(np.uint8)
        truth = np.stack([np.tile(ramp, (256, 1)), np.tile(ramp[:, None], (1, 256)), np.full((256, 256), 90)], 2)
        truth = truth.astype(np.uint8)
        mask = np.zeros((256, 256), np.uint8)
        mask[60 : 150 + 10 * number, 80:190] = 1
        sketch = np.full((256, 256), 255, np.uint8)
        sketch[::16] = 0
        cut = np.where(mask[..., None] == 1, np.uint8(255), truth)
        outputs = {}
        for level in LEVELS:
            noise = generator.integers(0, 60, truth.shape).astype(np.uint8)
            outputs[f"dps {level:g}"] = np.where(mask[..., None] == 1, noise, truth)
        panels = [Panel("input", cut), Panel("sketch", sketch), Panel("mask", mask * 255)]
        panels += [Panel(label, pixels, "hedps 0.123") for label, pixels in outputs.items()]
        panels += [Panel("truth", truth), Panel("error dps 0", error_map(outputs["dps 0"], truth))]
        items.append(GalleryItem(name, reason, float(mask.mean()), panels))
    return items


def made_scores(per_image: pd.DataFrame) -> pd.DataFrame:
    """The columns of scores.csv, with simple intervals."""
    note = f"weights missing: {COMMAND}"
    edges = [0.0, 0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 1.0]
    names = [f"{low:g}-{high:g}" for low, high in itertools.pairwise(edges)]
    bins = pd.cut(per_image["hole_ratio"], edges, labels=names).astype(str)
    both = pd.concat([per_image.assign(bin="all"), per_image.assign(bin=bins)]).drop(columns=["id", "hole_ratio"])
    keys = ["method", "level", "region", "bin"]
    tidy = both.replace(math.inf, 100.0).melt(keys, var_name="metric").dropna(subset=["value"])
    table = tidy.groupby([*keys, "metric"], dropna=False)["value"].agg(["count", "mean", "std"]).reset_index()
    half = 1.96 * table["std"] / np.sqrt(table["count"])
    better = table["metric"].map({name: metric.higher_is_better for name, metric in METRICS.items()})
    table = table.rename(columns={"count": "n", "mean": "value"}).assign(
        ci_low=table["mean"] - half, ci_high=table["mean"] + half, higher_is_better=better, note=""
    )
    rows: list[dict[str, Any]] = []
    for count, (method, level) in enumerate(per_image[["method", "level"]].drop_duplicates().itertuples(index=False)):
        for name in ("fid", "kid", "lpips_alex", "fd_hed"):
            value = 3.1 - 0.1 * count if name == "fd_hed" else math.nan
            numbers = (40 if name == "fd_hed" else 0, value, math.nan, math.nan, False, note if value != value else "")
            rows.append(dict(zip(SCORE_COLUMNS, (method, level, "full", name, "all", *numbers), strict=True)))
    return pd.concat([table[list(SCORE_COLUMNS)], pd.DataFrame(rows)])


def made_comparisons(per_image: pd.DataFrame) -> list[dict[str, Any]]:
    """Records of comparisons: `dps` at level 1 is best in hedps and psnr, nothing is decided in edge_f_drawn."""
    sets = list(per_image[["method", "level"]].drop_duplicates().itertuples(index=False, name=None))
    leaders = {"psnr": ("dps", 1.0), "hedps": ("dps", 1.0), "edge_f_drawn": ("dps-g", 0.0)}
    rows = []
    for (name, leader), region in itertools.product(leaders.items(), ("full", "hole")):
        if name == "edge_f_drawn" and region == "full":
            continue
        for method, level in sets:
            if (method, level) != leader:
                apart = (name, method, level) != ("edge_f_drawn", "dps", 0.0)
                other = None if math.isnan(level) else level
                numbers = (40, 0.5, 0.4, 0.6, 0.5, 1e-9 if apart else 0.4, 1e-7 if apart else 0.9, 0.875, apart, True)
                values = (name, region, *leader, method, other, *numbers)
                rows.append(dict(zip(COMPARISON_COLUMNS, values, strict=True)))
    return rows


def write_report(folder: Path, per_image: pd.DataFrame, items: list[GalleryItem]) -> Path:
    """Write the files that scoring leaves in a report."""
    folder.mkdir(parents=True)
    per_image.to_csv(folder / "per_image.csv", index=False)
    made_scores(per_image).to_csv(folder / "scores.csv", index=False)
    results = {"schema_version": 1, "prep": "pytorch-fid", "comparisons": made_comparisons(per_image)}
    (folder / "scores.json").write_text(json.dumps(results))
    run = {
        "warnings": ["findings that were allowed: extra", f"fid: weights missing: {COMMAND}"],
        "findings": ["extra: dps/l0/x.png: belongs to no photo </li><script>alert(1)</script>"],
        "command": ["dpseval", "score", "OUTPUTS"],
        "versions": {"python": "3.12.0", "torch": "2.15.0"},
        "forwards": {"scorer": 440, "inception": 0},
    }
    (folder / "run.json").write_text(json.dumps(run))
    save_gallery(folder, items)
    return folder


@pytest.fixture(scope="session")
def made_ids() -> list[str]:
    return [HOSTILE_ID, "NA", "007", *(f"face_{number:03d}" for number in range(37))]


@pytest.fixture(scope="session")
def made_report(tmp_path_factory: pytest.TempPathFactory, made_ids: list[str]) -> Path:
    """The report; tests read it and copy it before they change it."""
    folder = tmp_path_factory.mktemp("made") / "report"
    return write_report(folder, image_table(made_ids), pictures(made_ids))


@pytest.fixture
def own_report(made_report: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(made_report, tmp_path / "report"))


@pytest.fixture(scope="session")
def drawn_report(made_report: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy with its tables and page drawn."""
    folder = tmp_path_factory.mktemp("drawn") / "report"
    shutil.copytree(made_report, folder)
    draw_report(folder)
    return folder
