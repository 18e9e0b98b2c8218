"""Distances between two lists of feature maps, as means over regions of the photo; for LPIPS and hedps alike."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from dpsdata.contracts import UsageError


@cache
def _upsampling(size: int, large: int) -> NDArray[np.float64]:
    """The matrix (large, size) of bilinear upsampling along one axis."""
    identity = torch.eye(size, dtype=torch.float64)
    return F.interpolate(identity[None], size=large, mode="linear", align_corners=False)[0].numpy().T


@lru_cache(maxsize=16)  # the outputs of one photo share their regions and come one after the other
def _mean_weights(packed: bytes, shape: tuple[int, int], size: tuple[int, int]) -> NDArray[np.float64]:
    region = np.frombuffer(packed, np.bool_).reshape(shape)
    rows, columns = (_upsampling(small, large) for small, large in zip(size, shape, strict=True))
    return np.asarray((rows.T @ region @ columns).ravel() / np.count_nonzero(region))


def region_weights(region: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.float64]:
    """Weights that turn a map into the region's mean of that map upsampled to the photo's size.

    The upsampling is linear, so its transpose on the region gives the same mean without upsampling any map.

    Args:
        region: bool (H, W), not empty.
        size: (height, width) of the map.

    Returns:
        float64 (height * width,), with a sum of 1.
    """
    height, width = region.shape
    return _mean_weights(np.ascontiguousarray(region).tobytes(), (height, width), size)


@torch.inference_mode()
def mean_distances(
    truth_maps: Sequence[Tensor],
    output_maps: Sequence[Tensor],
    heads: Sequence[Tensor],
    regions: Mapping[str, NDArray[np.bool_]],
) -> list[dict[str, float]]:
    """Sum over the maps of the weighted squared difference of channels, as means over regions.

    Args:
        truth_maps: of one truth: (1, C, h, w) each.
        output_maps: of K outputs: (K, C, h, w) each, of the same sizes.
        heads: weights of the channels of each map, (C,) each.
        regions: name -> bool (H, W). `full` is the plain mean of each map, any other name that of the upsampled map.

    Returns:
        K times region -> distance; NaN in an empty region.

    Raises:
        UsageError: the maps do not belong together.
    """
    if not len(truth_maps) == len(output_maps) == len(heads):
        raise UsageError(f"maps: expected {len(heads)} of each, got {len(truth_maps)} and {len(output_maps)}")
    for truth, output in zip(truth_maps, output_maps, strict=True):
        if truth.shape[0] != 1 or truth.shape[1:] != output.shape[1:]:
            raise UsageError(
                f"maps: expected one truth and outputs of its size, got {tuple(truth.shape)} and {tuple(output.shape)}"
            )
    count = int(output_maps[0].shape[0])
    present = {name: region for name, region in regions.items() if region.any()}
    sums = {name: np.full(count, 0.0 if name in present else math.nan) for name in regions}
    for truth, output, head in zip(truth_maps, output_maps, heads, strict=True):
        size = (int(truth.shape[2]), int(truth.shape[3]))
        # Rows of channels, so that maps out of a cache, in another layout, give the same bits as fresh ones.
        ours = truth[0].permute(1, 2, 0).reshape(-1, truth.shape[1]).contiguous()
        for index in range(count):
            theirs = output[index].permute(1, 2, 0).reshape(ours.shape).contiguous()
            spatial = ((theirs - ours).square_() @ head).double().cpu().numpy()
            for name, region in present.items():
                mean = spatial.mean() if name == "full" else spatial @ region_weights(region, size)
                sums[name][index] += mean
    return [{name: float(values[index]) for name, values in sums.items()} for index in range(count)]
