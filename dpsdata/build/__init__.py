"""Building of datasets: plan, stages, workers, journal, manifest."""

from dpsdata.build.config import BuildConfig
from dpsdata.build.engine import BuildResult, build_dataset, run_plan, worker_count
from dpsdata.build.plan import BuildPlan, Estimate, describe_plan, estimate_build, plan_build

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
