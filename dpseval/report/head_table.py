"""The head table as plain cells, which the page, Markdown and LaTeX print each in its own way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import pandas as pd

from dpseval.metrics.manifolds import SEPARABLE
from dpseval.metrics.names import METRICS, PROTOCOLS, REGION_NAMES, SPACES, Metric
from dpseval.pairing.files import SetKey
from dpseval.report.verdicts import Verdict, set_key

Mark = Literal["best", "tied", ""]

GROUPS = (
    ("Realism of the set", ("fid", "kid", "fd_efflite", "fd_hed", "kd_hed")),
    ("Perceptual distance", ("lpips_alex", "lpips_vgg", "lpips_squeeze", "hedps")),
    ("Pixels", ("psnr", "psnr_pooled", "ssim", "l1")),
    ("Faithful to the sketch", ("edge_f_drawn", "edge_f_refined", "chamfer_px", "hed_ssim", "lineart_ssim")),
    ("As published elsewhere", tuple(name for names in PROTOCOLS.values() for name in names)),
    ("The same person", ("id_similarity", "landmark_nme")),
    ("Guards", ("edge_density", "known_drift")),
)
# In a table of their own, as the head table is wide.
SET_GROUPS = (
    ("Inception", tuple(name for name in SPACES["inception"] if name not in GROUPS[0][1])),
    ("EfficientNet-Lite0", tuple(name for name in SPACES["efflite"] if name not in GROUPS[0][1])),
    ("DINOv2", SPACES["dinov2"]),
    ("CLIP", SPACES["clip"]),
    ("Identity", ("id_p5", "id_share", "id_impostor")),
)
SETS = "sets"
# What a reader looks at first; the others follow in the order of the groups.
FIRST = ("fid", "lpips_alex", "hedps", "psnr", "ssim", "edge_f_drawn", "edge_f_refined", "l1", "chamfer_px", "fd_hed")
# The composite has the photo's own pixels there: every method would show the same.
_ALWAYS_EXACT_IN_RING = ("psnr", "psnr_pooled", "l1")
SHORT = {
    "psnr_pooled": "PSNR pooled",
    "fd_hed": "FD-HED",
    "kd_hed": "KD-HED",
    "fid_inf": "FID∞",
    "fd_efflite": "FD-EffLite",
    "kd_efflite": "KD-EffLite",
    "fd_efflite_inf": "FD∞",
    "fd_dinov2": "FD-DINOv2",
    "kd_dinov2": "KD-DINOv2",
    "cmmd": "CMMD",
    **{
        f"{name}{ending}": title
        for ending in ("", "_efflite")
        for name, title in (
            ("precision", "Precision"),
            ("recall", "Recall"),
            ("density", "Density"),
            ("coverage", "Coverage"),
            ("p_ids", "P-IDS"),
            ("u_ids", "U-IDS"),
        )
    },
    "lpips_alex": "LPIPS alex",
    "lpips_vgg": "LPIPS vgg",
    "lpips_squeeze": "LPIPS squeeze",
    "hedps": "HEDPS",
    "edge_f_drawn": "F drawn",
    "edge_f_refined": "F refined",
    "chamfer_px": "Chamfer",
    **{
        f"{name}_as_{paper.lower()}": f"{title} as {paper}"
        for name, title in (("psnr", "PSNR"), ("ssim", "SSIM"), ("l1", "L1"))
        for paper in ("ZITS", "LaMa", "MAT")
    },
    "hed_ssim": "HED-SSIM",
    "lineart_ssim": "Line-art SSIM",
    "id_similarity": "ID similarity",
    "landmark_nme": "Landmark NME",
    "id_p5": "ID 5th pct.",
    "id_share": "ID recognised",
    "id_impostor": "ID of others",
    "edge_density": "Edge density",
    "known_drift": "Known drift",
}


@dataclass(frozen=True)
class Column:
    """A metric in a region."""

    metric: Metric
    region: str
    group: str
    decimals: int

    @property
    def label(self) -> str:
        """The short name for a table's head, with unit and arrow."""
        unit = f", {self.metric.unit}" if self.metric.unit else ""
        arrow = f" {self.metric.arrow}" if self.metric.arrow else ""
        return f"{SHORT.get(self.metric.name, self.metric.title)}{unit}{arrow}"


@dataclass(frozen=True)
class Cell:
    """One value; `text` is "" where there is none, and `note` then says why."""

    value: float
    text: str = ""
    interval: str = ""
    count: int = 0
    mark: Mark = ""
    note: str = ""
    missing: bool = False


@dataclass(frozen=True)
class Row:
    """A set, which is a method at a level, and its cells."""

    key: SetKey
    count: int
    cells: tuple[Cell, ...]

    @property
    def method(self) -> str:
        """Name of the method."""
        return self.key.method

    @property
    def is_missing(self) -> bool:
        """Whether the method could not run."""
        return bool(self.cells) and all(cell.missing for cell in self.cells)

    @property
    def level(self) -> str:
        """The level as text, a dash for a method without one."""
        return "–" if self.key.level is None else f"{self.key.level:g}"


@dataclass(frozen=True)
class HeadTable:
    """The scores of every set in one region."""

    region: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    @property
    def groups(self) -> list[tuple[str, int]]:
        """Heads that span columns: name and number of columns."""
        spans: list[tuple[str, int]] = []
        for column in self.columns:
            if spans and spans[-1][0] == column.group:
                spans[-1] = (column.group, spans[-1][1] + 1)
            else:
                spans.append((column.group, 1))
        return spans


def known_metric(name: str) -> Metric:
    """The metric of this name; one that is not in the table keeps its name and has no better side."""
    return METRICS.get(name) or Metric(name, name, None, "", REGION_NAMES)


def column_decimals(values: Sequence[float]) -> int:
    """Digits behind the point that show four leading digits of a middle value, from 0 to 6."""
    sizes = sorted(abs(value) for value in values if math.isfinite(value) and value)
    return min(6, max(0, 3 - math.floor(math.log10(sizes[len(sizes) // 2])))) if sizes else 2


def format_number(value: float, decimals: int) -> str:
    """The number for a table; `inf` as ∞, and never a minus before zeros."""
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:.{decimals}f}"
    return text.removeprefix("-") if not float(text) else text


def set_keys(scores: pd.DataFrame) -> list[SetKey]:
    """Every set once: methods in the order of the file, levels rising."""
    pairs = scores[["method", "level"]].drop_duplicates()
    methods = list(dict.fromkeys(pairs["method"]))
    keys = [set_key(method, level) for method, level in zip(pairs["method"], pairs["level"], strict=True)]
    return sorted(keys, key=lambda key: (methods.index(key.method), key.rank))


def build_head_table(scores: pd.DataFrame, verdicts: Sequence[Verdict], region: str = "full") -> HeadTable:
    """Arrange the scores over all hole ratios as rows of sets and columns of metrics.

    Args:
        scores: the columns of `scores.csv`.
        verdicts: what the paired tests say.
        region: `full` also holds what is measured in one region only; `hole` and `ring` hold the rest; `sets` holds
            what says how real and varied a set is.
    """
    whole = scores[scores["bin"] == "all"]
    lines = {(set_key(row.method, row.level), row.metric, row.region): row for row in whole.itertuples(index=False)}
    grouped = {name: group for group, names in (SET_GROUPS if region == SETS else GROUPS) for name in names}
    apart = {name for _, names in SET_GROUPS for name in names}
    whole = whole[whole["metric"].isin(apart) == (region == SETS)]
    if region == "ring":
        grouped = {name: group for name, group in grouped.items() if name not in _ALWAYS_EXACT_IN_RING}
        whole = whole[~whole["metric"].isin(_ALWAYS_EXACT_IN_RING)]
    names = [*grouped, *(name for name in dict.fromkeys(whole["metric"]) if name not in grouped)]
    columns = []
    for name in names:
        regions = set(whole.loc[whole["metric"] == name, "region"])
        chosen = region if region in regions else None
        if region in ("full", SETS) and chosen is None and regions:
            chosen = min(regions)
        if chosen is not None and (region in ("full", SETS) or "full" in regions):
            values = whole.loc[(whole["metric"] == name) & (whole["region"] == chosen), "value"]
            columns.append(Column(known_metric(name), chosen, grouped.get(name, "More"), column_decimals(list(values))))
    keys = set_keys(scores)
    marks = {(verdict.metric, verdict.region, key): verdict.mark(key) for verdict in verdicts for key in keys}
    rows = []
    for key in keys:
        cells = []
        for column in columns:
            line = lines.get((key, column.metric.name, column.region))
            cells.append(_cell(line, column, marks.get((column.metric.name, column.region, key), "")))
        rows.append(Row(key, max((cell.count for cell in cells), default=0), tuple(cells)))
    return HeadTable(region, tuple(columns), tuple(rows))


def split_columns(table: HeadTable, count: int) -> tuple[HeadTable, HeadTable]:
    """Two tables of the same rows: the `count` columns that a reader looks at first, and the others.

    Columns without a single value are in neither, as `missing_notes` names them.
    """
    filled = [place for place in range(len(table.columns)) if any(row.cells[place].text for row in table.rows)]
    ranks = {name: rank for rank, name in enumerate(FIRST)}
    order = sorted(filled, key=lambda place: ranks.get(table.columns[place].metric.name, len(FIRST)))
    return _keep_columns(table, sorted(order[:count])), _keep_columns(table, sorted(order[count:]))


def _keep_columns(table: HeadTable, places: Sequence[int]) -> HeadTable:
    columns = tuple(table.columns[place] for place in places)
    rows = tuple(replace(row, cells=tuple(row.cells[place] for place in places)) for row in table.rows)
    return replace(table, columns=columns, rows=rows)


def missing_notes(tables: Sequence[HeadTable]) -> list[tuple[str, list[str]]]:
    """Why values are missing: each reason once, with the method or the labels of the metrics that it concerns."""
    found: dict[str, list[str]] = {}
    for table in tables:
        for row in table.rows:
            if row.is_missing:
                found[row.cells[0].note.removeprefix(f"{row.method}: ")] = [row.method]
                continue
            for column, cell in zip(table.columns, row.cells, strict=True):
                name = SHORT.get(column.metric.name, column.metric.title)
                if cell.missing and name not in found.setdefault(cell.note, []):
                    found[cell.note].append(name)
    return sorted(found.items())


# What a reader cannot know from the name.
_ABOUT = {
    "dps-g": "dps-g: the photo that G makes beside the refined sketch; dps is F's photo, made from that sketch.",
    "scfegan-refined": "scfegan-refined: SC-FEGAN with the sketch that G refined.",
}


def explain_methods(tables: Sequence[HeadTable]) -> str:
    """A sentence for each method whose name does not explain itself; "" where there is none."""
    names = {row.method for table in tables for row in table.rows}
    return " ".join(sentence for name, sentence in _ABOUT.items() if name in names)


def _cell(line: object, column: Column, mark: Mark) -> Cell:
    if line is None:
        return Cell(math.nan)
    value, low, high = (float(getattr(line, name)) for name in ("value", "ci_low", "ci_high"))
    count = getattr(line, "n")  # noqa: B009 - a row of any table, unknown to the type checker
    note = str(getattr(line, "note"))  # noqa: B009
    number = int(count) if math.isfinite(count) else 0
    if math.isnan(value):
        return Cell(math.nan, count=0, note=note, missing="weights missing" in note)
    if SEPARABLE in note:
        return Cell(value, "separable", count=number, note=note)
    known = math.isfinite(low) and math.isfinite(high)
    interval = f"{format_number(low, column.decimals)} to {format_number(high, column.decimals)}" if known else ""
    return Cell(value, format_number(value, column.decimals), interval, number, mark, note)
