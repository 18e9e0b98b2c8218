"""Where work runs: in this process, in a pool of processes, or on the actors of a Ray cluster."""

from dpsdata.engines.contract import ENGINES, Engine, Job, check_engine, open_engine

__all__ = ["ENGINES", "Engine", "Job", "check_engine", "open_engine"]
