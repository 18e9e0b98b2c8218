"""Building of datasets: plan, stages, workers, journal, manifest."""

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
