"""SC-FEGAN as one of the methods that are compared: which weights, at which size, and what it is fed with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dpsdata.device import choose_device, keyed_generator
from models.baselines.fitting import fit_edit, fit_photo, round_up
from models.baselines.loading import load_scfegan
from models.baselines.scfegan import SIZE_MULTIPLE_PX, ScFegan, ScFeganConfig, demo_noise
from models.baselines.tf_names import count_weights
from models.method_predictors import LoadOptions, MethodFacts, Painting, check_rival_precision
from models.method_weights import FoundWeights, find_method_weights
from models.registry import Method

LINE_THRESHOLD = 0.5


class ScFeganPredictor:
    """SC-FEGAN behind the protocol of all methods, without colour strokes.

    Args:
        method: its entry of the registry: `scfegan`, or `scfegan-refined`.
        net: the network.
        device: where it runs.
        facts: what a comparison states of it.
        work_px: side that every photo is resampled to; None for its own size, in multiples of 128 px.
        seed: of the noise.
    """

    resolution: int | None = None

    def __init__(
        self, method: Method, net: ScFegan, device: torch.device, facts: MethodFacts, work_px: int | None, seed: int
    ) -> None:
        self.method, self.device, self.facts = method, device, facts
        self.net = net.eval().to(device)
        self.work_px, self.seed = work_px, seed

    @torch.no_grad()
    def predict(self, photo: Tensor, sketch: Tensor, mask: Tensor, ids: Sequence[str], level: float | None) -> Painting:
        """See `MethodPredictor.predict`; the level does not matter, since the sketch follows it."""
        height, width = photo.shape[2:]
        size = (self._side(height), self._side(width))
        photo, sketch, mask = fit_edit(photo, sketch, mask, size)
        noise = torch.cat([demo_noise(*size, keyed_generator(self.seed, name, "SC-FEGAN noise")) for name in ids])
        lines = (sketch > LINE_THRESHOLD).float()
        return Painting(fit_photo(self.net(photo, mask, lines, None, noise.to(photo))["raw"], (height, width)))

    def _side(self, length: int) -> int:
        return round_up(length, SIZE_MULTIPLE_PX) if self.work_px is None else self.work_px


def load_scfegan_method(method: Method, options: LoadOptions) -> ScFeganPredictor:
    """Load SC-FEGAN; the published weights run at 512 px, others at the size that their card states.

    Raises:
        UsageError: no such device or precision.
        MissingError: the weights are missing or damaged.
    """
    check_rival_precision(method, options.precision)
    device = choose_device(options.device)
    found = find_method_weights(method, options.weights)
    net = load_scfegan(found.path)
    is_published = found.origin in ("official", "TensorFlow checkpoint")
    work_px = method.resolution if is_published else found.resolution
    if work_px is not None:
        work_px = round_up(work_px, SIZE_MULTIPLE_PX)
    facts = _facts(method, net, found, work_px, options.seed)
    return ScFeganPredictor(method, net, device, facts, work_px, options.seed)


def _facts(method: Method, net: ScFegan, found: FoundWeights, work_px: int | None, seed: int) -> MethodFacts:
    source = f"the refined sketch of {method.sketch_from} at each level" if method.sketch_from else "the drawn sketch"
    size = f"resampled to {work_px} px and back" if work_px else "at the photos' own size, in multiples of 128 px"
    return MethodFacts(
        found.origin,
        found.sha256,
        found.licence,
        f"{source}, one pixel wide; no colour; {size}",
        count_weights(net),
        found.images_seen,
        (net.config.width, ScFeganConfig().width),
        {"seed": seed, "work_px": work_px},
    )
