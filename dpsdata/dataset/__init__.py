"""Building of datasets: plan, stages, workers, journal, manifest; names are imported when they are first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dpsdata.runtime.lazy_names import lazy_names

if TYPE_CHECKING:
    from dpsdata.dataset.build import BuildResult, build_dataset, run_plan, worker_count
    from dpsdata.dataset.config import BuildConfig
    from dpsdata.dataset.plan import BuildPlan, Estimate, describe_plan, estimate_build, plan_build

__all__ = [
    "BuildConfig",
    "BuildPlan",
    "BuildResult",
    "Estimate",
    "build_dataset",
    "describe_plan",
    "estimate_build",
    "plan_build",
    "run_plan",
    "worker_count",
]
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        **dict.fromkeys(("BuildResult", "build_dataset", "run_plan", "worker_count"), "dpsdata.dataset.build"),
        "BuildConfig": "dpsdata.dataset.config",
        **dict.fromkeys(
            ("BuildPlan", "Estimate", "describe_plan", "estimate_build", "plan_build"), "dpsdata.dataset.plan"
        ),
    },
)
