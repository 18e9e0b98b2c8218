"""Scores over refinement levels and methods, and their report. Names are imported when they are first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dpsdata.runtime.lazy_names import lazy_names

if TYPE_CHECKING:
    from dpseval.pairing.files import PairingError, PairingIssue
    from dpseval.scoring.compare import Comparison, compare_reports
    from dpseval.scoring.config import ScoreConfig
    from dpseval.scoring.score import Scores, score


_HOMES = {
    "Comparison": "dpseval.scoring.compare",
    "PairingIssue": "dpseval.pairing.files",
    "PairingError": "dpseval.pairing.files",
    "ScoreConfig": "dpseval.scoring.config",
    "Scores": "dpseval.scoring.score",
    "compare_reports": "dpseval.scoring.compare",
    "score": "dpseval.scoring.score",
}

__all__ = ["Comparison", "PairingError", "PairingIssue", "ScoreConfig", "Scores", "compare_reports", "score"]


__getattr__, __dir__ = lazy_names(__name__, _HOMES)
