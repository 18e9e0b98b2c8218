"""The names of the preprocessings; nothing heavy is imported, so that command lines can check them."""

from __future__ import annotations

from dpsdata.contracts import UsageError

PREPS = ("pytorch-fid", "torch-fidelity", "torchmetrics", "clean")


def check_prep(prep: str) -> str:
    """Return the name of a preprocessing; raise UsageError where it is not one of `PREPS`."""
    if prep not in PREPS:
        raise UsageError(f"prep: expected {', '.join(PREPS[:-1])} or {PREPS[-1]}, got {prep!r}")
    return prep
