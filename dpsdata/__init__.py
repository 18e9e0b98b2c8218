"""Pixels, edges, sketches, masks and files: from a folder of faces to a dataset for sketch-guided editing."""

from __future__ import annotations

# Nothing is imported here, also no `typing`: Ctrl-C is taken over by `dpsdata.start`, which comes right after.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from dpsdata.dataset import BuildConfig, BuildResult, build_dataset
    from dpsdata.dataset.torch_dataset import EditDataset, EditIterableDataset

__all__ = ["BuildConfig", "BuildResult", "EditDataset", "EditIterableDataset", "build_dataset"]
__version__: str


def __getattr__(name: str) -> Any:
    # Imported on first use: torch and OpenCV take seconds, and a command line must start in less than one.
    if name == "__version__":
        from importlib.metadata import version

        return version("deep-plastic-surgery")
    if name in ("BuildConfig", "BuildResult", "build_dataset"):
        from dpsdata import dataset as build

        return getattr(build, name)
    if name in ("EditDataset", "EditIterableDataset"):
        from dpsdata.dataset import torch_dataset

        return getattr(torch_dataset, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
