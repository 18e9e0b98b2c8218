"""Scores of photos and of sets of photos; the `torchmetrics.Metric` classes are loaded on first use."""

from typing import TYPE_CHECKING

from dpsdata.runtime.lazy_names import lazy_names

if TYPE_CHECKING:
    from dpseval.metrics.modules import (
        FrechetDistance,
        HedPS,
        RegionLPIPS,
        RegionPSNR,
        RegionSSIM,
        SketchFaithfulness,
    )

__all__ = ["FrechetDistance", "HedPS", "RegionLPIPS", "RegionPSNR", "RegionSSIM", "SketchFaithfulness"]

__getattr__, __dir__ = lazy_names(__name__, dict.fromkeys(__all__, "dpseval.metrics.modules"))
