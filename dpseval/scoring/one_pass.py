"""The one pass over the files: each photo decoded once, measured, seen by every network, and turned into rows."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dpsdata.images.arrays import hash_look
from dpsdata.runtime.progress import track
from dpsdata.sketch.simplify import thin_lines
from dpseval.metrics.faithfulness import EdgeScores, score_edges
from dpseval.metrics.pixels import plane_map, ssim_over
from dpseval.metrics.regions import REGIONS
from dpseval.pairing.files import PairingIssue, SetKey
from dpseval.pairing.pairs import Pairing, refused_findings
from dpseval.scoring.cache import hash_pixels
from dpseval.scoring.config import ScoreConfig
from dpseval.scoring.gallery import WORST_REGION, GalleryPicker
from dpseval.scoring.network_readers import PairReading
from dpseval.scoring.networks import Readers
from dpseval.scoring.pixel_workers import PhotoMeasures, measure_photos

Row = dict[str, str | float | None]

IMAGE_COLUMNS = (
    "id", "method", "level", "region", "hole_ratio", "psnr", "ssim", "l1", "lpips_alex", "hedps", "known_drift",
    "edge_f_drawn", "edge_f_refined", "chamfer_px", "mse", "edge_density", "hed_ssim", "lineart_ssim",
    "id_similarity", "landmark_nme",
)  # fmt: skip


@dataclass
class PassResult:
    """What the pass gives.

    Attributes:
        rows: of the per-image table, by photo, set and region.
        hashes: for each set the hashes of its composites, and those of their truths.
        scorer_vectors: of every distinct picture.
        findings: those that only pixels show.
        photo_hashes: id, then hashes of truth, mask and drawn sketch, of every photo that is scored.
        looks: perceptual hashes of each photo by id, as it is and mirrored.
        decode_count: files decoded.
    """

    rows: list[Row] = field(default_factory=list)
    hashes: dict[SetKey, list[tuple[str, str]]] = field(default_factory=dict)
    scorer_vectors: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    findings: list[PairingIssue] = field(default_factory=list)
    photo_hashes: list[tuple[str, str, str, str]] = field(default_factory=list)
    looks: dict[str, tuple[str, str]] = field(default_factory=dict)
    decode_count: int = 0

    def digest(self, part: int) -> str:
        """One hash over a part of `photo_hashes`, in the order of the ids: 0 ids, 1 truths, 2 masks, 3 sketches."""
        total = hashlib.sha256()
        for item in sorted(self.photo_hashes):
            total.update(f"{item[0]}\0{item[part]}\n".encode())
        return total.hexdigest()


def run_pass(
    pairing: Pairing,
    config: ScoreConfig,
    readers: Readers,
    picker: GalleryPicker,
    announce: Callable[[str], None] | None = None,
) -> PassResult:
    """Measure everything.

    A finding that is not allowed ends the work of the networks, but every file is still looked at, so that the list
    of findings is whole.

    Args:
        pairing: inspected, without what was left out.
        config: workers, allowed findings.
        readers: the networks.
        picker: takes the pictures of the gallery.
        announce: called with a line a minute.
    """
    result = PassResult(hashes={key: [] for key in pairing.keys})
    is_refused = False
    own_ids = "unequal-ids" in config.allow
    measured = measure_photos(pairing.photos, config.workers, config.engine, config.address, config.protocols)
    for photo in track(measured, len(pairing.photos), "photo", announce):
        result.findings += photo.findings
        result.decode_count += photo.decode_count
        if photo.findings:
            is_refused = is_refused or bool(refused_findings(pairing, photo.findings, config.allow))
        # In one set only where sets may hold different photos; otherwise the photo leaves them all.
        is_left_out = not photo.outputs or (bool(photo.findings) and not own_ids)
        if not (is_refused or is_left_out):
            _score_photo(photo, pairing, readers, picker, result)
    order = {key: index for index, key in enumerate(pairing.keys)}
    result.rows.sort(key=lambda row: order[SetKey(str(row["method"]), row["level"])])  # type: ignore[arg-type]
    return result


def _score_photo(
    photo: PhotoMeasures, pairing: Pairing, readers: Readers, picker: GalleryPicker, result: PassResult
) -> None:
    seen = readers.scorer.read(photo)
    distances = {readers.scorer.network.name: seen}
    distances |= {reader.network.name: reader.read(photo) for reader in readers.lpips}
    for reader in readers.spaces.values():
        reader.read(photo)
    for sha256, features in seen.features.items():
        result.scorer_vectors.setdefault(sha256, np.asarray(features["vector"], np.float32))
    faces = {} if readers.faces is None else readers.faces.read(photo)
    is_thin = pairing.sketches is None
    drawn = photo.sketch if photo.sketch is None or is_thin else thin_lines(photo.sketch)
    edges = _EdgeScorer(photo, seen, drawn)
    in_hole: dict[SetKey, dict[str, float]] = {}
    for key, output in photo.outputs.items():
        result.hashes[key].append((output.composite_sha256, photo.truth_sha256))
        for region in REGIONS:
            row: Row = dict.fromkeys(IMAGE_COLUMNS, math.nan)
            row |= {"id": photo.id, "method": key.method, "level": key.level, "region": region}
            row |= {"hole_ratio": photo.hole_ratio, **output.pixels.rows[region]}
            row |= {name: found.distances[output.composite_sha256][region] for name, found in distances.items()}
            if region in ("full", "hole"):
                row |= edges.compare(output.composite_sha256, region)
                if faces:
                    row["landmark_nme"] = faces[output.composite_sha256].nme[region]
            if region == "full":
                if faces:
                    row["id_similarity"] = faces[output.composite_sha256].similarity
                row["known_drift"] = output.pixels.known_drift
            if region == "hole":
                row |= edges.score(output.composite_sha256, output.refined)
            result.rows.append(row)
            if region == WORST_REGION:
                in_hole[key] = {name: float(row[name]) for name in ("psnr", "hedps")}  # type: ignore[arg-type]
    picker.see(photo, in_hole)
    result.looks[photo.id] = (hash_look(photo.truth), hash_look(np.ascontiguousarray(photo.truth[:, ::-1])))
    sketch_sha256 = "" if drawn is None else hash_pixels(drawn)
    result.photo_hashes.append((photo.id, photo.truth_sha256, photo.mask_sha256, sketch_sha256))


class _EdgeScorer:
    """Faithfulness of the outputs of one photo; equal composites are scored once against the drawn sketch."""

    def __init__(self, photo: PhotoMeasures, seen: PairReading, drawn: NDArray[np.uint8] | None) -> None:
        self._photo, self._seen, self._drawn = photo, seen, drawn
        self._done: dict[str, EdgeScores] = {}
        self._maps: dict[str, dict[str, NDArray[np.float64]]] = {}

    def _lines(self, sha256: str) -> NDArray[np.uint8]:
        height, width = self._photo.mask.shape
        packed = np.asarray(self._seen.features[sha256]["lines"], np.uint8)
        return np.unpackbits(packed, count=height * width).reshape(height, width)

    def compare(self, sha256: str, region: str) -> Row:
        """SSIM of the output's edges to the truth's, and of its thin lines to the drawn sketch, as in ControlNet++.

        Source: Li et al., ControlNet++, ECCV 2024, section 4.1: the condition against the map of the output.
        """
        if sha256 not in self._maps:
            edges, truth = (
                np.asarray(self._seen.features[item]["edges"], np.uint8) for item in (sha256, self._photo.truth_sha256)
            )
            self._maps[sha256] = {"hed_ssim": plane_map(edges, truth)}
            if self._drawn is not None:
                lines = plane_map(self._lines(sha256) * np.uint8(255), self._drawn * np.uint8(255))
                self._maps[sha256]["lineart_ssim"] = lines
        chosen = None if region == "full" else self._photo.mask == 1
        return {name: ssim_over(found, chosen) for name, found in self._maps[sha256].items()}

    def score(self, sha256: str, refined: NDArray[np.uint8] | None) -> Row:
        lines = self._lines(sha256)
        row: Row = {}
        if self._drawn is not None:
            if sha256 not in self._done:
                self._done[sha256] = score_edges(lines, self._drawn, self._photo.mask)
            found = self._done[sha256]
            row = {"edge_f_drawn": found.f, "chamfer_px": found.chamfer_px, "edge_density": found.output_density}
        if refined is not None:
            found = score_edges(lines, thin_lines(refined), self._photo.mask)
            row["edge_f_refined"] = found.f
        return row
