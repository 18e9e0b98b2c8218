"""What `dps predict` was asked for, and how `run.json` keeps one folder of outputs to one set of settings."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dpsdata.contracts import RUN_FILE, SCHEMA_VERSION, MissingError, UsageError, level_folder
from dpsdata.dataset.torch_dataset import EditDataset
from dpsdata.engines import check_engine
from dpsdata.masks import check_family
from models.methods.registry import METHODS, TIME_LIMIT_S, Method, find_method

# What a method is, in words; the pixels depend on none of it.
ABOUT = "about"
_MAX_BYTES = 2**20


@dataclass(frozen=True)
class PredictConfig:
    """What to run on which folder.

    Attributes:
        built: folder that `dpsdata build` made; photos of another size than the model's are resampled.
        out: folder of outputs, one for each pair of mask family and source of sketches.
        masks: mask family.
        levels: refinement levels in [0, 1]; no meaning for a method without a level.
        sketches: folder of ID.png, strokes of any width at the size of the dataset; None for the stored sketches.
        split: name of a split, or `all`.
        weights: `bundled`, `official`, or a path; no meaning for a method without weights.
        batch_size: photos in one pass.
        limit: only the first so many photos; None for all.
        device: `cpu`, `cuda`, `cuda:N` or `auto`.
        precision: `fp32` or `bf16`.
        method: what `models.methods.registry.find_method` takes.
        seed: of noise that a method reads, keyed by it and the id of the photo.
        engine: `local`, this process, or `ray`, actors of a cluster that each hold the network.
        workers: actors; 0 for one per core of the cluster.
        address: of a running Ray cluster; None to start one here.
        time_limit_s: seconds that a method which is run as a command may take a photo.
    """

    built: Path
    out: Path
    masks: str
    levels: tuple[float, ...]
    sketches: Path | None = None
    split: str = "test"
    weights: str = "bundled"
    batch_size: int = 8
    limit: int | None = None
    device: str = "cpu"
    precision: str = "fp32"
    method: str = "dps"
    seed: int = 0
    engine: str = "local"
    workers: int = 0
    address: str | None = None
    time_limit_s: float = TIME_LIMIT_S

    def __post_init__(self) -> None:
        find_method(self.method)
        check_family(self.masks)
        check_engine(self.engine, self.address)
        if self.workers < 0:
            raise UsageError(f"workers: expected 0 (one per core of the cluster) or more, got {self.workers}")
        folders = [level_folder(level) for level in self.levels]
        if not folders or len(set(folders)) < len(folders):
            raise UsageError(f"levels: expected numbers in [0, 1], each once, got {list(self.levels)}")
        if self.batch_size < 1:
            raise UsageError(f"batch: expected at least 1 photo, got {self.batch_size}")
        if not 0 < self.time_limit_s < float("inf"):
            raise UsageError(f"time limit: expected more than 0 s, got {self.time_limit_s}")
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"limit: expected at least 1 photo, got {self.limit}")
        if self.sketches is not None and not self.sketches.is_dir():
            raise UsageError(f"{self.sketches}: there is no such folder; --sketches takes a folder of ID.png")
        if self.out.exists() and not self.out.is_dir():
            raise UsageError(f"{self.out} is a file; OUT takes a folder")
        if (self.out / "dataset.json").exists():
            raise UsageError(f"{self.out} is a built dataset; choose another folder for the outputs")

    @property
    def chosen_levels(self) -> tuple[float | None, ...]:
        """The levels that are written: None alone for a method without one."""
        return self.levels if find_method(self.method).has_level else (None,)


def written_methods(method: Method) -> list[Method]:
    """The method itself and those whose outputs it writes too."""
    return [method, *(other for other in METHODS.values() if other.made_by == method.name)]


def describe_run(
    config: PredictConfig, dataset: EditDataset, settings: dict[str, Any], about: dict[str, Any]
) -> dict[str, Any]:
    """What the pixels of a run depend on, as `run.json` keeps it.

    Args:
        config: what to run.
        dataset: the split of the built folder.
        settings: what the pixels of this method depend on, its levels aside.
        about: what a comparison states of it.

    Raises:
        MissingError: the folder of sketches holds none of this split.
    """
    levels = list(config.levels) if find_method(config.method).has_level else None
    methods = {
        method.name: {"levels": levels, **settings, ABOUT: {**about, "title": method.title}}
        for method in written_methods(find_method(config.method))
    }
    return {
        "schema_version": SCHEMA_VERSION,
        "dataset_root_hash": dataset.root_hash,
        "size": dataset.size,
        "split": config.split,
        "masks": config.masks,
        "mask_source": dataset.mask_key,
        "sketches": None if config.sketches is None else str(config.sketches.resolve()),
        "sketches_sha256": None if config.sketches is None else _hash_sketches(config.sketches, dataset.ids),
        "methods": methods,
    }


def _hash_sketches(folder: Path, ids: list[str]) -> str:
    """One hash over the sketches of a split, so that a redrawn one is no silent mixture with older outputs."""
    total = hashlib.sha256()
    found_count = 0
    for name in ids:
        path = folder / f"{name}.png"
        content = path.read_bytes() if path.is_file() else b""
        found_count += bool(content)
        total.update(f"{name}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    if not found_count:
        raise MissingError(
            f"{folder}: none of the {len(ids)} photos has a sketch here; name them ID.png, as {ids[0]}.png"
        )
    return total.hexdigest()


def merge_run(out: Path, wanted: dict[str, Any]) -> dict[str, Any]:
    """The settings to store: ours, beside the methods of others in the same folder.

    Args:
        out: folder of outputs, which need not exist.
        wanted: what `describe_run` returned.

    Raises:
        UsageError: the folder holds outputs of other settings, or of unknown ones.
    """
    stored = read_run(out)
    methods = {} if stored is None else stored["methods"]
    unknown = [name for name in wanted["methods"] if name not in methods and (out / name).exists()]
    if unknown:
        where = f"without {RUN_FILE}" if stored is None else f"of {unknown[0]} of which {RUN_FILE} says nothing"
        raise UsageError(
            f"{out} holds outputs {where}, so their settings are unknown; choose another folder for the outputs"
        )
    if stored is None:
        return wanted
    others = [key for key in wanted if key != "methods" and stored.get(key) != wanted[key]]
    stale = []
    for name, method in wanted["methods"].items():
        # Outputs that were deleted, so that they are made again, may be of other settings.
        found = methods.get(name, method) if (out / name).exists() else method
        keys = [key for key in method if key != ABOUT]
        keys = [key for key in keys if not isinstance(found, dict) or found.get(key) != method[key]]
        others += keys
        stale += [str(out / name)] if keys else []
    if others:
        named = ", ".join(dict.fromkeys(others))
        again = f", or delete {' and '.join(stale)}" if stale else ""
        raise UsageError(
            f"{out} holds a run of other settings ({named}); choose another folder for the outputs, repeat its "
            f"options{again}"
        )
    return {**stored, "methods": {**methods, **wanted["methods"]}}


def read_run(out: Path) -> dict[str, Any] | None:
    """The stored `run.json` of a folder of outputs, with its `methods`; None where there is none.

    Raises:
        UsageError: it is damaged, or of another command.
    """
    path = out / RUN_FILE
    if not path.is_file():
        return None
    try:
        data = path.read_bytes() if path.stat().st_size <= _MAX_BYTES else b""
        stored = json.loads(data)
    except (OSError, ValueError, RecursionError):
        stored = None
    if not isinstance(stored, dict) or not isinstance(stored.get("methods"), dict):
        raise UsageError(f"{path} is damaged or of another command; choose another folder for the outputs")
    return stored
