"""What to build: one frozen config, validated before anything is touched."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from dpsdata.contracts import UsageError, check_level, level_folder
from dpsdata.engines import check_engine
from dpsdata.masks import check_family
from dpsdata.runtime.files import ADDRESS
from dpsdata.sources.remote import show_place

MIN_SIZE_PX, MAX_SIZE_PX = 64, 1024
FORMATS = ("files", "webdataset")
RESAMPLERS = ("area", "lanczos", "bicubic", "nearest")


@dataclass(frozen=True)
class BuildConfig:
    """Options of `build_dataset`, the same as those of `dpsdata build`.

    Attributes:
        source: folder, zip or address of photos, in any layout of `dpsdata.sources.layouts`.
        out: folder or address to build into; an earlier build there is resumed or extended.
        size: side of the photos, 64 to 1024 px.
        resampler: how photos are resized.
        split: `auto` (the layout's own split, else `ratio`), `ratio[:TRAIN,VAL,TEST]`, `last-N`,
            `file:LIST`, `celeba-partition[:MAPPING]`.
        seed: of the splits and of the masks.
        edges: HED weights: `auto`, a registered name or a file.
        variant: form in which the HED weights run; `auto`: the one that their keys tell.
        precision: of HED, `fp32`, `fp32-winograd` (CPU, faster) or `bf16`.
        border: of HED, `own` or `reflect`.
        device: of HED, `cpu`, `cuda` or `auto`.
        masks: mask families, one mask a photo and family.
        levels: refinement levels whose sketches, dilated by the published pen, are stored; training makes its own.
        workers: processes, one thread each; 0 for one a core.
        limit: use only the first so many photos.
        max_errors: stop when more photos than this are broken; None for no limit.
        retry_failed: try photos again that failed in an earlier build of this folder.
        overwrite: replace the files of a finished dataset that was built with other options.
        format: `files`, a file for every picture, or `webdataset`, tar shards, see `dpsdata.dataset.shards`.
        shard_size: samples in a shard.
        engine: where it runs: `local`, processes of this machine, or `ray`, actors of a cluster.
        address: of a running Ray cluster; None to start one here.
    """

    source: Path
    out: Path
    size: int = 256
    resampler: str = "area"
    split: str = "auto"
    seed: int = 0
    edges: str = "auto"
    variant: str = "auto"
    precision: str = "fp32"
    border: str = "own"
    device: str = "cpu"
    masks: tuple[str, ...] = ("dps", "deepfillv2")
    levels: tuple[float, ...] = field(default=())
    workers: int = 0
    limit: int | None = None
    max_errors: int | None = None
    retry_failed: bool = False
    overwrite: bool = False
    format: str = "files"
    shard_size: int = 1000
    engine: str = "local"
    address: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", Path(self.source))
        object.__setattr__(self, "out", Path(self.out))
        self._check_kinds()
        object.__setattr__(self, "masks", tuple(dict.fromkeys(self.masks)))
        object.__setattr__(self, "levels", tuple(sorted({check_level(level) for level in self.levels})))
        for family in self.masks:
            check_family(family)
        _check_folders("levels", [(level_folder(level), f"{level!r}") for level in self.levels])
        if not MIN_SIZE_PX <= self.size <= MAX_SIZE_PX:
            raise UsageError(f"size: expected {MIN_SIZE_PX} to {MAX_SIZE_PX} px, got {self.size}")
        if self.resampler not in RESAMPLERS:
            raise UsageError(f"resampler: expected one of {', '.join(RESAMPLERS)}, got {self.resampler!r}")
        if self.format not in FORMATS:
            raise UsageError(f"format: expected {' or '.join(FORMATS)}, got {self.format!r}")
        if self.shard_size < 1:
            raise UsageError(f"shard-size: expected at least 1 sample, got {self.shard_size}")
        check_engine(self.engine, self.address)
        self._check_addresses()
        if self.workers < 0:
            raise UsageError(f"workers: expected 0 (one per core) or more, got {self.workers}")
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"limit: expected at least 1 photo, got {self.limit}")
        if self.max_errors is not None and self.max_errors < 0:
            raise UsageError(f"max-errors: expected 0 or more, got {self.max_errors}")

    def _check_addresses(self) -> None:
        source, out = (f"{show_place(place)}/" for place in (self.source, self.out))
        is_remote = [bool(ADDRESS.match(str(place))) for place in (self.source, self.out)]
        if is_remote[1] and self.format == "files":
            raise UsageError(f"{out}: an address holds shards, not single files; add --format webdataset")
        if any(is_remote) and self.address is not None:
            raise UsageError(
                "address: the machines of a cluster share folders; copy photos from elsewhere into one of them first"
            )
        if all(is_remote) and (source.startswith(out) or out.startswith(source)):
            raise UsageError(f"{out}: the addresses of the photos and of the dataset must not contain each other")

    def _check_kinds(self) -> None:
        for name in ("size", "seed", "workers", "limit", "max_errors", "shard_size"):
            value = getattr(self, name)
            if (not isinstance(value, int) or isinstance(value, bool)) and (value, name) not in _OPTIONAL:
                raise UsageError(f"{name.replace('_', '-')}: expected a whole number, got {value!r}")
        for name in ("masks", "levels"):
            if not isinstance(getattr(self, name), (tuple, list)):
                raise UsageError(f"{name}: expected a tuple, got {getattr(self, name)!r}")
        if not isinstance(self.split, str):
            raise UsageError(f"split: expected the name of a rule, such as ratio, got {self.split!r}")


_OPTIONAL = ((None, "limit"), (None, "max_errors"))


def _check_folders(name: str, folders: list[tuple[str, str]]) -> None:
    """Two of these in one folder would overwrite each other's files."""
    seen: dict[str, str] = {}
    for folder, value in folders:
        if seen.setdefault(folder, value) != value:
            raise UsageError(f"{name}: {seen[folder]} and {value} both belong in the folder {folder}; keep one")
