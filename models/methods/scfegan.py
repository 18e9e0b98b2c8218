"""SC-FEGAN as one of the methods that are compared: which weights, at which size, and what it is fed with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dpsdata.runtime.device import choose_device, keyed_generator
from models.baselines.loading import load_scfegan
from models.baselines.scfegan import SIZE_MULTIPLE_PX, ScFegan, ScFeganConfig, demo_noise
from models.baselines.tensorflow.names import count_weights
from models.methods.predictor import LoadOptions, MethodProvenance, Painting, check_baseline_precision
from models.methods.registry import Method
from models.methods.resampling import draw_lines, enlarge_edit, fit_edit, fit_photo, round_up
from models.methods.weights import FoundWeights, find_method_weights

LINE_THRESHOLD = 0.5


@dataclass(frozen=True)
class ScFeganSizes:
    """How photos and sketches are brought to the network.

    Attributes:
        data_px: side that they are fitted to first; None for their own.
        network_px: side that they are then enlarged to; None for the next multiple of 128 px.
        soft_pen: whether lines are drawn by `smooth_sketch` in between, as in our training; else they are binary.
    """

    data_px: int | None = None
    network_px: int | None = None
    soft_pen: bool = False

    def __str__(self) -> str:
        pen = "soft pen of its training" if self.soft_pen else "one pixel wide, binary"
        if self.network_px is None:
            return f"{pen}; at the photos' own size, in multiples of 128 px"
        sides = (
            f"{self.data_px} and {self.network_px}" if self.data_px not in (None, self.network_px) else self.network_px
        )
        return f"{pen}; resampled to {sides} px and back"


class ScFeganPredictor:
    """SC-FEGAN behind the protocol of all methods, without colour strokes.

    Args:
        method: its entry of the registry: `scfegan`, or `scfegan-refined`.
        net: the network.
        device: where it runs.
        provenance: what a comparison states of it.
        sizes: how its inputs are made.
        seed: of the noise.
    """

    resolution: int | None = None

    def __init__(
        self,
        method: Method,
        net: ScFegan,
        device: torch.device,
        provenance: MethodProvenance,
        sizes: ScFeganSizes,
        seed: int,
    ) -> None:
        self.method, self.device, self.provenance = method, device, provenance
        self.net = net.eval().to(device)
        self.sizes, self.seed = sizes, seed

    @torch.no_grad()
    def predict(self, photo: Tensor, sketch: Tensor, mask: Tensor, ids: Sequence[str], level: float | None) -> Painting:
        """See `MethodPredictor.predict`; the level does not matter, since the sketch follows it."""
        height, width = photo.shape[2:]
        data_px, network_px = self.sizes.data_px, self.sizes.network_px
        photo, sketch, mask = fit_edit(photo, sketch, mask, (data_px or height, data_px or width))
        lines = draw_lines(sketch, self.sizes.soft_pen, LINE_THRESHOLD)
        size = (
            network_px or round_up(photo.shape[2], SIZE_MULTIPLE_PX),
            network_px or round_up(photo.shape[3], SIZE_MULTIPLE_PX),
        )
        photo, lines, mask = enlarge_edit(photo, lines, mask, size)
        noise = torch.cat([demo_noise(*size, keyed_generator(self.seed, name, "SC-FEGAN noise")) for name in ids])
        return Painting(fit_photo(self.net(photo, mask, lines, None, noise.to(photo))["raw"], (height, width)))


def load_scfegan_method(method: Method, options: LoadOptions) -> ScFeganPredictor:
    """Load SC-FEGAN; the published weights run at 512 px, others at the size that their card states.

    Raises:
        UsageError: no such device or precision.
        MissingError: the weights are missing or damaged.
    """
    check_baseline_precision(method, options.precision)
    device = choose_device(options.device)
    found = find_method_weights(method, options.weights)
    net = load_scfegan(found.path)
    sizes = _sizes(method, found)
    return ScFeganPredictor(
        method, net, device, _provenance(method, net, found, sizes, options.seed), sizes, options.seed
    )


def _sizes(method: Method, found: FoundWeights) -> ScFeganSizes:
    if found.origin in ("official", "TensorFlow checkpoint"):
        return ScFeganSizes(method.resolution, method.resolution)
    network_px = found.network_px or found.data_px
    if network_px is not None:
        network_px = round_up(network_px, SIZE_MULTIPLE_PX)
    return ScFeganSizes(found.data_px, network_px, found.has_soft_pen)


def _provenance(method: Method, net: ScFegan, found: FoundWeights, sizes: ScFeganSizes, seed: int) -> MethodProvenance:
    source = f"the refined sketch of {method.sketch_from} at each level" if method.sketch_from else "the drawn sketch"
    return MethodProvenance(
        found.origin,
        found.sha256,
        found.licence,
        f"{source}, {sizes}; no colour",
        count_weights(net),
        found.images_seen,
        (net.config.width, ScFeganConfig().width),
        {"seed": seed, "network_px": sizes.network_px},
    )
