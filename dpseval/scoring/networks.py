"""The networks of a run: the bundled judge always, LPIPS and Inception where their weights are installed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dpsdata.contracts import MissingError
from dpsdata.runtime.device import choose_device
from dpseval.metrics.faithfulness import thin_output_edges
from dpseval.scoring.cache import FeatureCache
from dpseval.scoring.config import ScoreConfig
from dpseval.scoring.network_readers import Look, PairReader, ReaderSetup, VectorReader

if TYPE_CHECKING:
    from torch import Tensor

    from dpseval.metrics.hedps import Judge
    from dpseval.metrics.lpips import Lpips

INCEPTION_METRICS = ("fid", "kid")
# At 256 px a picture takes some 20 kB of vectors and lines, and a truth 2.4 MB of maps for each network.
VALUE_BYTES, MAP_BYTES = 4 * 2**30, 8 * 2**30
_GPU_BATCH = 16


@dataclass(frozen=True)
class Readers:
    """The networks of a run.

    Attributes:
        judge: of edges, hedps and the vectors of fd_hed.
        lpips: one for each net that is installed.
        inception: None where its weights are missing.
        missing: for each metric that cannot be measured, the note of its cells.
        features: cache of small things.
        maps: cache of the maps of truths.
    """

    judge: PairReader
    lpips: tuple[PairReader, ...]
    inception: VectorReader | None
    missing: dict[str, str]
    features: FeatureCache
    maps: FeatureCache

    @property
    def weights(self) -> dict[str, str]:
        """SHA-256 of the weights behind each metric."""
        judge = self.judge.network.weights_id
        found = {"hedps": judge, "fd_hed": judge, "kd_hed": judge}
        found |= {reader.network.name: reader.network.weights_id for reader in self.lpips}
        if self.inception is not None:
            found |= dict.fromkeys(INCEPTION_METRICS, self.inception.weights_id)
        return dict(sorted(found.items()))

    @property
    def forwards(self) -> dict[str, int]:
        """Photos that went through each network."""
        counts = {reader.network.name: reader.forward_count for reader in (self.judge, *self.lpips)}
        if self.inception is not None:
            counts[self.inception.name] = self.inception.forward_count
        return counts


class JudgeNetwork:
    """The judge as a `PairNetwork`; keeps the thin lines of its edges, packed, and its vectors."""

    name = "hedps"
    has_features = True

    def __init__(self, judge: Judge) -> None:
        self._judge, self.weights_id = judge, judge.weights_id

    def look(self, photos: NDArray[np.uint8]) -> Look:
        """Edges, maps and vectors of uint8 (N, H, W, 3) photos by one forward."""
        seen = self._judge.forward(photos)
        lines = np.stack([np.packbits(thin_output_edges(edges)) for edges in seen.edges])
        return Look(seen.maps, {"lines": lines, "vector": seen.vectors})

    def distances(
        self, truth_maps: Sequence[Tensor], output_maps: Sequence[Tensor], regions: Mapping[str, NDArray[np.bool_]]
    ) -> list[dict[str, float]]:
        """The hedps of each output, by region."""
        return self._judge.distances(truth_maps, output_maps, regions)


class LpipsNetwork:
    """LPIPS as a `PairNetwork`."""

    has_features = False

    def __init__(self, lpips: Lpips) -> None:
        self._lpips, self.name, self.weights_id = lpips, lpips.name, lpips.weights_id

    def look(self, photos: NDArray[np.uint8]) -> Look:
        """Maps of uint8 (N, H, W, 3) photos."""
        return Look(self._lpips.extract(photos))

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
    from dpsdata.weights.known.inception import INCEPTION
    from dpsdata.weights.known.lpips_backbones import BACKBONES

    needs: dict[str, str] = dict.fromkeys(INCEPTION_METRICS, INCEPTION)
    needs |= {f"lpips_{net}": BACKBONES[net].weights for net in config.lpips_nets}
    missing = {
        metric: f"weights missing: dps weights get {name}"
        for metric, name in needs.items()
        if not weights.installed(name)
    }
    lacking = [metric for metric in config.require if metric in missing]
    if lacking:
        commands = dict.fromkeys(f"`dps weights get {needs[metric]}`" for metric in lacking)
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
    from dpseval.metrics.hedps import Judge

    device = choose_device(config.device)
    features, maps = open_caches(config)
    setup = ReaderSetup(features, maps, device, config.batch_size or (1 if device.type == "cpu" else _GPU_BATCH))
    judge = PairReader(JudgeNetwork(Judge(device=str(device))), setup)
    lpips = []
    for net in config.lpips_nets:
        if f"lpips_{net}" not in missing:
            from dpseval.metrics.lpips import load_lpips

            lpips.append(PairReader(LpipsNetwork(load_lpips(net, device=str(device))), setup))
    inception = None if "fid" in missing else _load_inception(config, setup)
    return Readers(judge, tuple(lpips), inception, dict(missing), features, maps)


def open_caches(config: ScoreConfig) -> tuple[FeatureCache, FeatureCache]:
    """The cache of small things, and that of the maps of truths; each has its own limit of bytes."""
    root = config.cache or default_cache_folder()
    return (
        FeatureCache(root / "values", VALUE_BYTES, enabled=config.use_cache),
        FeatureCache(root / "maps", MAP_BYTES, enabled=config.use_cache),
    )


def default_cache_folder() -> Path:
    """Where features are kept when no folder is named: beside the installed weights."""
    from dpsdata.weights.store import home_folder

    return home_folder() / "features"


def _load_inception(config: ScoreConfig, setup: ReaderSetup) -> VectorReader:
    from dpseval.metrics.inception import load_inception

    network = load_inception(device=str(setup.device))

    def forward(photos: NDArray[np.uint8]) -> NDArray[np.float32]:
        return network.extract(photos, config.prep, len(photos))

    return VectorReader(network.name, network.weights_id, config.prep, forward, setup)
