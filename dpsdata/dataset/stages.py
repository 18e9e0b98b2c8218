"""The stages of one sample: photo -> image -> edges -> sketch -> levels, and its masks.

Every stage has a key: a hash of its version, its options and the key of what it reads. A stage whose
key and files are as recorded is not run again, so that a sketch option never recomputes HED.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dpsdata.contracts import level_folder
from dpsdata.dataset.config import BuildConfig
from dpsdata.hed import HED
from dpsdata.images.codec import encode_png, read_edges, read_photo, read_sketch, resize_photo
from dpsdata.masks import make_mask, mask_folder, mask_source_key
from dpsdata.sketch import SimplifyConfig, dilate_sketch_array, simplify_edge_map, smooth_sketch

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
        return cls(
            size=config.size,
            resampler=config.resampler,
            hed=hed,
            simplify=SimplifyConfig.for_size(config.size),
            levels=config.levels,
            masks=config.masks,
            mask_keys={family: mask_source_key(family) for family in config.masks},
            seed=config.seed,
        )

    def describe(self) -> list[dict[str, Any]]:
        """The stages for `dataset.json`."""
        hed = {key: value for key, value in self.hed.items() if key not in ("engine", "precision", "weights")}
        rows: list[dict[str, Any]] = [
            {"name": "images", "options": {"size": self.size, "resampler": self.resampler}},
            {"name": "edges", **{key: self.hed[key] for key in ("engine", "precision", "weights")}, "options": hed},
            {"name": "sketches", "options": asdict(self.simplify)},
            {"name": "levels", "options": {"levels": list(self.levels)}},
            {"name": "masks", "options": {"families": list(self.masks), "seed": self.seed}},
        ]
        blank = {"engine": "numpy", "precision": "exact", "weights": None}
        return [{"name": row["name"], "version": STAGE_VERSIONS[row["name"]], **blank, **row} for row in rows]


def stage_key(stage: str, **facts: Any) -> str:
    """Hash of a stage's version and of all that its output depends on."""
    text = json.dumps([stage, STAGE_VERSIONS[stage], facts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


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
    facts: dict[str, float] = field(default_factory=dict)  # line density, hole ratios
    error: str = ""


class SampleBuilder:
    """Makes the missing files of one sample.

    Args:
        options: resolved options.
        net: the HED.
        is_intact: whether a file of an earlier build, by its relative path and size, is still there.
        locate: absolute path of a file of an earlier stage, by its relative path.
        save: stores bytes under a relative path.
    """

    def __init__(
        self,
        options: StageOptions,
        net: HED,
        is_intact: Callable[[str, int], bool],
        locate: Callable[[str], Path],
        save: Callable[[str, bytes], None],
    ) -> None:
        self.options, self.net = options, net
        self.is_intact, self.locate, self.save = is_intact, locate, save

    def run(self, record: SampleRecord, read_source: Callable[[], bytes]) -> SampleRecord:
        """Run the stages whose key or files are not those of `record`, and return the new record.

        Args:
            record: what an earlier build recorded; a new one has no keys.
            read_source: bytes of the photo, called only when the image stage runs.

        Raises:
            BrokenImageError: the photo cannot be read.
            EnvironmentFailure: a file cannot be written.
        """
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
                self._store(new, path, image_key(), encode_png(image))
        edges: NDArray[np.uint16] | None = None
        path, key = f"edges/{name}", stage_key("edges", hed=options.hed, image=new.keys[path])
        if not self._keep(record, new, path, key):
            if image is None:
                image = read_photo(self.locate(f"images/{name}"))
            edges = quantise_edges(self.net.detect(image[None])[0])
            self._store(new, path, key, encode_png(edges))
        sketch: NDArray[np.uint8] | None = None
        path, key = f"sketches/{name}", stage_key("sketches", options=asdict(options.simplify), edges=new.keys[path])
        if not self._keep(record, new, path, key, fact="line_density"):
            if edges is None:
                edges = read_edges(self.locate(f"edges/{name}"))
            sketch = simplify_edge_map(edges, options.simplify)
            new.facts["line_density"] = float(sketch.mean())
            self._store(new, path, key, encode_png(255 - 255 * sketch))
        self._levels(record, new, name, sketch)
        for family in options.masks:
            folder = mask_folder(family)
            path = f"masks/{folder}/{name}"
            key = stage_key(
                "masks", family=family, files=options.mask_keys[family], size=options.size, seed=options.seed, id=new.id
            )
            if not self._keep(record, new, path, key, fact=f"hole_{folder}"):
                mask = make_mask(family, options.size, options.size, options.seed, new.id)
                new.facts[f"hole_{folder}"] = float(mask.mean())
                self._store(new, path, key, encode_png(255 * mask))
        # Files of other families and levels stay on disk and on record: a later build may want them again.
        new.keys = {**record.keys, **new.keys}
        new.files = {**record.files, **new.files}
        new.facts = {**record.facts, **new.facts}
        return new

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
            sketch = read_sketch(self.locate(f"sketches/{name}"))
        smooth = smooth_sketch(torch.from_numpy(sketch.astype(np.float32))[None, None])[0, 0].numpy()
        drawn = dilate_sketch_array(smooth, [level for level, _, _ in missing])
        for (_, path, key), ink in zip(missing, drawn, strict=True):
            self._store(new, path, key, encode_png(255 - np.rint(255 * ink).astype(np.uint8)))

    def _keep(self, record: SampleRecord, new: SampleRecord, path: str, key: str, fact: str = "") -> bool:
        """Take over a file of the earlier record when it is the wanted one and still there."""
        known = path in record.files and (not fact or fact in record.facts)
        if record.keys.get(path) != key or not known or not self.is_intact(path, record.files[path][1]):
            return False
        new.keys[path], new.files[path] = key, record.files[path]
        if fact:
            new.facts[fact] = record.facts[fact]
        return True

    def _store(self, new: SampleRecord, path: str, key: str, data: bytes) -> None:
        self.save(path, data)
        new.keys[path], new.files[path] = key, (hashlib.sha256(data).hexdigest(), len(data))


def quantise_edges(edges: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Edge probabilities as 16 bits: with 8 bits one line pixel in ten moves (hed_and_dataset facts, section 2)."""
    quantised: NDArray[np.uint16] = np.clip(np.rint(edges * np.float32(65535)), 0, 65535).astype(np.uint16)
    return quantised
