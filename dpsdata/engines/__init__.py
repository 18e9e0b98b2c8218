"""Where work runs: in this process, in a pool of processes, or on the actors of a Ray cluster."""

from __future__ import annotations

from dpsdata.engines.contract import ENGINES, Engine, Job, check_engine
from dpsdata.runtime.processes import core_count

__all__ = ["ENGINES", "Engine", "Job", "check_engine", "open_engine"]


def open_engine(name: str, workers: int, address: str | None = None) -> Engine:
    """The engine of a run.

    Args:
        name: `local` or `ray`.
        workers: processes or actors; 0 for one a core of this machine or of the cluster; `local` with 1 works in this
            process.
        address: of a running Ray cluster, such as `auto` or `10.0.0.1:6379`; None to start one on this machine.

    Raises:
        UsageError: unknown engine, or an address where none is used.
        EnvironmentFailure: Ray is not installed, or the cluster cannot be reached.
    """
    if check_engine(name, address) == "ray":
        from dpsdata.engines.ray_actors import RayEngine

        return RayEngine(workers, address)
    from dpsdata.engines.local import PoolEngine, SerialEngine

    count = workers or core_count()
    return SerialEngine() if count == 1 else PoolEngine(count)
