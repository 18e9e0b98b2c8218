"""Scores over refinement levels and methods, and their report. Names are imported when they are first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dpsdata.lazy_names import lazy_names

if TYPE_CHECKING:
    from dpseval.compare import Comparison, compare_reports
    from dpseval.findings import Finding, PairingError
    from dpseval.score_config import ScoreConfig
    from dpseval.scoring import Scores, score

__version__ = "0.1.0"

_HOMES = {
    "Comparison": "dpseval.compare",
    "Finding": "dpseval.findings",
    "PairingError": "dpseval.findings",
    "ScoreConfig": "dpseval.score_config",
    "Scores": "dpseval.scoring",
    "compare_reports": "dpseval.compare",
    "score": "dpseval.scoring",
}

__all__ = ["Comparison", "Finding", "PairingError", "ScoreConfig", "Scores", "compare_reports", "score"]


__getattr__, __dir__ = lazy_names(__name__, _HOMES)
