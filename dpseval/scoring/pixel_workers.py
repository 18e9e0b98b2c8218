"""The part of the pass that worker processes do: decode each file of a photo once, check, composite, measure pixels.

Nothing here loads torch, so that a worker starts in about a second.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dpsdata.contracts import BrokenImageError, MissingError
from dpsdata.engines import Job, open_engine
from dpsdata.images.codec import read_mask, read_photo, read_sketch
from dpsdata.masks import make_mask
from dpsdata.runtime.processes import core_count
from dpsdata.sketch.reading import read_sketch_file, read_sketch_pixels
from dpseval.metrics.pixels import PixelMetrics, PixelTruth
from dpseval.metrics.published import score_as
from dpseval.metrics.regions import composite, hole_ratio
from dpseval.pairing.files import OutputFile, PairingIssue, PhotoFiles, SetKey, StoredFile
from dpseval.scoring.cache import hash_pixels

Photo = NDArray[np.uint8]

# A lossy file changes the intact part by a level or two; what was painted differs by far more.
_INTACT_LEVELS, _PAINTED_RATIO = 2.0, 5.0
_MAX_LINES = 0.5
_COLORED, _MIN_COLORED = 32, 0.0005  # levels between channels, and the share from which a sketch is one in colours


@dataclass(frozen=True)
class OutputMeasures:
    """What the pixels of one output give.

    Attributes:
        composite_sha256: of the output inside of the hole with the truth around it.
        pixels: PSNR, SSIM, L1 and drift.
        refined: (H, W) in {0, 1}, line = 1, not thinned; None where there is none.
    """

    composite_sha256: str
    pixels: PixelMetrics
    refined: NDArray[np.uint8] | None


@dataclass(frozen=True)
class PhotoMeasures:
    """One photo, measured; or only its findings, where something is wrong with all of it.

    Attributes:
        id: of the sample.
        findings: `unreadable`, `inverted-mask`, `empty-mask`, `inverted-sketch`.
        truth: uint8 (H, W, 3).
        truth_sha256: of its pixels.
        mask: uint8 (H, W), hole = 1.
        mask_sha256: of its pixels.
        sketch: uint8 (H, W), line = 1, as drawn; None where there is none.
        hole_ratio: in [0, 1].
        composites: the distinct composites by their hash.
        outputs: by set.
        decode_count: files decoded.
    """

    id: str
    findings: tuple[PairingIssue, ...] = ()
    truth: Photo = field(default_factory=lambda: np.zeros((0, 0, 3), np.uint8))
    truth_sha256: str = ""
    mask: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((0, 0), np.uint8))
    mask_sha256: str = ""
    sketch: NDArray[np.uint8] | None = None
    hole_ratio: float = 0.0
    composites: dict[str, Photo] = field(default_factory=dict)
    outputs: dict[SetKey, OutputMeasures] = field(default_factory=dict)
    decode_count: int = 0


def measure_photo(files: PhotoFiles, protocols: Sequence[str] = ()) -> PhotoMeasures:
    """Decode, check and measure everything of one photo; equal files are decoded and measured once.

    Args:
        files: that passed the checks of their headers.
        protocols: published ways to score that are added to the rows of the whole photo.

    Raises:
        MissingError: the photo of the dataset is damaged.
    """
    try:
        truth = read_photo(files.truth)
    except BrokenImageError as error:
        raise MissingError(f"{files.truth}: {error}; `dpsdata verify` checks the dataset") from None
    reader = _Reader(files)
    mask, sketch = reader.mask(), reader.sketch()
    if mask is None or reader.findings:
        return PhotoMeasures(files.id, tuple(reader.findings))
    shared = PixelTruth(truth, mask)
    composites: dict[str, Photo] = {}
    outputs: dict[SetKey, OutputMeasures] = {}
    measured: dict[bytes, tuple[str, PixelMetrics]] = {}
    for output in files.outputs:
        read = reader.output(output)
        if read is None:
            continue
        content, raw = read
        problem = find_inverted(raw, truth, mask)
        if problem:
            reader.add("inverted-mask", output.path, problem, output.key)
            continue
        if content not in measured:
            whole = composite(raw, truth, mask)
            sha256 = hash_pixels(whole)
            composites.setdefault(sha256, whole)
            pixels = shared.measure(raw)
            for protocol in protocols:
                pixels.rows["full"].update(score_as(protocol, whole, truth))
            measured[content] = (sha256, pixels)
        refined = reader.refined(output, mask)
        if output.refined is None or refined is not None:
            outputs[output.key] = OutputMeasures(*measured[content], refined)
    return PhotoMeasures(
        files.id,
        tuple(reader.findings),
        truth,
        hash_pixels(truth),
        mask,
        hash_pixels(mask),
        sketch,
        hole_ratio(mask),
        composites,
        outputs,
        reader.decode_count + 1,
    )


def find_inverted(output: Photo, truth: Photo, mask: NDArray[np.uint8]) -> str:
    """A sentence where the photo is intact inside the hole and changed outside of it; otherwise an empty text.

    Args:
        output: uint8 (H, W, 3), before compositing.
        truth: the same shape.
        mask: uint8 (H, W), hole = 1.
    """
    hole = mask == 1
    if hole.all() or not hole.any():
        return ""
    difference = np.abs(output.astype(np.int16) - truth.astype(np.int16))
    inside, outside = float(difference[hole].mean()), float(difference[~hole].mean())
    exact = inside == 0 < outside
    if not exact and not (inside < _INTACT_LEVELS and outside > _PAINTED_RATIO * max(inside, 1.0)):
        return ""
    return (
        f"the hole holds the photo itself (it differs by {inside:.2g} levels), and what lies around it differs by "
        f"{outside:.2g}: white must be the hole"
    )


class _Reader:
    """Decodes the files of one photo; counts, and collects what is wrong."""

    def __init__(self, files: PhotoFiles) -> None:
        self.files = files
        self.findings: list[PairingIssue] = []
        self.decode_count = 0
        self._decoded: dict[bytes, Photo] = {}

    def add(self, kind: str, path: StoredFile, reason: str, key: SetKey | None = None) -> None:
        self.findings.append(PairingIssue(kind, str(path), reason, self.files.id, key))

    def mask(self) -> NDArray[np.uint8] | None:
        source, size = self.files.mask, self.files.size
        try:
            if source.packed is not None:  # read, checked and counted before the pass
                self.decode_count += 1
                return np.unpackbits(source.packed, count=size * size).reshape(size, size)
            if source.path is not None:
                self.decode_count += 1
                return read_mask(source.path)
            mask = make_mask(source.family, size, size, source.seed, self.files.id)
        except BrokenImageError as error:
            self.add("unreadable", source.path or Path(source.family), str(error))
            return None
        if not mask.any():
            self.add("empty-mask", Path(source.family), f"no hole for {self.files.id}")
            return None
        return mask

    def sketch(self) -> NDArray[np.uint8] | None:
        path = self.files.sketch
        if path is None:
            return None
        try:
            lines = (read_sketch_file(path).pixels < 128).astype(np.uint8) if self.files.is_drawn else read_sketch(path)
        except BrokenImageError as error:
            self.add("unreadable", path, str(error))
            return None
        self.decode_count += 1
        if lines.mean() > _MAX_LINES:
            self.add("inverted-sketch", path, f"{lines.mean():.0%} of it are lines; draw black on white")
        return lines

    def output(self, output: OutputFile) -> tuple[bytes, Photo] | None:
        try:
            data = output.path.read_bytes()
            content = hashlib.sha256(data).digest()
            if content not in self._decoded:
                self._decoded[content] = read_photo(data)
                self.decode_count += 1
        except OSError as error:
            self.add("unreadable", output.path, error.strerror or str(error), output.key)
            return None
        except BrokenImageError as error:
            self.add("unreadable", output.path, str(error), output.key)
            return None
        return content, self._decoded[content]

    def refined(self, output: OutputFile, mask: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
        """A refined sketch: grey and soft as we write it, or in colours as other programs may."""
        if output.refined is None:
            return None
        try:
            pixels = read_photo(output.refined)
            lines = read_sketch(output.refined)
            if (np.ptp(pixels, axis=2) >= _COLORED).mean() > _MIN_COLORED:
                lines = (read_sketch_pixels(pixels).pixels < 128).astype(np.uint8)
        except BrokenImageError as error:
            self.add("unreadable", output.refined, str(error), output.key)
            return None
        self.decode_count += 1
        known = mask == 0 if (mask == 0).any() else mask == 1
        share = lines[known].mean()
        if share > _MAX_LINES:
            reason = f"{share:.0%} of it are lines where the photo is known; draw black on white"
            self.add("inverted-sketch", output.refined, reason, output.key)
            return None
        return lines


def _start_worker(protocols: Sequence[str] = ()) -> Callable[[PhotoFiles], PhotoMeasures]:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    cv2.setNumThreads(1)
    return partial(measure_photo, protocols=protocols)


def measure_photos(
    photos: Sequence[PhotoFiles],
    workers: int,
    engine: str = "local",
    address: str | None = None,
    protocols: Sequence[str] = (),
) -> Iterator[PhotoMeasures]:
    """Measure all photos and yield them in their order, whatever the number of workers.

    Args:
        photos: to measure.
        workers: processes; 0 for one a core, 1 for this process alone; or actors of the cluster, 0 for all.
        engine: `local` or `ray`.
        address: of a running Ray cluster.
        protocols: of `measure_photo`.

    Raises:
        EnvironmentFailure: workers were killed again and again.
        MissingError: a photo of the dataset is damaged.
    """
    count = workers if engine == "ray" else min(workers or core_count(), max(1, len(photos)))
    if engine == "local" and count == 1:
        yield from map(partial(measure_photo, protocols=protocols), photos)
        return
    # Few ahead, as each holds the pictures of a photo.
    job = Job(prepare=partial(_start_worker, protocols), is_ordered=True, tasks_ahead=3)
    yield from open_engine(engine, count, address).run(job, photos)
