"""The part of the pass that networks do: each distinct photo through each network at most once, ever.

What a network sees in a photo is kept on disk under the hash of its pixels, so that a second run forwards nothing and
one changed output costs one forward; the maps of truths are kept too, as far as their limit of bytes goes.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dpseval.metrics.regions import region_masks
from dpseval.scoring.cache import FeatureCache, make_key
from dpseval.scoring.pixel_workers import Photo, PhotoMeasures

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from dpseval.metrics.face_networks import FaceNetworks

DTYPE = "float32"
MEMORY_BYTES = 256 * 2**20

_FEATURES_KEY = "look 2"  # 2: with the edges

Features = dict[str, NDArray[np.generic]]


@dataclass
class FeatureMaps:
    """What a network sees in some photos: its maps, (N, C, h, w) each, and features to keep, (N, ...) each."""

    maps: list[Tensor]
    features: dict[str, NDArray[np.generic]] = field(default_factory=dict)


class PairNetwork(Protocol):
    """A network whose maps give a distance between two photos."""

    name: str
    weights_id: str
    has_features: bool

    def extract(self, photos: NDArray[np.uint8]) -> FeatureMaps:
        """One forward of uint8 (N, H, W, 3) photos."""
        ...

    def distances(
        self, truth_maps: Sequence[Tensor], output_maps: Sequence[Tensor], regions: Mapping[str, NDArray[np.bool_]]
    ) -> list[dict[str, float]]:
        """Distance of each of K outputs to one truth, by region."""
        ...


@dataclass(frozen=True)
class ReaderSetup:
    """What every reader needs.

    Attributes:
        features: cache of small things: vectors, lines, distances.
        maps: cache of the maps of truths; they are large, so it has a limit of its own.
        device: where the networks run.
        batch_size: photos in one forward.
    """

    features: FeatureCache
    maps: FeatureCache
    device: torch.device
    batch_size: int


@dataclass(frozen=True)
class PairReading:
    """What one network says of one photo.

    Attributes:
        distances: by hash of the composite, then by region.
        features: by hash, of the composites and of the truth; empty for a network that keeps none.
    """

    distances: dict[str, dict[str, float]]
    features: dict[str, Features]


class PairScorer:
    """Runs a `PairNetwork` over the photos of a run; `forward_count` counts the photos that went through it."""

    def __init__(self, network: PairNetwork, setup: ReaderSetup) -> None:
        self.network, self.setup = network, setup
        self.forward_count = 0
        self._memory = _Memory(MEMORY_BYTES)

    def read(self, photo: PhotoMeasures) -> PairReading:
        """Distances and features of all composites of a photo; only what no cache holds is forwarded."""
        regions = region_masks(photo.mask)
        pictures = {photo.truth_sha256: photo.truth, **photo.composites}
        distances = {sha256: self._stored_distances(photo, sha256, regions) for sha256 in photo.composites}
        features = {sha256: self._stored_features(sha256) for sha256 in pictures}
        apart = [sha256 for sha256 in photo.composites if distances[sha256] is None]
        unseen = [sha256 for sha256 in pictures if features[sha256] is None]
        truth_maps = self._stored_maps(photo.truth_sha256) if apart else None
        wanted = dict.fromkeys([photo.truth_sha256] if apart and truth_maps is None else [])
        wanted.update(dict.fromkeys(unseen))
        held = {sha256: extracted for sha256 in apart if (extracted := self._memory.get(sha256)) is not None}
        wanted.update(dict.fromkeys(sha256 for sha256 in apart if sha256 not in held))
        for sha256, extracted in self._forward(pictures, list(wanted)):
            if sha256 == photo.truth_sha256:
                truth_maps = extracted.maps
                self._keep_maps(sha256, extracted.maps)
            if features[sha256] is None:
                features[sha256] = extracted.features
                self.setup.features.put(self._key(_FEATURES_KEY, sha256), extracted.features)
            if sha256 in distances and distances[sha256] is None and truth_maps is not None:
                distances[sha256] = self._measure(photo, sha256, truth_maps, extracted.maps, regions)
        for sha256, extracted in held.items():
            if distances[sha256] is None and truth_maps is not None:
                distances[sha256] = self._measure(photo, sha256, truth_maps, extracted.maps, regions)
        return PairReading(
            {sha256: value for sha256, value in distances.items() if value is not None},
            {sha256: value for sha256, value in features.items() if value is not None},
        )

    def _key(self, what: str, *hashes: str) -> str:
        return make_key(f"{self.network.name} {what}", list(hashes), "", self.network.weights_id, DTYPE)

    def _stored_distances(
        self, photo: PhotoMeasures, sha256: str, regions: Mapping[str, NDArray[np.bool_]]
    ) -> dict[str, float] | None:
        if sha256 == photo.truth_sha256:
            return {name: 0.0 if region.any() else math.nan for name, region in regions.items()}
        stored = self.setup.features.get(self._key("distance", sha256, photo.truth_sha256, photo.mask_sha256))
        if stored is None or set(stored) != set(regions):
            return None
        return {name: float(stored[name][0]) for name in regions}

    def _stored_features(self, sha256: str) -> Features | None:
        if not self.network.has_features:
            return {}
        held = self._memory.get(sha256)
        return (
            held.features
            if held is not None and held.features
            else self.setup.features.get(self._key(_FEATURES_KEY, sha256))
        )

    def _stored_maps(self, sha256: str) -> list[Tensor] | None:
        import torch

        held = self._memory.get(sha256)
        if held is not None:
            return held.maps
        stored = self.setup.maps.get(self._key("maps", sha256))
        if stored is None:
            return None
        maps = [torch.from_numpy(stored[f"{index}"].copy()).to(self.setup.device) for index in range(len(stored))]
        self._memory.put(sha256, FeatureMaps(maps))
        return maps

    def _keep_maps(self, sha256: str, maps: list[Tensor]) -> None:
        arrays = {f"{index}": value.detach().cpu().contiguous().numpy() for index, value in enumerate(maps)}
        self.setup.maps.put(self._key("maps", sha256), arrays)

    def _measure(
        self,
        photo: PhotoMeasures,
        sha256: str,
        truth_maps: list[Tensor],
        output_maps: list[Tensor],
        regions: Mapping[str, NDArray[np.bool_]],
    ) -> dict[str, float]:
        found = self.network.distances(truth_maps, output_maps, regions)[0]
        arrays = {name: np.array([found[name]], np.float64) for name in regions}
        self.setup.features.put(self._key("distance", sha256, photo.truth_sha256, photo.mask_sha256), arrays)
        return found

    def _forward(self, pictures: Mapping[str, Photo], hashes: Sequence[str]) -> Iterator[tuple[str, FeatureMaps]]:
        for part in _parts(hashes, self.setup.batch_size):
            extracted = self.network.extract(np.stack([pictures[sha256] for sha256 in part]))
            self.forward_count += len(part)
            for index, sha256 in enumerate(part):
                maps = [value[index : index + 1] for value in extracted.maps]
                own = maps if len(part) == 1 else [value.clone() for value in maps]
                alone = FeatureMaps(own, {name: value[index] for name, value in extracted.features.items()})
                self._memory.put(sha256, alone)
                yield sha256, alone


class FeatureExtractor:
    """Runs a network that turns each photo into one vector, such as Inception; keeps all vectors of a run.

    Args:
        name: of the network, in keys and counts.
        weights_id: SHA-256 of its weights.
        prep: name of its preprocessing.
        forward: uint8 (N, H, W, 3) -> float32 (N, D).
        setup: caches, device and batch size.
    """

    def __init__(
        self,
        name: str,
        weights_id: str,
        prep: str,
        forward: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
        setup: ReaderSetup,
    ) -> None:
        self.name, self.weights_id, self.prep, self.setup = name, weights_id, prep, setup
        self.vectors: dict[str, NDArray[np.float32]] = {}
        self.forward_count = 0
        self._forward = forward

    def read(self, photo: PhotoMeasures) -> None:
        """Find or compute the vectors of a photo's truth and composites."""
        pictures = {photo.truth_sha256: photo.truth, **photo.composites}
        unseen = [sha256 for sha256 in pictures if sha256 not in self.vectors and not self._find(sha256)]
        for part in _parts(unseen, self.setup.batch_size):
            vectors = self._forward(np.stack([pictures[sha256] for sha256 in part]))
            self.forward_count += len(part)
            for sha256, vector in zip(part, vectors, strict=True):
                self.vectors[sha256] = np.array(vector)
                self.setup.features.put(self._key(sha256), {"vector": self.vectors[sha256]})

    def _key(self, sha256: str) -> str:
        return make_key(self.name, [sha256], self.prep, self.weights_id, DTYPE)

    def _find(self, sha256: str) -> bool:
        stored = self.setup.features.get(self._key(sha256))
        if stored is None:
            return False
        self.vectors[sha256] = stored["vector"]
        return True


@dataclass(frozen=True)
class FaceReading:
    """A face in an output, by the landmarks of its truth.

    Attributes:
        similarity: cosine of both descriptors.
        nme: landmark error over all points, and over those in the hole.
    """

    similarity: float
    nme: dict[str, float]


class FaceReader:
    """Runs the networks of faces; every face is cut out where its truth has it, so that no failure drops out."""

    def __init__(self, networks: FaceNetworks, setup: ReaderSetup) -> None:
        self.networks, self.setup = networks, setup
        self.name, self.weights_id = networks.name, networks.weights_id
        self.forward_count = 0
        self.truths: dict[str, NDArray[np.float32]] = {}

    def read(self, photo: PhotoMeasures) -> dict[str, FaceReading]:
        """What is left of the truth's face in each composite, by its hash."""
        from dpseval.metrics.face_networks import cosine, landmark_error

        truth = self._read(photo.truth, None, photo.truth_sha256)
        self.truths[photo.truth_sha256] = truth["descriptor"]
        readings = {}
        for sha256, picture in photo.composites.items():
            is_truth = sha256 == photo.truth_sha256
            made = truth if is_truth else self._read(picture, truth["anchor"], sha256, photo.truth_sha256)
            nme = {
                "full": landmark_error(made["points"], truth["points"]),
                "hole": landmark_error(made["points"], truth["points"], photo.mask),
            }
            readings[sha256] = FaceReading(cosine(made["descriptor"], truth["descriptor"]), nme)
        return readings

    def describe_truth(self, picture: Photo, sha256: str) -> NDArray[np.float32]:
        """The descriptor, (128,), of a photo that is a reference itself, such as one of a training set."""
        return np.asarray(self._read(picture, None, sha256)["descriptor"], np.float32)

    def _read(self, picture: Photo, anchor: NDArray[Any] | None, *hashes: str) -> dict[str, NDArray[Any]]:
        """Descriptor and points of a picture; the points of its truth, `anchor`, say where its face is."""
        from dpseval.metrics.face_networks import points_box

        key = make_key(self.name, list(hashes), "", self.weights_id, DTYPE)
        found = self.setup.features.get(key)
        if found is None:
            self.forward_count += 1
            place = self.networks.find_points(picture) if anchor is None else anchor
            points = self.networks.place_points(picture, points_box(place))
            found = {"descriptor": self.networks.describe(picture, place), "points": points, "anchor": place}
            self.setup.features.put(key, found)
        return found


class _Memory:
    """What was seen in the last photos, so that equal outputs of several photos are forwarded once."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit, self._held_bytes = limit_bytes, 0
        self._maps_by_hash: OrderedDict[str, FeatureMaps] = OrderedDict()

    def get(self, sha256: str) -> FeatureMaps | None:
        extracted = self._maps_by_hash.get(sha256)
        if extracted is not None:
            self._maps_by_hash.move_to_end(sha256)
        return extracted

    def put(self, sha256: str, extracted: FeatureMaps) -> None:
        if sha256 in self._maps_by_hash:
            self._held_bytes -= _count_bytes(self._maps_by_hash.pop(sha256))
        self._maps_by_hash[sha256] = extracted
        self._held_bytes += _count_bytes(extracted)
        while self._held_bytes > self._limit and len(self._maps_by_hash) > 1:
            self._held_bytes -= _count_bytes(self._maps_by_hash.popitem(last=False)[1])


def _count_bytes(extracted: FeatureMaps) -> int:
    maps = sum(value.numel() * value.element_size() for value in extracted.maps)
    return maps + sum(value.nbytes for value in extracted.features.values())


def _parts(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
