"""The bundled hed-judge as a scorer: edges, a perceptual distance and vectors for a Frechet distance, by one forward.

`hedps` and `fd_hed` need no download. They are no LPIPS and no FID: the net was trained to find edges, on few photos.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from dpsdata.hed import HED, load_hed_scorer
from dpseval.metrics.map_distance import mean_distances

NAME = "hedps"
_NORM_FLOOR = 1e-10


@dataclass(frozen=True)
class ScorerFeatures:
    """What one forward of the scorer gives for N photos.

    Attributes:
        edges: float32 (N, H, W) in [0, 1], edge = 1; the same as `HED.detect`.
        maps: for `HedScorer.distances`, float32 (N, C, h, w) for each of five stages, on the device; 2.4 MB a photo at
            256 px.
        vectors: float32 (N, 184), the mean of every channel of the five stages; for `fd_hed` and `kd_hed`.
    """

    edges: NDArray[np.float32]
    maps: list[Tensor]
    vectors: NDArray[np.float32]


class HedScorer:
    """The second edge detector of the package, which building and training never see.

    Args:
        device: `auto`, `cpu`, `cuda`, `cuda:N`.
        net: another HED network; None for the bundled one.

    Attributes:
        name: `hedps`.
        weights_id: SHA-256 of the weight file.

    Raises:
        MissingError: the bundled file is missing or damaged.
        UsageError: no such device.
    """

    def __init__(self, *, device: str = "cpu", net: HED | None = None) -> None:
        self._net = net or load_hed_scorer(device=device)
        self.name = NAME
        self.weights_id = self._net.origin.sha256
        # A fifth each, with no learned weights: all stages count alike.
        self._heads = [
            torch.full((score.in_channels,), 1 / len(self._net.sides), device=self._net.mean_rgb.device)
            for score in self._net.sides
            if isinstance(score, nn.Conv2d)
        ]

    @torch.inference_mode()
    def forward(self, photos: NDArray[np.uint8]) -> ScorerFeatures:
        """Run the net once over a batch.

        Args:
            photos: uint8 RGB (N, H, W, 3) of at least 16 px a side.

        Raises:
            UsageError: wrong type, shape or size.
        """
        stages: list[Tensor] = []

        def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            stages.append(inputs[0])

        # What the side scores read is the end of each stage: taken here, the edges need no second forward.
        hooks = [score.register_forward_pre_hook(keep) for score in self._net.sides]
        try:
            with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # on a GPU, TF32 keeps 3 digits
                edges = self._net.detect(photos)
        finally:
            for hook in hooks:
                hook.remove()
        vectors = torch.cat([stage.mean(dim=(2, 3)) for stage in stages], dim=1).float().cpu().numpy()
        return ScorerFeatures(edges, [_scale(stage, index) for index, stage in enumerate(stages)], vectors)

    def distances(
        self,
        truth_maps: Sequence[Tensor],
        output_maps: Sequence[Tensor],
        regions: Mapping[str, NDArray[np.bool_]],
    ) -> list[dict[str, float]]:
        """`hedps` of K outputs against one truth: 0 for equal photos, near 1 for unrelated ones, at most 2.

        The squared difference of the unit feature vectors, as the mean over a region and over the five stages. The
        maps see further than one pixel, so what lies near a region shows in it.

        Args:
            truth_maps: `ScorerFeatures.maps` of one photo.
            output_maps: those of K photos of the same size.
            regions: name -> bool (H, W); `full` is taken as the whole photo.

        Returns:
            K times region -> distance; NaN in an empty region.

        Raises:
            UsageError: the maps do not belong together.
        """
        return mean_distances(truth_maps, output_maps, self._heads, regions)


def _scale(stage: Tensor, index: int) -> Tensor:
    """Feature vectors of length 1; the first stage at half the size, as it is half of all numbers and the noisiest."""
    scaled = stage / (torch.linalg.vector_norm(stage, dim=1, keepdim=True) + _NORM_FLOOR)
    return F.avg_pool2d(scaled, 2, ceil_mode=True, count_include_pad=False) if index == 0 else scaled
