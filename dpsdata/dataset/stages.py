"""The stages of one sample: photo -> image -> edges -> sketch -> levels, and its masks.

Every stage has a key: a hash of its version, its options and the key of what it reads. A stage whose
key and files are as recorded is not run again, so that a sketch option never recomputes HED.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from dpsdata.contracts import BrokenImageError, level_folder
from dpsdata.dataset.config import BuildConfig
from dpsdata.dataset.manifest import ManifestRow
from dpsdata.hed import HED, load_hed
from dpsdata.images.arrays import hash_look, measure_colors
from dpsdata.images.codec import Source, encode_png, read_edges, read_photo, read_sketch, resize_photo
from dpsdata.images.header import FilePart
from dpsdata.masks import is_from_files, mask_folders, mask_source_key, read_or_draw_mask
from dpsdata.runtime.device import use_one_thread
from dpsdata.runtime.files import write_bytes_atomic
from dpsdata.sketch import SimplifyConfig, dilate_sketch_array, simplify_edge_map, smooth_sketch
from dpsdata.sources.layouts import SourceSample, read_sample

STAGE_VERSIONS = {"images": 1, "edges": 1, "sketches": 1, "levels": 1, "masks": 1}


@dataclass(frozen=True)
class StageOptions:
    """The options of all stages, resolved: what the files depend on, and nothing else."""

    size: int
    resampler: str
    hed: dict[str, Any]
    simplify: SimplifyConfig
    levels: tuple[float, ...]
    masks: tuple[str, ...]
    mask_keys: dict[str, str] = field(default_factory=dict)
    mask_folders: dict[str, str] = field(default_factory=dict)
    seed: int = 0

    @classmethod
    def resolve(cls, config: BuildConfig, net: HED) -> StageOptions:
        """Options of a build with the HED weights that it will run."""
        hed = {
            "weights": net.origin.name,
            "sha256": net.origin.sha256,
            "variant": net.variant.name,
            "width": net.width,
            "precision": net.settings.precision,
            "border": net.settings.border,
            "engine": f"torch-{net.mean_rgb.device.type}",
        }
        if batch_size(net.mean_rgb.device.type) > 1:  # kernels, and with them the last bits, depend on it
            hed["batch"] = batch_size(net.mean_rgb.device.type)
        mask_keys = {family: mask_source_key(family) for family in config.masks}
        return cls(
            size=config.size,
            resampler=config.resampler,
            hed=hed,
            simplify=SimplifyConfig.for_size(config.size),
            levels=config.levels,
            masks=config.masks,
            mask_keys=mask_keys,
            mask_folders=mask_folders(config.masks, mask_keys),
            seed=config.seed,
        )

    @property
    def batch(self) -> int:
        """Photos in one pass of HED, see `batch_size`."""
        return int(self.hed.get("batch", 1))

    @property
    def gpus(self) -> int:
        """GPUs that a worker needs."""
        return int(self.hed["engine"] == "torch-cuda")

    @cached_property
    def key(self) -> str:
        """Hash of all options and versions: where a record has it, every one of its stage keys is the wanted one."""
        text = json.dumps([asdict(self), STAGE_VERSIONS], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:24]

    def wanted(self, name: str) -> dict[str, str]:
        """Every file of the sample `name` with the fact that its record has to tell of it, or an empty one."""
        file = f"{name}.png"
        return {
            f"images/{file}": "",
            f"edges/{file}": "",
            f"sketches/{file}": "line_density",
            **{f"levels/{level_folder(level)}/{file}": "" for level in self.levels},
            **{f"masks/{folder}/{file}": f"hole_{folder}" for folder in self.mask_folders.values()},
        }

    def describe(self) -> list[dict[str, Any]]:
        """The stages for `dataset.json`."""
        hed = {key: value for key, value in self.hed.items() if key not in ("engine", "precision", "weights")}
        rows: list[dict[str, Any]] = [
            {"name": "images", "options": {"size": self.size, "resampler": self.resampler}},
            {"name": "edges", **{key: self.hed[key] for key in ("engine", "precision", "weights")}, "options": hed},
            {"name": "sketches", "options": asdict(self.simplify)},
            {"name": "levels", "options": {"levels": list(self.levels)}},
            {"name": "masks", "options": {"families": list(self.masks), "seed": self.seed, **self._mask_sources()}},
        ]
        blank = {"engine": "numpy", "precision": "exact", "weights": None}
        return [{"name": row["name"], "version": STAGE_VERSIONS[row["name"]], **blank, **row} for row in rows]

    def _mask_sources(self) -> dict[str, Any]:
        """Where masks come from files: what family lies in each folder, and the hash of what was read."""
        read = {
            self.mask_folders[family]: {"family": family, "key": self.mask_keys[family]}
            for family in self.masks
            if is_from_files(family)
        }
        return {"sources": read} if read else {}


def batch_size(device: str) -> int:
    """Photos in one pass of HED: one on a CPU, where more would not be faster; on a GPU a number that never changes."""
    return 1 if device == "cpu" else 32


def stage_key(stage: str, **inputs: Any) -> str:
    """Hash of a stage's version and of all that its output depends on."""
    text = json.dumps([stage, STAGE_VERSIONS[stage], inputs], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


PHOTO_STATS = ("photo_colors", "photo_one_color")


@dataclass
class SampleRecord:
    """What is known of one sample: its source, its stage keys and its files. One line of the journal."""

    id: str
    source: str
    stamp: str
    source_sha256: str = ""
    width: int = 0
    height: int = 0
    keys: dict[str, str] = field(default_factory=dict)
    files: dict[str, tuple[str, int]] = field(default_factory=dict)  # path -> (sha256, bytes)
    sample_stats: dict[str, float] = field(default_factory=dict)  # line density, hole ratios
    error: str = ""
    look: str = ""  # perceptual hash of the image, see `dpsdata.images.arrays`
    notes: dict[str, list[str]] = field(default_factory=dict)  # path -> how a mask file had to be read
    options_key: str = ""  # `StageOptions.key` of the build that made or kept the files; empty where it failed

    def keep_others(self, earlier: SampleRecord) -> SampleRecord:
        """Take over what an earlier record tells of files that this build did not ask for and that stay on disk."""
        self.notes |= {path: notes for path, notes in earlier.notes.items() if path not in self.files}
        self.keys = {**earlier.keys, **self.keys}
        self.files = {**earlier.files, **self.files}
        self.sample_stats = {**earlier.sample_stats, **self.sample_stats}
        self.look = self.look or earlier.look
        return self


def manifest_row(options: StageOptions, record: SampleRecord, split: str) -> ManifestRow:
    """The line of the manifest for a sample."""
    name = f"{record.id}.png"
    common = {"id": record.id, "split": split, "source": record.source}
    if record.error:
        return ManifestRow(
            **common, source_sha256="", width=0, height=0, image_sha256="", edges_sha256="", sketch_sha256="",
            masks={}, levels={}, status="failed",
        )  # fmt: skip

    def digest(folder: str) -> str:
        return record.files[f"{folder}/{name}"][0]

    return ManifestRow(
        **common,
        source_sha256=record.source_sha256,
        width=record.width,
        height=record.height,
        image_sha256=digest("images"),
        edges_sha256=digest("edges"),
        sketch_sha256=digest("sketches"),
        masks={folder: digest(f"masks/{folder}") for folder in options.mask_folders.values()},
        levels={folder: digest(f"levels/{folder}") for folder in map(level_folder, options.levels)},
    )


class SampleFiles(Protocol):
    """Where the files of a sample lie and go to."""

    def is_intact(self, path: str, sha256: str, size: int) -> bool:
        """Whether a file of an earlier build is still there; told from its size where its bytes are costly to read."""

    def source(self, path: str) -> Source:
        """A file of an earlier stage or build, as the readers of images take it."""

    def save(self, path: str, data: bytes) -> None:
        """Store the content of a file under its relative path."""


@dataclass(frozen=True)
class BegunSample:
    """A sample before its edges. `image`: uint8 (S, S, 3) to detect in; None where the edges are there already."""

    earlier: SampleRecord
    new: SampleRecord
    image: NDArray[np.uint8] | None


class SampleBuilder:
    """Makes the missing files of one sample.

    Args:
        options: resolved options.
        net: the HED; None where others detect, between `begin` and `finish`.
        files: where they lie.
    """

    def __init__(self, options: StageOptions, net: HED | None, files: SampleFiles) -> None:
        self.options, self.net, self.files = options, net, files

    def run(self, record: SampleRecord, read_source: Callable[[], bytes]) -> SampleRecord:
        """Run the stages whose key or files are not those of `record`, and return the new record.

        Args:
            record: what an earlier build recorded; a new one has no keys.
            read_source: bytes of the photo, called only when the image stage runs.

        Raises:
            BrokenImageError: the photo cannot be read.
            EnvironmentFailure: a file cannot be written.
        """
        begun = self.begin(record, read_source)
        if begun.image is None or self.net is None:
            return self.finish(begun, None)
        return self.finish(begun, quantise_edges(self.net.detect(begun.image[None])[0]))

    def begin(self, record: SampleRecord, read_source: Callable[[], bytes]) -> BegunSample:
        """The stages before HED, see `run`."""
        new = SampleRecord(record.id, record.source, record.stamp)
        new.source_sha256, new.width, new.height = record.source_sha256, record.width, record.height
        name = f"{record.id}.png"
        options = self.options
        image: NDArray[np.uint8] | None = None

        def image_key() -> str:
            return stage_key("images", size=options.size, resampler=options.resampler, source_sha256=new.source_sha256)

        path = f"images/{name}"
        if not new.source_sha256 or not self._keep(record, new, path, image_key()):
            data = read_source()
            new.source_sha256 = hashlib.sha256(data).hexdigest()
            photo = read_photo(data)
            new.height, new.width = photo.shape[:2]
            if not self._keep(record, new, path, image_key()):
                image = resize_photo(photo, options.size, options.resampler)
                new.look = hash_look(image)
                new.sample_stats |= dict(zip(PHOTO_STATS, measure_colors(photo), strict=True))
                self._store(new, path, image_key(), encode_png(image))
        if image is None:  # kept, and with it what is known of it
            new.look = record.look
            new.sample_stats |= {fact: record.sample_stats[fact] for fact in PHOTO_STATS if fact in record.sample_stats}
        edges = f"edges/{name}"
        if self._keep(record, new, edges, self._edges_key(new)):
            return BegunSample(record, new, None)
        return BegunSample(record, new, read_photo(self._stored(new, path)) if image is None else image)

    def finish(self, begun: BegunSample, edges: NDArray[np.uint16] | None) -> SampleRecord:
        """The stages from HED's map on, see `run`.

        Args:
            begun: from `begin`.
            edges: uint16 (S, S), 65535 = edge; None where the stored map is kept.
        """
        record, new, options = begun.earlier, begun.new, self.options
        name = f"{record.id}.png"
        path = f"edges/{name}"
        if edges is not None:
            self._store(new, path, self._edges_key(new), encode_png(edges))
        sketch: NDArray[np.uint8] | None = None
        path, key = f"sketches/{name}", stage_key("sketches", options=asdict(options.simplify), edges=new.keys[path])
        if not self._keep(record, new, path, key, fact="line_density"):
            if edges is None:
                edges = read_edges(self._stored(new, f"edges/{name}"))
            sketch = simplify_edge_map(edges, options.simplify)
            new.sample_stats["line_density"] = float(sketch.mean())
            self._store(new, path, key, encode_png(255 - 255 * sketch))
        self._levels(record, new, name, sketch)
        for family in options.masks:
            folder = options.mask_folders[family]
            path = f"masks/{folder}/{name}"
            key = stage_key(
                "masks", family=family, files=options.mask_keys[family], size=options.size, seed=options.seed, id=new.id
            )
            if not self._keep(record, new, path, key, fact=f"hole_{folder}"):
                size = (options.size, options.size)
                mask, notes = read_or_draw_mask(family, *size, options.seed, new.id, (new.height, new.width))
                if notes:
                    new.notes[path] = list(notes)
                new.sample_stats[f"hole_{folder}"] = float(mask.mean())
                self._store(new, path, key, encode_png(255 * mask))
        new.options_key = options.key
        return new

    def _edges_key(self, new: SampleRecord) -> str:
        return stage_key("edges", hed=self.options.hed, image=new.keys[f"images/{new.id}.png"])

    def _levels(self, record: SampleRecord, new: SampleRecord, name: str, sketch: NDArray[np.uint8] | None) -> None:
        missing = []
        for level in self.options.levels:
            path = f"levels/{level_folder(level)}/{name}"
            key = stage_key("levels", level=level, sketch=new.keys[f"sketches/{name}"])
            if not self._keep(record, new, path, key):
                missing.append((level, path, key))
        if not missing:
            return
        if sketch is None:
            sketch = read_sketch(self._stored(new, f"sketches/{name}"))
        smooth = smooth_sketch(torch.from_numpy(sketch.astype(np.float32))[None, None])[0, 0].numpy()
        drawn = dilate_sketch_array(smooth, [level for level, _, _ in missing])
        for (_, path, key), ink in zip(missing, drawn, strict=True):
            self._store(new, path, key, encode_png(255 - np.rint(255 * ink).astype(np.uint8)))

    def _keep(self, record: SampleRecord, new: SampleRecord, path: str, key: str, fact: str = "") -> bool:
        """Take over a file of the earlier record when it is the wanted one and still there."""
        known = path in record.files and (not fact or fact in record.sample_stats)
        if record.keys.get(path) != key or not known or not self.files.is_intact(path, *record.files[path]):
            return False
        new.keys[path], new.files[path] = key, record.files[path]
        if fact:
            new.sample_stats[fact] = record.sample_stats[fact]
        if path in record.notes:
            new.notes[path] = record.notes[path]
        return True

    def _stored(self, new: SampleRecord, path: str) -> Source:
        """A file that was kept by its size, for a later stage: here its bytes count."""
        source = self.files.source(path)
        return FilePart(source, 0, None, path, new.files[path][0]) if isinstance(source, Path) else source

    def _store(self, new: SampleRecord, path: str, key: str, data: bytes) -> None:
        self.files.save(path, data)
        new.keys[path], new.files[path] = key, (hashlib.sha256(data).hexdigest(), len(data))


def quantise_edges(edges: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Edge probabilities as 16 bits: with 8 bits one line pixel in ten moves (with 16, none)."""
    quantised: NDArray[np.uint16] = np.clip(np.rint(edges * np.float32(65535)), 0, 65535).astype(np.uint16)
    return quantised


@dataclass(frozen=True)
class Task:
    """One sample to build, with what an earlier build recorded of it."""

    sample: SourceSample
    record: SampleRecord


@dataclass(frozen=True)
class WorkerSetup:
    """What a worker needs to start."""

    out: Path
    options: StageOptions
    edges: str
    variant: str
    device: str


class FolderFiles:
    """Files of a sample under their own names below a built folder, each written in one step."""

    def __init__(self, out: Path) -> None:
        self._out, self._prefix = out, f"{out}/"

    def is_intact(self, path: str, sha256: str, size: int) -> bool:
        """Told from its size; `dpsdata verify` reads the bytes."""
        try:
            return os.stat(self._prefix + path).st_size == size  # noqa: PTH116 (asked for every file)
        except OSError:
            return False

    def source(self, path: str) -> Path:
        """The file itself."""
        return self._out / path

    def save(self, path: str, data: bytes) -> None:
        """Write it."""
        write_bytes_atomic(self._out / path, data)


def load_net(setup: WorkerSetup) -> HED:
    """The HED of one process; it computes on one thread, so that bytes do not depend on the cores."""
    use_one_thread()
    hed = setup.options.hed
    if setup.device != "cpu":  # the same kernels on every run, and fp32 where fp32 was asked for
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.allow_tf32 = False
    return load_hed(setup.edges, setup.variant, precision=hed["precision"], border=hed["border"], device=setup.device)


def run_task(builder: SampleBuilder, task: Task) -> SampleRecord:
    """Build one sample; a broken photo gives a record with its reason."""
    try:
        return builder.run(task.record, lambda: read_sample(task.sample))
    except BrokenImageError as error:
        return broken_record(task, error)


def broken_record(task: Task, error: BrokenImageError) -> SampleRecord:
    """The record of a sample whose photo cannot be read."""
    return replace(
        task.record, source_sha256="", keys={}, files={}, sample_stats={}, error=str(error), notes={}, options_key=""
    )
