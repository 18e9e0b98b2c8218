"""Pixels, edges, sketches, masks and files: from a folder of faces to a dataset for sketch-guided editing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dpsdata.dataset import BuildConfig, BuildResult, build_dataset
    from dpsdata.dataset.torch_dataset import EditDataset

__all__ = ["BuildConfig", "BuildResult", "EditDataset", "build_dataset"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Imported on first use: torch and OpenCV take seconds, and a command line must start in less than one.
    if name in ("BuildConfig", "BuildResult", "build_dataset"):
        from dpsdata import dataset as build

        return getattr(build, name)
    if name == "EditDataset":
        from dpsdata.dataset.torch_dataset import EditDataset

        return EditDataset
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
