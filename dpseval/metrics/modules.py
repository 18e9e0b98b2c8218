"""The metrics as `torchmetrics.Metric` classes, on the functions that `score` uses; for anybody's training loop.

Every `update(output, truth, mask=None, sketch=None)` takes contract tensors: photos (N, 3, H, W) RGB in [-1, 1], masks
(N, 1, H, W) in {0, 1} with hole = 1, sketches (N, 1, H, W) in [0, 1] with line = 1. Photos are rounded to 8 bit, and
the truth is put around the hole, as `score` does it. Without a mask the whole photo is the hole. States add up over
processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric

from dpsdata.contracts import UsageError, check_mask, check_photo, check_sketch
from dpsdata.images.arrays import tensor_to_photo
from dpsdata.sketch.simplify import thin_lines
from dpseval.metrics.faithfulness import score_edges, thin_output_edges
from dpseval.metrics.frechet import frechet_distance
from dpseval.metrics.hedps import HedScorer
from dpseval.metrics.lpips import Lpips, load_lpips
from dpseval.metrics.pixels import PixelTruth
from dpseval.metrics.regions import REGIONS, composite, region_masks

Photo = NDArray[np.uint8]


class _Means(Metric):
    """Means of named values; an image without a value, such as one with an empty region, plays no part."""

    full_state_update = False

    def __init__(self, names: tuple[str, ...], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.names = names
        self.add_state("sums", torch.zeros(len(names), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("counts", torch.zeros(len(names), dtype=torch.float64), dist_reduce_fx="sum")

    sums: Tensor
    counts: Tensor

    def _add(self, values: Mapping[str, float]) -> None:
        found = torch.tensor([values[name] for name in self.names], dtype=torch.float64, device=self.sums.device)
        self.sums += torch.where(found.isnan(), 0.0, found)
        self.counts += (~found.isnan()).to(torch.float64)

    def compute(self) -> dict[str, Tensor]:
        """By name, float64; NaN where no image had a value."""
        return dict(zip(self.names, self.sums / self.counts, strict=True))


class RegionPSNR(_Means):
    """PSNR in dB by region (`full`, `hole`, `ring`), the mean over images; inf where an image equals its truth."""

    higher_is_better = True
    _column = "psnr"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(REGIONS, **kwargs)

    def update(self, output: Tensor, truth: Tensor, mask: Tensor | None = None, sketch: Tensor | None = None) -> None:
        """Add N photos; the sketch plays no part."""
        for made, real, hole in _photos(output, truth, mask):
            rows = PixelTruth(real, hole).measure(made).rows
            self._add({name: rows[name][self._column] for name in REGIONS})


class RegionSSIM(RegionPSNR):
    """SSIM by region, as Wang et al. define it, the mean over images; in [-1, 1]."""

    _column = "ssim"


class _Distances(_Means):
    """A network's distance by region."""

    higher_is_better = False

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(REGIONS, **kwargs)

    def _maps(self, photo: Photo) -> list[Tensor]:
        raise NotImplementedError

    def _measure(
        self, truth: list[Tensor], output: list[Tensor], regions: Mapping[str, NDArray[np.bool_]]
    ) -> list[dict[str, float]]:
        raise NotImplementedError

    def update(self, output: Tensor, truth: Tensor, mask: Tensor | None = None, sketch: Tensor | None = None) -> None:
        """Add N photos; the sketch plays no part."""
        for made, real, hole in _photos(output, truth, mask):
            pasted = composite(made, real, hole)
            self._add(self._measure(self._maps(real), self._maps(pasted), region_masks(hole))[0])


class HedPS(_Distances):
    """HED perceptual distance by region: 0 for equal photos, near 1 for unrelated ones.

    Args:
        device: of the bundled network.
        kwargs: of `torchmetrics.Metric`.
    """

    def __init__(self, device: str = "cpu", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._scorer = HedScorer(device=device)

    def _maps(self, photo: Photo) -> list[Tensor]:
        return self._scorer.forward(photo[None]).maps

    def _measure(
        self, truth: list[Tensor], output: list[Tensor], regions: Mapping[str, NDArray[np.bool_]]
    ) -> list[dict[str, float]]:
        return self._scorer.distances(truth, output, regions)


class RegionLPIPS(_Distances):
    """LPIPS v0.1 by region.

    Args:
        net: `alex`, `vgg` or `squeeze`, whose weights must be installed.
        device: of the network.
        network: another `Lpips`; None for the installed one.
        kwargs: of `torchmetrics.Metric`.

    Raises:
        MissingError: the backbone is not installed; the message names the command that gets it.
    """

    def __init__(self, net: str = "alex", device: str = "cpu", network: Lpips | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._lpips = network or load_lpips(net, device=device)

    def _maps(self, photo: Photo) -> list[Tensor]:
        return self._lpips.extract(photo[None])

    def _measure(
        self, truth: list[Tensor], output: list[Tensor], regions: Mapping[str, NDArray[np.bool_]]
    ) -> list[dict[str, float]]:
        return self._lpips.distances(truth, output, regions)


class SketchFaithfulness(_Means):
    """How well the output's edges follow the sketch in the hole: `edge_f`, `chamfer_px`, `edge_density`.

    Args:
        device: of the bundled edge detector.
        kwargs: of `torchmetrics.Metric`.
    """

    def __init__(self, device: str = "cpu", **kwargs: Any) -> None:
        super().__init__(("edge_f", "chamfer_px", "edge_density"), **kwargs)
        self._scorer = HedScorer(device=device)

    def update(self, output: Tensor, truth: Tensor, mask: Tensor | None = None, sketch: Tensor | None = None) -> None:
        """Add N photos; the sketch is needed, in lines of any width."""
        if sketch is None:
            raise UsageError("SketchFaithfulness: update needs a sketch, (N, 1, H, W) in [0, 1], line = 1")
        check_sketch(sketch)
        lines = (sketch[:, 0] > 0.5).cpu().numpy().astype(np.uint8)
        for (made, real, hole), drawn in zip(_photos(output, truth, mask), lines, strict=True):
            edges = thin_output_edges(self._scorer.forward(composite(made, real, hole)[None]).edges[0])
            found = score_edges(edges, thin_lines(np.ascontiguousarray(drawn)), hole)
            self._add({"edge_f": found.f, "chamfer_px": found.chamfer_px, "edge_density": found.output_density})


class FrechetDistance(Metric):
    """Frechet distance between outputs and truths in the space of the bundled HED network, `fd_hed` of `score`.

    Args:
        device: of the network.
        kwargs: of `torchmetrics.Metric`.
    """

    higher_is_better = False
    full_state_update = False
    made: list[Tensor]
    real: list[Tensor]

    def __init__(self, device: str = "cpu", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._scorer = HedScorer(device=device)
        self.add_state("made", [], dist_reduce_fx="cat")
        self.add_state("real", [], dist_reduce_fx="cat")

    def update(self, output: Tensor, truth: Tensor, mask: Tensor | None = None, sketch: Tensor | None = None) -> None:
        """Add N photos; the sketch plays no part."""
        for made, real, hole in _photos(output, truth, mask):
            for state, photo in ((self.made, composite(made, real, hole)), (self.real, real)):
                state.append(torch.from_numpy(self._scorer.forward(photo[None]).vectors).to(self.device))

    def compute(self) -> Tensor:
        """The distance, float64; it needs at least 2 photos."""
        sides = [torch.cat(list(side)) if isinstance(side, list) else side for side in (self.made, self.real)]
        made, real = (side.cpu().numpy() for side in sides)
        return torch.tensor(frechet_distance(made, real), dtype=torch.float64)


def _photos(output: Tensor, truth: Tensor, mask: Tensor | None) -> Iterator[tuple[Photo, Photo, Photo]]:
    """Output, truth and mask of each image, uint8."""
    check_photo(output)
    check_photo(truth)
    if output.shape != truth.shape:
        raise UsageError(f"output: expected the shape of its truth, {tuple(truth.shape)}, got {tuple(output.shape)}")
    holes = torch.ones_like(truth[:, :1]) if mask is None else mask
    check_mask(holes)
    if holes.shape != truth[:, :1].shape:
        raise UsageError(f"mask: expected {tuple(truth[:, :1].shape)}, got {tuple(holes.shape)}")
    planes = holes[:, 0].detach().cpu().numpy().astype(np.uint8)
    yield from zip(tensor_to_photo(output), tensor_to_photo(truth), np.ascontiguousarray(planes), strict=True)
